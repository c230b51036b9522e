import {
  type Task,
  Task_State,
  Task_StateSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { type Content, fromPayload } from './payloads.ts';

/** How a task stands. */
export type TaskState =
  | 'pending'
  | 'assigned'
  | 'running'
  | 'succeeded'
  | 'failed'
  | 'cancelled'
  | 'timed_out'
  | 'unknown';

/** A task as those see it who wait for it. */
export interface TaskInfo {
  readonly id: string;
  readonly state: TaskState;
  /** Whether it has ended: it changes no more. */
  readonly ended: boolean;
  /** What the agent answered, of one that has succeeded and was asked for by itself. */
  readonly output: Content | undefined;
  /** Why it ended otherwise, or why it waits. */
  readonly reason: string;
  /** The agent that has it, or whose result it has; empty: none. */
  readonly agentId: string;
  /** How far its agent says that it is. */
  readonly progress: { done: number; total: number | undefined; name: string } | undefined;
  /** All that the service says of it. */
  readonly task: Task;
}

const STATES: ReadonlySet<string> = new Set<TaskState>([
  ...(['pending', 'assigned', 'running', 'succeeded', 'failed', 'cancelled', 'timed_out'] as const),
]);

/** @throws where the output is broken */
export function taskInfo(task: Task): TaskInfo {
  const { id, state, error, pending, agentId, progress } = task;
  const name = Task_StateSchema.value[state]?.localName.toLowerCase() ?? '';
  return {
    id,
    state: STATES.has(name) ? (name as TaskState) : 'unknown',
    ended: state >= Task_State.SUCCEEDED && STATES.has(name),
    output: fromPayload(task.output),
    reason: error || (pending?.detail ?? ''),
    agentId,
    progress: progress && {
      done: Number(progress.done),
      total: progress.total === undefined ? undefined : Number(progress.total),
      name: progress.name,
    },
    task,
  };
}
