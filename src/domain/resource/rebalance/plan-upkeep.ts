import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { Plans } from './plans.ts';

/** Plans are looked through so often. */
const EVERY_MS = 60_000;

/** Removes plans whose time has passed. */
export class PlanUpkeep implements Chore {
  readonly name = 'upkeep of plans';
  readonly #options: { store: Store; plans: Plans };
  readonly #lookedMs = new Map<string, number>();

  constructor(options: { store: Store; plans: Plans }) {
    this.#options = options;
  }

  async run({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const lookedMs = this.#lookedMs.get(namespace);
    if (lookedMs !== undefined && storeMs - lookedMs < EVERY_MS) return;
    this.#lookedMs.set(namespace, storeMs);
    const { store, plans } = this.#options;
    const deletes = await plans.expired(namespace, storeMs);
    if (deletes.length > 0) await store.commit({ namespace, checks: [fence], deletes });
  }
}
