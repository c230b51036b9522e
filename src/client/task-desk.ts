import type { Delivery, Task } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { CallLimits } from './calls.ts';
import type { DeliveryControls, DeliveryHandler } from './delivery.ts';
import { BudgetSpentError, DeclineError, PermanentError } from './errors.ts';
import type { HandlerTable } from './handlers.ts';
import { toPayload } from './payloads.ts';
import { Spending } from './spending.ts';
import { type AgentTask, type TaskHandler, taskFields } from './task.ts';
import type { TaskInfo } from './task-info.ts';
import type { TaskRequest } from './task-request.ts';
import { toMs } from './time.ts';
import type { MessageTracing } from './tracing.ts';
import { LATE, workSignal } from './work-signal.ts';

/** A task that finds no place waits for one for this part of the time in which it has to be answered. */
const WAIT_PART = 0.5;
/** More do not wait. */
const MAX_WAITING = 64;
const DRAINING = 'this agent is being drained and takes no more tasks';

export interface TaskDeskOptions {
  handlers: HandlerTable<TaskHandler>;
  /** So many run at a time. */
  concurrency: number;
  /** Why a task is not taken now. */
  decline: (task: Task) => string | undefined;
  /** The agent's lease: fires when it counts as lost. */
  lease: () => AbortSignal;
  tracing: MessageTracing;
  submit: (task: TaskRequest, limits?: CallLimits) => Promise<TaskInfo>;
  /** A handler threw. */
  onError: (error: unknown, deliveryId: string) => void;
  /** What a handler resolved to was refused: the task is somebody else's by now, or over. */
  onDropped: (error: unknown, deliveryId: string) => void;
}

/**
 * Gives tasks to their handlers, at most `concurrency` at a time. The service reserves slots, so more come only while a handler
 * whose task was taken back has not ended yet: they wait for it for a while, and are declined then.
 */
export class TaskDesk {
  readonly #options: TaskDeskOptions;
  readonly #concurrency: number;
  /** Told whether they have a place. */
  readonly #waiting = new Set<(place: boolean) => void>();
  #running = 0;
  #draining = false;

  constructor(options: TaskDeskOptions) {
    this.#options = options;
    this.#concurrency = Math.max(1, options.concurrency);
  }

  /** The way to the handler of a task; undefined: there is none. */
  of({ item }: Delivery): DeliveryHandler | undefined {
    if (item.case !== 'task') return undefined;
    const handler = this.#options.handlers.get(item.value.capability);
    return handler && ((delivery, controls) => this.#take(delivery, item.value, controls, handler));
  }

  /** While it is drained an agent finishes what runs, and declines what comes. */
  drain(draining: boolean): void {
    this.#draining = draining;
    if (draining) for (const tell of [...this.#waiting]) tell(false);
  }

  async #take(
    delivery: Delivery,
    task: Task,
    controls: DeliveryControls,
    handler: TaskHandler,
  ): Promise<void> {
    const refused = this.#options.decline(task);
    if (refused !== undefined) return controls.decline(refused, { retryable: true });
    const place = this.#place(delivery, controls.signal);
    if (!(typeof place === 'boolean' ? place : await place)) {
      if (controls.signal.aborted) return;
      const busy = `this agent runs ${this.#running} tasks already`;
      return controls.decline(this.#draining ? DRAINING : busy, { retryable: true });
    }
    try {
      await this.#run(delivery, task, controls, handler);
    } finally {
      const [next] = this.#waiting;
      if (next === undefined) this.#running -= 1;
      else next(true);
    }
  }

  /** Whether it may begin: known at once, unless it waits for a place. */
  #place(delivery: Delivery, own: AbortSignal): boolean | Promise<boolean> {
    if (this.#draining || own.aborted) return false;
    if (this.#running < this.#concurrency) {
      this.#running += 1;
      return true;
    }
    if (this.#waiting.size >= MAX_WAITING) return false;
    return new Promise((resolve) => {
      const done = (place: boolean): void => {
        this.#waiting.delete(done);
        clearTimeout(timer);
        own.removeEventListener('abort', takenBack);
        resolve(place);
      };
      const takenBack = (): void => done(false);
      const timer = setTimeout(takenBack, (toMs(delivery.acceptWithin) ?? 10_000) * WAIT_PART);
      own.addEventListener('abort', takenBack, { once: true });
      this.#waiting.add(done);
    });
  }

  /** Resolves when the handler is done; what it says may still be on its way then. Never rejects. */
  async #run(
    delivery: Delivery,
    task: Task,
    controls: DeliveryControls,
    handler: TaskHandler,
  ): Promise<void> {
    const { tracing, lease, onDropped } = this.#options;
    const id = delivery.work?.deliveryId ?? '';
    controls.accept().catch(() => {}); // where it is refused, so is what comes after; a stale one is taken back
    const { signal, release } = workSignal(delivery, controls.signal, lease());
    const spending = new Spending({
      budgets: task.budgets,
      before: task.spent,
      tell: (spent) => controls.accept({ spent }),
      signal,
    });
    let told: Promise<void>;
    try {
      const output = await tracing.process(delivery, async () =>
        handler(this.#task(delivery, task, controls, { signal, spending })),
      );
      const payload = toPayload(output);
      await spending.settled();
      release();
      if (controls.signal.aborted) return; // nobody wants to know
      told = controls.succeed(payload, { spent: spending.total });
    } catch (error) {
      await spending.settled();
      release();
      // At its deadline the service ends it by itself, and says why.
      if (controls.signal.aborted || signal.reason === LATE) return;
      told = this.#failed(id, controls, error, spending.total);
    }
    told.catch((refused: unknown) => onDropped(refused, id));
  }

  #failed(
    id: string,
    controls: DeliveryControls,
    error: unknown,
    spent: Record<string, bigint>,
  ): Promise<void> {
    if (error instanceof DeclineError)
      return controls.decline(error.message, { retryable: error.retryable, spent });
    this.#options.onError(error, id);
    const text = error instanceof Error ? error.message || error.name : String(error);
    const final = error instanceof PermanentError || error instanceof BudgetSpentError;
    return controls.fail(text, { retryable: !final, spent });
  }

  #task(
    delivery: Delivery,
    task: Task,
    controls: DeliveryControls,
    { signal, spending }: { signal: AbortSignal; spending: Spending },
  ): AgentTask {
    const leftMs = toMs(delivery.timeLeft);
    const untilMs = performance.now() + (leftMs ?? Number.POSITIVE_INFINITY);
    return {
      ...taskFields(delivery, task),
      signal,
      deadline: leftMs === undefined ? undefined : new Date(Date.now() + leftMs),
      get timeLeftMs() {
        return Math.max(0, untilMs - performance.now());
      },
      get left() {
        return spending.left;
      },
      progress: (...counter) => controls.progress(...counter),
      spend: (amounts) => spending.spend(amounts),
      submit: (child, limits = {}) =>
        this.#options.submit(
          { ...child, parentTaskId: task.id },
          { ...limits, signal: limits.signal ? AbortSignal.any([signal, limits.signal]) : signal },
        ),
      decline: (reason, { retryable = true } = {}) => {
        throw new DeclineError(reason, { retryable });
      },
    };
  }
}
