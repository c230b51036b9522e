import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import { QuotaChanges, type QuotaChangesOptions } from './quota-change.ts';
import { softExceeded } from './quota-events.ts';
import { isUnsettled } from './quota-rules.ts';
import type { QuotaView } from './quota-view.ts';

export interface QuotaUpkeepOptions extends QuotaChangesOptions {
  store: Store;
  view: QuotaView;
}

/** A change that is only wanted for so long was left by a replica that is gone. */
const LEFT_AFTER_MS = 5000;
/** Only one that has been within its soft limit for so long is told of anew. */
const QUIET_MS = 60_000;
/** Events of one round. */
const MAX_TOLD = 64;

/** Finishes changes of quotas that a dead replica left, and tells of soft limits that are exceeded. */
export class QuotaUpkeep implements Chore {
  readonly name = 'upkeep of quotas';
  readonly #options: QuotaUpkeepOptions;
  readonly #changes: QuotaChanges;
  /** When a limit was last seen exceeded, by namespace, owner and resource. */
  readonly #exceeded = new Map<string, number>();

  constructor(options: QuotaUpkeepOptions) {
    this.#options = options;
    this.#changes = new QuotaChanges(options);
  }

  hasWork(namespace: string): boolean {
    return this.#options.view.count(namespace) > 0;
  }

  async run(context: ChoreContext): Promise<void> {
    const { namespace, fence, storeMs } = context;
    for (const known of [...this.#options.view.all(namespace)]) {
      if (!isUnsettled(known.record) || Number(known.record.wantedTimeMs) + LEFT_AFTER_MS > storeMs) continue;
      await this.#changes.finish(known, { fence });
    }
    await this.#tellSoft(context);
  }

  async #tellSoft({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, events, view } = this.#options;
    const accounts = this.#options.accounts(namespace);
    const appends = [];
    const told: string[] = [];
    for (const { owner } of view.all(namespace)) {
      for (const over of accounts.softExceeded(owner)) {
        const name = `${namespace}/${owner}/${over.resource}`;
        if (this.#exceeded.has(name)) this.#exceeded.set(name, storeMs);
        else if (appends.length < MAX_TOLD) {
          told.push(name);
          appends.push(events.append(softExceeded(owner, over)));
        }
      }
    }
    for (const [name, lastMs] of this.#exceeded) {
      if (lastMs + QUIET_MS <= storeMs) this.#exceeded.delete(name);
    }
    if (appends.length === 0) return;
    const outcome = await store.commit({ namespace, checks: [fence], appends });
    if (outcome.kind === 'committed') for (const name of told) this.#exceeded.set(name, storeMs);
  }
}
