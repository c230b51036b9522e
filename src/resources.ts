import { PendingReason } from '../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Config } from './config/config.ts';
import { factorsOf } from './config/factors.ts';
import type { Chore } from './domain/agent/care/chore.ts';
import type { LossHook } from './domain/agent/care/loss-hook.ts';
import type { AgentDirectory } from './domain/agent/directory.ts';
import type { Scheduling } from './domain/coordination/tasks/scheduling.ts';
import { taskIdOf } from './domain/coordination/tasks/task-record.ts';
import type { TaskView } from './domain/coordination/tasks/task-view.ts';
import type { EventWriter } from './domain/monitoring/events.ts';
import { AllocationUpkeep } from './domain/resource/allocations/allocation-upkeep.ts';
import type { AllocationView } from './domain/resource/allocations/allocation-view.ts';
import { AllocationWaits } from './domain/resource/allocations/allocation-waits.ts';
import { Allocations } from './domain/resource/allocations/allocations.ts';
import { CreateAllocation } from './domain/resource/allocations/create-allocation.ts';
import { TaskReservations } from './domain/resource/allocations/task-reservations.ts';
import { Ledger } from './domain/resource/ledger.ts';
import { QuotaUpkeep } from './domain/resource/quotas/quota-upkeep.ts';
import type { QuotaView } from './domain/resource/quotas/quota-view.ts';
import { Quotas } from './domain/resource/quotas/quotas.ts';
import { createRebalancing } from './domain/resource/rebalance/create-rebalancing.ts';
import { ExplainPlacement } from './domain/resource/usage/explain-placement.ts';
import { Usage } from './domain/resource/usage/usage.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';
import type { StoreTime } from './state/store-time.ts';
import type { Views } from './state/views.ts';

export interface ResourcesOptions {
  config: Pick<Config, 'tasks' | 'resources' | 'limits'>;
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor' | 'position'>;
  directory: AgentDirectory;
  /** The views of what takes room; whoever makes them has them follow the store. */
  tasks: TaskView;
  allocations: AllocationView;
  quotas: QuotaView;
  scheduling: Scheduling;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  background: Background;
  log: Logger;
  /** Resolves once the views of this replica show a revision, or after a while. */
  seen(namespace: string, revision: bigint): Promise<void>;
  /** Whether automatic action is held back in a namespace: frozen, or braked. */
  heldBack(namespace: string): boolean;
}

/** Allocations, quotas, usage, placements explained and moves, wired together. */
export function createResources(options: ResourcesOptions) {
  const { config, store, storeTime, views, directory, tasks, allocations, quotas, scheduling } = options;
  const { events, clock, ids, background, log, seen, heldBack } = options;
  const { maxAllocations, maxQuotas, maxNamespaces } = config.limits;
  const isKnown = (namespace: string): boolean =>
    directory.count(namespace) > 0 ||
    tasks.count(namespace) > 0 ||
    allocations.count(namespace) > 0 ||
    quotas.count(namespace) > 0;
  /** Whoever names a namespace that is not there leaves nothing behind. */
  const ledger = (namespace: string): Ledger =>
    isKnown(namespace)
      ? scheduling.ledger(namespace)
      : new Ledger({
          overcommit: factorsOf(config.resources.overcommit),
          defaultSlots: config.tasks.defaultSlots,
          defaultStrategy: config.tasks.strategy,
        });
  const accounts = (namespace: string) => ledger(namespace).accounts;
  const scheduler = (namespace: string) => (isKnown(namespace) ? scheduling.scheduler(namespace) : undefined);
  const reservations = new TaskReservations({ tasks });
  const waits = new AllocationWaits({ view: allocations });
  const shared = { store, storeTime, views, events, accounts, directory };
  const allocationUpkeep = new AllocationUpkeep({ ...shared, view: allocations });
  const quotaUpkeep = new QuotaUpkeep({ ...shared, view: quotas });
  const moving = createRebalancing({
    ...{ store, storeTime, directory, tasks, allocations, events, clock, ids, background, log, seen },
    ...{ heldBack, config: config.resources, placing: scheduling },
    revision: (namespace) => views.position(namespace).revision,
  });
  const chores: Chore[] = [allocationUpkeep, quotaUpkeep, ...moving.chores];
  const hooks: LossHook[] = [allocationUpkeep];
  return {
    chores,
    hooks,
    rebalancing: moving.rebalancing,
    create: new CreateAllocation({
      ...{ store, storeTime, views, directory, clock, ids, ledger, waits, maxAllocations },
      view: allocations,
    }),
    allocations: new Allocations({ store, storeTime, directory, reservations, view: allocations }),
    quotas: new Quotas({ ...shared, view: quotas, maxQuotas, maxNamespaces }),
    usage: new Usage({
      ...{ ledger, waiting: scheduler, views, storeTime, clock },
      storedReason: (namespace, key) =>
        tasks.get(namespace, taskIdOf(key))?.record.task?.pending?.reason ?? PendingReason.NEW,
    }),
    explain: new ExplainPlacement({
      ...{ store, storeTime, views, tasks, ledger },
      keptFree: (namespace) => scheduler(namespace)?.keptFree ?? new Map(),
      agingMs: config.tasks.agingMs,
    }),
  };
}
