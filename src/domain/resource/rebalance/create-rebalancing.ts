import type { ResourcesConfig } from '../../../config/config.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Chore } from '../../agent/care/chore.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { AllocationView } from '../allocations/allocation-view.ts';
import { OverReserved } from '../watch/over-reserved.ts';
import { ShrinkMoves } from '../watch/shrink-moves.ts';
import { UsageWatch } from '../watch/usage-watch.ts';
import { WatchMarks } from '../watch/watch-marks.ts';
import { FleetReader, type Placing } from './fleet-reader.ts';
import { PlanUpkeep } from './plan-upkeep.ts';
import { Plans } from './plans.ts';
import { RebalanceSchedule } from './rebalance-schedule.ts';
import { Rebalancing } from './rebalancing.ts';

export interface CreateRebalancingOptions {
  config: Pick<
    ResourcesConfig,
    'onShrink' | 'rebalanceIntervalMs' | 'rebalanceMode' | 'usageHigh' | 'usageLow'
  >;
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  tasks: TaskView;
  allocations: AllocationView;
  /** Ledgers and schedulers by namespace: Scheduling. */
  placing: Placing;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  background: Background;
  log: Logger;
  /** Up to where this replica has seen a namespace. */
  revision(namespace: string): bigint;
  /** Resolves once the views of this replica show a revision, or after a while. */
  seen(namespace: string, revision: bigint): Promise<void>;
  /** Whether automatic action is held back in the namespace: frozen, braked, or agents are being collected. */
  heldBack(namespace: string): boolean;
}

/** All that moves work between agents, and the watch over reservations and usage, wired together. */
export function createRebalancing(options: CreateRebalancingOptions): {
  rebalancing: Rebalancing;
  chores: Chore[];
} {
  const { config, store, storeTime, directory, events, clock, heldBack } = options;
  const reader = new FleetReader(options);
  const plans = new Plans({ ...options, reader });
  const { seen } = options;
  const rebalancing = new Rebalancing({ store, storeTime, directory, reader, plans, events, clock, seen });
  const marks = new WatchMarks({ store, events });
  const moves = config.onShrink === 'move' ? new ShrinkMoves({ store, reader, clock, heldBack }) : undefined;
  const { background, log } = options;
  const chores = [
    new PlanUpkeep({ store, plans }),
    new OverReserved({ directory, reader, marks, clock, moves }),
    new UsageWatch({
      ...{ reader, marks, clock },
      thresholds: { high: config.usageHigh, low: config.usageLow },
    }),
    new RebalanceSchedule({
      ...{ store, plans, rebalancing, events, background, log, heldBack },
      intervalMs: config.rebalanceIntervalMs,
      apply: config.rebalanceMode === 'apply',
    }),
  ];
  return { rebalancing, chores };
}
