import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Check, Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import { inputKey, outputKey } from './payloads.ts';
import {
  archiveKey,
  copyTask,
  ENDED_PREFIX,
  encodeTask,
  endedKey,
  endedOf,
  type KnownTask,
  taskKey,
  taskOf,
} from './task-record.ts';
import type { TaskView } from './task-view.ts';

export interface TaskArchiveOptions {
  store: Store;
  tasks: TaskView;
  /** How long tasks are kept that have ended. */
  retentionMs: number;
}

/** So long a task that has ended stays in memory: whoever waits for it, or says its end again, finds it there. */
const IN_MEMORY_MS = 30_000;
/** Tasks that one commit moves, or removes. */
const AT_A_TIME = 128;
/** Tasks that one round moves: rounds come every second or two, and a thousand tasks may end in each second. */
const MAX_MOVED = 4096;
const REMOVE_EVERY_MS = 10_000;
/** Tasks that one round removes; where there are more, the next round goes on. */
const MAX_REMOVED = 8192;

/**
 * Moves ended tasks out of every replica's memory, to where only the store has them, and removes them when they were kept for
 * long enough. A task goes after all that are below it.
 */
export class TaskArchive implements Chore {
  readonly name = 'archive of tasks';
  readonly #options: TaskArchiveOptions;
  /** When the archive of a namespace is to be looked through next, by the store's clock. */
  readonly #nextMs = new Map<string, number>();
  /** Namespaces whose archive is known to be empty. */
  readonly #empty = new Set<string>();

  constructor(options: TaskArchiveOptions) {
    this.#options = options;
    options.tasks.listen({
      // Whichever replica moved it.
      changed: (before, after) => {
        if (before !== undefined && after === undefined) this.#empty.delete(before.namespace);
      },
      replaced: (namespace) => this.#empty.delete(namespace),
    });
  }

  hasWork(namespace: string): boolean {
    return this.#options.tasks.count(namespace) > 0 || !this.#empty.has(namespace);
  }

  async run(context: ChoreContext): Promise<void> {
    const mayGoOn = await this.#move(context);
    if (mayGoOn && context.storeMs >= (this.#nextMs.get(context.namespace) ?? 0)) await this.#remove(context);
  }

  /** @returns false: this replica looks after the namespace no more */
  async #move({ namespace, fence, storeMs }: ChoreContext): Promise<boolean> {
    const ready = this.#ready(namespace, storeMs);
    for (let from = 0; from < ready.length; from += AT_A_TIME) {
      const some = ready.slice(from, from + AT_A_TIME);
      const outcome = await this.#options.store.commit({ namespace, ...moved(some, fence) });
      // Any other conflict: the view lags, and the next round sees what became of it.
      if (outcome.kind === 'conflict' && outcome.key === fence.key) return false;
    }
    return true;
  }

  /** Those that nobody needs in memory any more, oldest first. */
  #ready(namespace: string, storeMs: number): KnownTask[] {
    const { tasks } = this.#options;
    const ready: KnownTask[] = [];
    for (const id of tasks.ended(namespace)) {
      const known = tasks.get(namespace, id);
      if (known === undefined || !known.record.settled) continue;
      if (endMsOf(known) + IN_MEMORY_MS > storeMs || tasks.children(namespace, id).size > 0) continue;
      ready.push(known);
      // The view has them nearly in the order in which they ended.
      if (ready.length === MAX_MOVED) break;
    }
    return ready.sort((a, b) => endMsOf(a) - endMsOf(b));
  }

  async #remove({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, retentionMs } = this.#options;
    for (let removed = 0; removed < MAX_REMOVED; ) {
      const page = await store.scan(namespace, { prefix: ENDED_PREFIX, limit: AT_A_TIME });
      const old = page.entries
        .map(({ key }) => ({ key, ...endedOf(key) }))
        // The key has whole seconds.
        .filter(({ endMs }) => endMs + 1000 + retentionMs <= storeMs);
      if (old.length > 0) {
        const deletes = old.flatMap(({ key, id }) => [key, archiveKey(id), inputKey(id), outputKey(id)]);
        const outcome = await store.commit({ namespace, checks: [fence], deletes });
        if (outcome.kind === 'conflict') return;
      }
      removed += old.length;
      if (old.length === page.entries.length && page.more) continue;
      if (old.length === page.entries.length && this.#options.tasks.ended(namespace).size === 0)
        this.#empty.add(namespace);
      this.#nextMs.set(namespace, storeMs + REMOVE_EVERY_MS);
      return;
    }
  }
}

const endMsOf = ({ record }: KnownTask): number => {
  const { endTime } = taskOf(record);
  return endTime === undefined ? 0 : msFromTimestamp(endTime);
};

function moved(some: readonly KnownTask[], fence: Check) {
  const checks = [fence];
  const deletes: string[] = [];
  const puts: { key: string; value: Uint8Array }[] = [];
  for (const known of some) {
    const { id, revision } = known;
    checks.push({ key: taskKey(id), revision });
    deletes.push(taskKey(id));
    // The copy says when it was submitted: the entry has a new revision there.
    puts.push({ key: archiveKey(id), value: encodeTask(copyTask(known)) });
    puts.push({ key: endedKey(id, endMsOf(known)), value: new Uint8Array() });
  }
  return { checks, puts, deletes };
}
