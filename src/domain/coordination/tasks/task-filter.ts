import {
  type Task,
  Task_State,
  type TaskFilter,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { TaskRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { matches, parseLabelSelector } from '../../agent/label-selector.ts';
import { ownerOf, specOf, taskOf } from './task-record.ts';

/** States of tasks that have not ended. */
export const OPEN_STATES: ReadonlySet<Task_State> = new Set([
  Task_State.PENDING,
  Task_State.ASSIGNED,
  Task_State.RUNNING,
]);

/** A filter as a test of records; its states are left to the caller. */
export function compileTaskFilter(filter: TaskFilter | undefined): (record: TaskRecord) => boolean {
  if (filter === undefined) return () => true;
  const { agentId, owner, parentTaskId, labelSelector } = filter;
  const capabilities = new Set(filter.capabilities);
  const selector = labelSelector === '' ? undefined : parseLabelSelector(labelSelector);
  return (record) => {
    const task: Task = taskOf(record);
    const spec = specOf(record);
    if (capabilities.size > 0 && !capabilities.has(spec.capability)) return false;
    if (agentId !== '' && task.agentId !== agentId) return false;
    if (owner !== undefined && ownerOf(record) !== owner) return false;
    if (parentTaskId !== '' && spec.parentTaskId !== parentTaskId) return false;
    return selector === undefined || matches(selector, spec.labels);
  };
}
