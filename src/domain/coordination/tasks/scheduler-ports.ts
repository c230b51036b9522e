import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { TimingWheel } from '../../../lib/timing-wheel.ts';
import type { MergedCommits } from '../../../state/merged-commits.ts';
import type { Check, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import type { AllocationView } from '../../resource/allocations/allocation-view.ts';
import type { Mailboxes } from '../mailboxes.ts';
import type { TaskView } from './task-view.ts';

/** What a scheduler works with. */
export interface SchedulerPorts {
  store: Store;
  merged: MergedCommits;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor' | 'position'>;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  tasks: TaskView;
  allocations: AllocationView;
  events: EventWriter;
  background: Background;
  clock: Clock;
  wheel: TimingWheel;
  log: Logger;
  config: SchedulerConfig;
  /** While this replica schedules for the namespace: a check that it still does. */
  fence(namespace: string): Check | undefined;
  /** A commit was refused because of the fence. */
  refused(namespace: string): void;
  metrics: SchedulerMetrics;
}

export interface SchedulerConfig {
  /** Waiting for so long counts as much as one more in priority. */
  agingMs: number;
  /** What waits for room for so long has an agent kept free; 0: never. */
  reserveAfterMs: number;
  /** Of tasks that say nothing of it. */
  maxAttempts: number;
  acceptWithinMs: number;
  maxMailbox: number;
}

export interface SchedulerMetrics {
  /** An attempt was assigned, after waiting for so long. */
  taskAssigned(waitedMs: number): void;
  /** A task ended. @param state "succeeded", "failed", "cancelled" or "timed_out" */
  taskEnded(state: string, elapsedMs: number): void;
}
