import type { Observation } from '../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Config } from './config/config.ts';
import { factorsOf } from './config/factors.ts';
import type { CareRecords } from './domain/agent/care/care-records.ts';
import type { Chore } from './domain/agent/care/chore.ts';
import { Leases } from './domain/agent/care/leases.ts';
import type { LossHook } from './domain/agent/care/loss-hook.ts';
import type { AgentDirectory, KnownAgent } from './domain/agent/directory.ts';
import type { SelfWatch } from './domain/agent/observer.ts';
import type { Mailboxes } from './domain/coordination/mailboxes.ts';
import { ChangeTasks } from './domain/coordination/tasks/change-tasks.ts';
import type { SchedulerMetrics } from './domain/coordination/tasks/scheduler-ports.ts';
import { Scheduling } from './domain/coordination/tasks/scheduling.ts';
import { SubmitTasks } from './domain/coordination/tasks/submit-tasks.ts';
import { TaskArchive } from './domain/coordination/tasks/task-archive.ts';
import { TaskLosses } from './domain/coordination/tasks/task-losses.ts';
import { TaskOutcomes } from './domain/coordination/tasks/task-outcomes.ts';
import { TaskReader } from './domain/coordination/tasks/task-reader.ts';
import { TaskReturns } from './domain/coordination/tasks/task-returns.ts';
import { TaskView } from './domain/coordination/tasks/task-view.ts';
import type { EventWriter } from './domain/monitoring/events.ts';
import { AllocationView } from './domain/resource/allocations/allocation-view.ts';
import { QuotaView } from './domain/resource/quotas/quota-view.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import type { TimingWheel } from './lib/timing-wheel.ts';
import type { MergedCommits } from './state/merged-commits.ts';
import type { Store } from './state/store.ts';
import type { StoreTime } from './state/store-time.ts';
import type { View, Views } from './state/views.ts';

export interface TasksOptions {
  config: Pick<Config, 'id' | 'tasks' | 'resources' | 'deliveries' | 'limits'>;
  store: Store;
  merged: MergedCommits;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor' | 'position'>;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  background: Background;
  log: Logger;
  wheel: TimingWheel;
  self: SelfWatch;
  careRecords: CareRecords;
  metrics: SchedulerMetrics;
  replicaAlive(replicaId: string): boolean;
  observed(known: KnownAgent): Observation | undefined;
}

/** Tasks, and what they and allocations take of agents and quotas, wired together. */
export function createTasks(options: TasksOptions) {
  const { config, store, merged, storeTime, views, directory, mailboxes, events, clock, ids } = options;
  const { background, log, wheel, self, metrics, observed } = options;
  const { agingMs, reserveAfterMs, maxAttempts, defaultSlots, strategy } = config.tasks;
  const view = new TaskView();
  const allocations = new AllocationView();
  const quotas = new QuotaView();
  const leases = new Leases({
    ...{ store, clock, self, records: options.careRecords },
    replicaId: config.id,
    startMs: clock.wallMs(),
    replicaAlive: options.replicaAlive,
  });
  const scheduling = new Scheduling({
    ...{ store, merged, storeTime, views, directory, mailboxes, tasks: view, allocations, quotas, events },
    ...{ background, clock, wheel, log, metrics, leases, observed },
    config: {
      ...{ agingMs, reserveAfterMs, maxAttempts },
      acceptWithinMs: config.deliveries.acceptWithinMs,
      maxMailbox: config.limits.maxMailbox,
    },
    ledger: {
      overcommit: factorsOf(config.resources.overcommit),
      ...{ defaultSlots, defaultStrategy: strategy },
    },
  });
  const reader = new TaskReader({
    ...{ store, storeTime, directory, tasks: view, scheduling, observed, agingMs },
  });
  /** In this order, after those of agents and mailboxes: the last is made of all the others. */
  const following: View[] = [view, allocations, quotas, scheduling];
  const hooks: LossHook[] = [new TaskLosses({ tasks: view, events, maxAttempts })];
  const chores: Chore[] = [new TaskArchive({ store, tasks: view, retentionMs: config.tasks.retentionMs })];
  return {
    view,
    allocations,
    quotas,
    scheduling,
    reader,
    views: following,
    hooks,
    chores,
    outcomes: new TaskOutcomes({ store, tasks: view, maxAttempts }),
    returns: new TaskReturns({ background, store, storeTime, tasks: view, events, maxAttempts }),
    submit: new SubmitTasks({
      ...{ store, merged, storeTime, directory, tasks: view, scheduling, ids },
      maxTasks: config.limits.maxTasks,
      maxNamespaces: config.limits.maxNamespaces,
    }),
    change: new ChangeTasks({ store, storeTime, views, directory, tasks: view, events }),
  };
}
