import type { Delivery, Payload, Task } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { CallLimits } from './calls.ts';
import type { Answerable } from './message.ts';
import { type Content, fromPayload } from './payloads.ts';
import type { TaskInfo } from './task-info.ts';
import type { TaskRequest } from './task-request.ts';

/** Whole numbers by name: resources, budgets, what was spent. */
export type Amounts = Readonly<Record<string, number>>;

/** A task that this agent has, and what can be done about it. */
export interface AgentTask {
  readonly id: string;
  readonly capability: string;
  /** Text as a string, bytes as a Uint8Array, JSON as its value; undefined: there is none. */
  readonly input: Content | undefined;
  /** The same as it came, with its media type. */
  readonly payload: Payload | undefined;
  /** Which attempt at the task this is: 1, 2, 3… */
  readonly attempt: number;
  readonly labels: Readonly<Record<string, string>>;
  /** The task that it is a part of; empty: none. */
  readonly parentTaskId: string;
  /** What is reserved of this agent for it. */
  readonly granted: Amounts;
  /** What it may spend, all attempts together. */
  readonly budgets: Amounts;
  /** What is left of that, by what was told with the task and what this attempt has spent. */
  readonly left: Amounts;
  /**
   * Fires when the outcome is not wanted any more: the task was cancelled or given to another agent, its deadline passed, the
   * agent counts as lost or was closed. The reason is an AgentError. Stop then.
   */
  readonly signal: AbortSignal;
  /** By when it is to be done, by this process's clock; undefined: there is no deadline. */
  readonly deadline: Date | undefined;
  /** What is left until then, milliseconds, never below 0; Infinity: there is no deadline. */
  readonly timeLeftMs: number;
  /** Tells how far it is, in the agent's own unit; `name`: what is counted. It goes with the reports. */
  progress(done: number | bigint, total?: number | bigint, name?: string): void;
  /**
   * Asks to spend so much more; resolves, with what is left, when that is stored. Spending that comes together is asked for
   * together. Rejects with a BudgetSpentError when there is not so much left, with the signal's reason when that fires, with a
   * RangeError for what is no whole number of 0 or more.
   */
  spend(amounts: Amounts): Promise<Amounts>;
  /**
   * Submits a task that is a part of this one: it ends with it, and spends of its budgets. Errors: as `AgentHandle.tasks.submit`.
   */
  submit(task: TaskRequest, limits?: CallLimits): Promise<TaskInfo>;
  /** Gives it back: throws, so the handler ends. It counts as a failed attempt, after which another agent may have the task. */
  decline(reason: string, options?: { retryable?: boolean }): never;
  /** All that came. */
  readonly delivery: Delivery;
}

/**
 * Does a task. What it resolves to is the task's output. If it throws, the attempt has failed, and the task is tried again as its
 * retry policy says; with a PermanentError it has failed for good.
 */
export type TaskHandler = (task: AgentTask) => Promise<Answerable> | Promise<void> | Answerable | void;

/** Handlers by capability: exact, "image.*", or "*". */
export type TaskHandlers = Readonly<Record<string, TaskHandler>>;

/** What came with a task, as programs have it. @throws where the input is broken */
export function taskFields(
  delivery: Delivery,
  task: Task,
): Omit<
  AgentTask,
  'left' | 'signal' | 'timeLeftMs' | 'deadline' | 'progress' | 'spend' | 'submit' | 'decline'
> {
  const { id, capability, input, attempt, labels, parentTaskId } = task;
  return {
    id,
    capability,
    input: fromPayload(input),
    payload: input,
    attempt,
    labels,
    parentTaskId,
    granted: amountsOf(task.granted),
    budgets: amountsOf(task.budgets),
    delivery,
  };
}

/** The service keeps them below 2^53. */
export function amountsOf(amounts: Readonly<Record<string, bigint>>): Record<string, number> {
  return Object.fromEntries(Object.entries(amounts).map(([name, amount]) => [name, Number(amount)]));
}

/** @throws RangeError on what is no whole number of 0 or more, below 2^53 */
export function bigintsOf(amounts: Amounts, what: string): Record<string, bigint> {
  const checked = Object.entries(amounts).map(([name, amount]): [string, bigint] => {
    if (!Number.isSafeInteger(amount) || amount < 0)
      throw new RangeError(`${what}.${name} must be a whole number, 0 or more`);
    return [name, BigInt(amount)];
  });
  return Object.fromEntries(checked);
}
