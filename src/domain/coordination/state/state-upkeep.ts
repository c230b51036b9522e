import type { Store } from '../../../state/store.ts';
import type { Chore, ChoreContext } from '../../agent/care/chore.ts';
import type { Loss, LossEffects, LossHook } from '../../agent/care/loss-hook.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { endOfBinding } from '../bindings.ts';
import type { PassingEntry, StateIndex } from './state-index.ts';

export interface StateUpkeepOptions {
  store: Store;
  directory: AgentDirectory;
  index: StateIndex;
}

/** Entries removed in one round. */
const MAX_REMOVED = 512;
const SIDE_BY_SIDE = 16;

/** Removes entries whose time has passed, or whose session is over. */
export class StateUpkeep implements Chore, LossHook {
  readonly name = 'upkeep of the shared state';
  readonly #options: StateUpkeepOptions;

  constructor(options: StateUpkeepOptions) {
    this.#options = options;
  }

  hasWork(namespace: string): boolean {
    for (const _ of this.#options.index.passing(namespace)) return true;
    return false;
  }

  async run({ namespace, fence, storeMs }: ChoreContext): Promise<void> {
    const { store, directory, index } = this.#options;
    const over: PassingEntry[] = [];
    for (const entry of index.passing(namespace)) {
      const { expireMs, binding } = entry;
      const expired = expireMs !== undefined && expireMs <= storeMs;
      if (
        expired ||
        (binding && endOfBinding(binding, directory.get(namespace, binding.agentId)) !== undefined)
      ) {
        over.push(entry);
      }
      if (over.length === MAX_REMOVED) break;
    }
    for (let from = 0; from < over.length; from += SIDE_BY_SIDE) {
      await Promise.all(
        over.slice(from, from + SIDE_BY_SIDE).map(({ key, revision }) =>
          // One that was written anew meanwhile stays.
          store.commit({ namespace, checks: [fence, { key, revision }], deletes: [key] }),
        ),
      );
    }
  }

  async effects({ namespace, known }: Loss): Promise<LossEffects> {
    const bound = this.#options.index.boundTo(namespace, known.id);
    const some = bound.slice(0, MAX_REMOVED);
    if (some.length === 0) return {};
    return {
      checks: some.map(({ key, revision }) => ({ key, revision })),
      deletes: some.map(({ key }) => key),
      summary: `${some.length} entries of the shared state that were bound to its session removed`,
      more: some.length < bound.length,
    };
  }
}
