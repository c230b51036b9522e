import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import type { AgentPool } from '../../resource/pool/agent-pool.ts';
import type { PoolSums } from '../../resource/pool/sums.ts';

export interface TaskCountsOptions {
  tasks: Pick<TaskView, 'states' | 'count'>;
  hasAgents(namespace: string): boolean;
  /** What there is and is reserved; asked for only of namespaces with agents. */
  pool(namespace: string): AgentPool;
  /** Since when each task or allocation waits that does, by the store's clock. */
  waiting(namespace: string): Iterable<{ readonly kind: string; readonly sinceMs: number }>;
  storeMs(): number;
  clock: Clock;
}

/** What goes through all that waits or all agents is not done more often than this. */
const KEEP_MS = 500;

interface Kept<T> {
  value: T;
  untilMs: number;
}

const NOTHING: PoolSums = { total: new Map(), zones: new Map() };

/** Tasks and resources of a namespace, from the views and ledgers that are kept anyway. */
export class TaskCounts {
  readonly #options: TaskCountsOptions;
  readonly #oldest = new Map<string, Kept<number | undefined>>();
  readonly #sums = new Map<string, Kept<PoolSums>>();

  constructor(options: TaskCountsOptions) {
    this.#options = options;
  }

  waiting(namespace: string): number {
    return this.#options.tasks.states(namespace).get(Task_State.PENDING) ?? 0;
  }

  running(namespace: string): number {
    const states = this.#options.tasks.states(namespace);
    return (states.get(Task_State.ASSIGNED) ?? 0) + (states.get(Task_State.RUNNING) ?? 0);
  }

  /** How long the one that waits for longest has done so, milliseconds; 0: none waits. */
  longestWaitMs(namespace: string): number {
    if (this.waiting(namespace) === 0) return 0;
    const { storeMs, waiting } = this.#options;
    const sinceMs = this.#keep(this.#oldest, namespace, () => {
      let oldest: number | undefined;
      for (const { kind, sinceMs: each } of waiting(namespace)) {
        if (kind === 'task' && (oldest === undefined || each < oldest)) oldest = each;
      }
      return oldest;
    });
    return sinceMs === undefined ? 0 : Math.max(0, storeMs() - sinceMs);
  }

  sums(namespace: string): PoolSums {
    // Whoever names a namespace that is not there leaves nothing behind.
    if (!this.#options.hasAgents(namespace)) return NOTHING;
    return this.#keep(this.#sums, namespace, () => this.#options.pool(namespace).sums());
  }

  #keep<T>(kept: Map<string, Kept<T>>, namespace: string, make: () => T): T {
    const nowMs = this.#options.clock.monoMs();
    const found = kept.get(namespace);
    if (found !== undefined && nowMs < found.untilMs) return found.value;
    for (const [old, { untilMs }] of kept) if (nowMs >= untilMs) kept.delete(old);
    const value = make();
    kept.set(namespace, { value, untilMs: nowMs + KEEP_MS });
    return value;
  }
}
