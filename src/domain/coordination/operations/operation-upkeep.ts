import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import {
  ANSWER_PREFIX,
  agentsPrefix,
  answersPrefix,
  hasEnded,
  operationEntry,
  operationKey,
  operationOf,
  whoPrefix,
} from './operation-record.ts';
import type { KnownOperation, OperationView } from './operation-view.ts';

export interface OperationUpkeepOptions {
  store: Store;
  view: OperationView;
  /** How long operations are kept after their end. */
  keptMs: number;
}

const TRIM_EVERY_MS = 60_000;
const TRIM_CHUNK = 500;
/** Operations of a namespace that have ended; the oldest go first. */
const MAX_ENDED = 1000;
/** Operations removed in one round. */
const MAX_REMOVED = 8;

/** Removes operations that ended long ago. */
export class OperationUpkeep implements Chore {
  readonly name = 'upkeep of fleet operations';
  readonly #options: OperationUpkeepOptions;
  readonly #trimmedMs = new Map<string, number>();

  constructor(options: OperationUpkeepOptions) {
    this.#options = options;
  }

  hasWork(namespace: string): boolean {
    return this.#options.view.count(namespace) > 0;
  }

  async run(context: ChoreContext): Promise<void> {
    const { namespace, storeMs } = context;
    if (storeMs - (this.#trimmedMs.get(namespace) ?? 0) < TRIM_EVERY_MS) return;
    this.#trimmedMs.set(namespace, storeMs);
    const ended = this.#options.view
      .all(namespace)
      .filter(({ record }) => hasEnded(record))
      .sort((a, b) => endMs(a) - endMs(b));
    const tooMany = Math.max(0, ended.length - MAX_ENDED);
    const old = ended.filter(
      (each, index) => index < tooMany || endMs(each) + this.#options.keptMs <= storeMs,
    );
    for (const { id } of old.slice(0, MAX_REMOVED)) await this.#remove(context, id);
    await this.#sweepAnswers(context);
  }

  /** The operation itself goes last: whatever interrupts this, it is found again. */
  async #remove({ namespace, fence }: ChoreContext, id: string): Promise<void> {
    const { store } = this.#options;
    for (const prefix of [answersPrefix(id), agentsPrefix(id), whoPrefix(id)]) {
      for (;;) {
        const page = await store.scan(namespace, { prefix, limit: TRIM_CHUNK });
        if (page.entries.length === 0) break;
        const deletes = page.entries.map(({ key }) => key);
        const outcome = await store.commit({ namespace, checks: [fence], deletes });
        if (outcome.kind !== 'committed') return;
      }
    }
    await store.commit({ namespace, checks: [fence], deletes: [operationKey(id)] });
  }

  /** Answers that came after their operation was removed. */
  async #sweepAnswers({ namespace, fence }: ChoreContext): Promise<void> {
    const { store, view } = this.#options;
    const page = await store.scan(namespace, { prefix: ANSWER_PREFIX, limit: TRIM_CHUNK });
    const deletes = page.entries
      .map(({ key }) => key)
      .filter((key) => {
        const known = view.get(namespace, operationEntry(key)?.id ?? '');
        return known === undefined || hasEnded(known.record);
      });
    if (deletes.length > 0) await store.commit({ namespace, checks: [fence], deletes });
  }
}

function endMs({ record }: KnownOperation): number {
  const { endTime } = operationOf(record);
  return endTime === undefined ? Number.POSITIVE_INFINITY : msFromTimestamp(endTime);
}
