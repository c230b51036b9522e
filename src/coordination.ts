import type { Config } from './config/config.ts';
import type { Chore } from './domain/agent/care/chore.ts';
import type { LossHook } from './domain/agent/care/loss-hook.ts';
import type { AgentDirectory } from './domain/agent/directory.ts';
import { LockUpkeep } from './domain/coordination/locks/lock-upkeep.ts';
import { LockView } from './domain/coordination/locks/lock-view.ts';
import { Locks } from './domain/coordination/locks/locks.ts';
import { SharedState } from './domain/coordination/state/shared-state.ts';
import { StateIndex } from './domain/coordination/state/state-index.ts';
import { StateUpkeep } from './domain/coordination/state/state-upkeep.ts';
import type { EventWriter } from './domain/monitoring/events.ts';
import type { Clock } from './lib/clock.ts';
import type { Store } from './state/store.ts';
import type { StoreTime } from './state/store-time.ts';
import type { View } from './state/views.ts';

export interface CoordinationOptions {
  config: Pick<Config, 'limits'>;
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  events: EventWriter;
  clock: Clock;
}

/** What agents and operators share, wired together: shared state and locks. */
export function createCoordination(options: CoordinationOptions) {
  const { config, store, storeTime, directory, events, clock } = options;
  const stateIndex = new StateIndex();
  const lockView = new LockView();
  const stateUpkeep = new StateUpkeep({ store, directory, index: stateIndex });
  const lockUpkeep = new LockUpkeep({ store, directory, view: lockView, events });
  const views: View[] = [stateIndex, lockView];
  const chores: Chore[] = [stateUpkeep, lockUpkeep];
  const hooks: LossHook[] = [stateUpkeep, lockUpkeep];
  return {
    views,
    chores,
    hooks,
    state: new SharedState({ store, storeTime, directory }),
    locks: new Locks({
      store,
      storeTime,
      view: lockView,
      clock,
      maxLocks: config.limits.maxLocks,
      maxWaiters: config.limits.maxLockWaiters,
    }),
  };
}
