import type {
  Task,
  WatchTasksResponse,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { TaskService } from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { AgentCalls, CallLimits } from './calls.ts';
import { AgentError, Code } from './errors.ts';
import { follow } from './follow.ts';
import { type TaskInfo, taskInfo } from './task-info.ts';
import { type TaskRequest, toTaskSpec } from './task-request.ts';
import { toDuration } from './time.ts';

export interface SubmitTaskOptions extends CallLimits {
  /** Refuse it when no agent that is known could ever do it, instead of waiting for one to come. */
  mustFit?: boolean;
}

export interface WatchTasksOptions {
  /** Ends it. */
  signal: AbortSignal;
  /** Only this one. */
  id?: string;
  /** Only of this capability. */
  capability?: string;
  /** Only directly below this task. */
  parentTaskId?: string;
  /** A label selector over the tasks' labels. */
  selector?: string;
  /** Also progress, for each task at most this often: 200 ms to 1 h. */
  progressIntervalMs?: number;
}

export type TaskNews =
  | { kind: 'task'; task: TaskInfo; progressOnly: boolean }
  /** Everything that was there has been told; what follows is news. */
  | { kind: 'synced' }
  /** The service no longer has what follows the last change: what is there comes anew, from nothing. */
  | { kind: 'restart' };

/** One call waits no longer than this for the end of a task; then the next one does. Milliseconds. */
const WAIT_MS = 30_000;
/** So much longer may the way to the service and back take. */
const WAY_MS = 10_000;

/** Tasks for those who want something done. What an agent submits carries its session. */
export class Tasks {
  readonly #calls: AgentCalls;
  readonly #namespace: string;

  constructor(options: { calls: AgentCalls; namespace: string }) {
    this.#calls = options.calls;
    this.#namespace = options.namespace;
  }

  /**
   * Resolves when the task is stored; it is stored once, over reconnects. Rejects with an AgentError:
   * - INVALID_ARGUMENT: INVALID_FIELDS; NOT_FOUND: TASK_NOT_FOUND (the parent)
   * - ALREADY_EXISTS: TASK_EXISTS (the id, with another request)
   * - FAILED_PRECONDITION: TASK_ENDED (the parent), BUDGET_UNKNOWN, UNPLACEABLE (with `mustFit`)
   * - RESOURCE_EXHAUSTED: LIMIT_REACHED; DEADLINE_EXCEEDED: not stored in time, as far as is known
   */
  async submit(task: TaskRequest, { mustFit = false, ...limits }: SubmitTaskOptions = {}): Promise<TaskInfo> {
    const spec = toTaskSpec(task);
    const answer = await this.#calls.write(
      TaskService.method.submitTask,
      (session) => ({ namespace: this.#namespace, taskId: task.id ?? '', spec, mustFit, ...session }),
      limits,
    );
    return told(answer.task);
  }

  /** Rejects with NOT_FOUND: TASK_NOT_FOUND. */
  async get(id: string, limits?: CallLimits): Promise<TaskInfo> {
    const request = { namespace: this.#namespace, taskId: id, withInput: true };
    return told((await this.#calls.call(TaskService.method.getTask, request, limits)).task);
  }

  /**
   * Resolves when the task has ended, however it did; default of `timeoutMs`: as long as that takes. Rejects with an AgentError:
   * NOT_FOUND (TASK_NOT_FOUND), DEADLINE_EXCEEDED (not_ended), CANCELLED (the signal fired).
   */
  async wait(
    id: string,
    { timeoutMs = Number.POSITIVE_INFINITY, signal }: CallLimits = {},
  ): Promise<TaskInfo> {
    const untilMs = performance.now() + timeoutMs;
    for (;;) {
      const leftMs = untilMs - performance.now();
      if (leftMs <= 0) throw notEnded(id, timeoutMs);
      const waitMs = Math.min(WAIT_MS, leftMs);
      const request = { namespace: this.#namespace, taskId: id, wait: toDuration(waitMs) };
      const limits = { timeoutMs: Math.min(leftMs, WAIT_MS) + WAY_MS, ...(signal && { signal }) };
      try {
        const info = told((await this.#calls.call(TaskService.method.getTask, request, limits)).task);
        if (info.ended) return info;
      } catch (error) {
        if (!(error instanceof AgentError) || error.code !== Code.DEADLINE_EXCEEDED) throw error;
      }
    }
  }

  /** Those that have not ended, then each change, over reconnects, until the signal fires. Without inputs and outputs. */
  async *watch(options: WatchTasksOptions): AsyncGenerator<TaskNews, void, undefined> {
    const { signal, id = '', capability, parentTaskId = '', selector = '', progressIntervalMs } = options;
    const request = (cursor: string) => ({
      namespace: this.#namespace,
      taskId: id,
      filter: {
        capabilities: capability === undefined ? [] : [capability],
        parentTaskId,
        labelSelector: selector,
      },
      cursor,
      ...(progressIntervalMs !== undefined && { progressInterval: toDuration(progressIntervalMs) }),
    });
    const cursorOf = ({ cursor }: WatchTasksResponse) => cursor;
    let synced = false;
    for await (const next of follow(this.#calls, TaskService.method.watchTasks, request, cursorOf, signal)) {
      if (next.kind === 'restart') {
        synced = false;
        yield next;
        continue;
      }
      for (const { task, progressOnly } of next.news.changes) {
        if (task !== undefined) yield { kind: 'task', task: taskInfo(task), progressOnly };
      }
      if (next.news.synced && !synced) yield { kind: 'synced' };
      synced ||= next.news.synced;
    }
  }

  /** Ends a task and all below it; one that has ended stays as it is. Rejects with NOT_FOUND: TASK_NOT_FOUND. */
  async cancel(id: string, reason = '', limits?: CallLimits): Promise<TaskInfo> {
    const answer = await this.#calls.write(
      TaskService.method.cancelTask,
      ({ requestId }) => ({ namespace: this.#namespace, taskId: id, reason, requestId }),
      limits,
    );
    return told(answer.task);
  }
}

/** The service always says how it stands. */
function told(task: Task | undefined): TaskInfo {
  if (task === undefined)
    throw new AgentError({ code: Code.UNKNOWN, message: 'the service answered without the task' });
  return taskInfo(task);
}

const notEnded = (id: string, timeoutMs: number): AgentError =>
  new AgentError({
    code: Code.DEADLINE_EXCEEDED,
    reason: 'not_ended',
    message: `task ${id} has not ended within ${timeoutMs} ms`,
  });
