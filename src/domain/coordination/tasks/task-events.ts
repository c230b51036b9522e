import {
  Task_State,
  Task_StateSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { TaskRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import { isOver, isPresent, specOf, taskOf } from './task-record.ts';

/** What the end of a task, or of an attempt at it, is as an event; undefined: none is told of it. */
export function taskEvent(before: TaskRecord, after: TaskRecord, actor: string): NewEvent | undefined {
  const [was, is] = [taskOf(before), taskOf(after)];
  const { capability } = specOf(after);
  const agentId = is.agentId || was.agentId;
  const common = { actor, agentId, attributes: { task_id: is.id, capability } };
  if (isOver(is.state) && !isOver(was.state)) {
    switch (is.state) {
      case Task_State.FAILED:
        return {
          ...common,
          type: 'task.failed',
          severity: Event_Severity.WARNING,
          message: `task ${is.id} has failed: ${is.error}`,
        };
      case Task_State.TIMED_OUT:
        return {
          ...common,
          type: 'task.timed_out',
          severity: Event_Severity.WARNING,
          message: `task ${is.id} timed out: ${is.error}`,
        };
      case Task_State.CANCELLED:
        return {
          ...common,
          type: 'task.cancelled',
          severity: Event_Severity.INFO,
          message: `task ${is.id} was cancelled: ${is.error}`,
        };
      default:
        return undefined;
    }
  }
  if (before.moveToAgentId !== '' && is.agentId === before.moveToAgentId && was.agentId !== is.agentId) {
    return {
      ...common,
      type: 'task.moved',
      severity: Event_Severity.INFO,
      message: `task ${is.id} was moved from ${was.agentId} to ${is.agentId}`,
      actor: before.moveActor || actor,
      attributes: { ...common.attributes, from_agent_id: was.agentId },
    };
  }
  if (is.failures > was.failures) {
    const why = is.pending?.detail ?? is.attempts.findLast(({ error }) => error !== '')?.error ?? '';
    return {
      ...common,
      type: 'task.attempt_failed',
      severity: Event_Severity.WARNING,
      message: after.live.some(isPresent)
        ? `an attempt at task ${is.id} failed, and another one goes on: ${why}`
        : `task ${is.id} is tried again: ${why}`,
    };
  }
  return undefined;
}

/** As metrics name the end of a task. */
export const stateName = (state: Task_State): string =>
  (Task_StateSchema.value[state]?.localName ?? 'unknown').toLowerCase();
