import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { PlacementExplanation } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { reasonWord } from '../../resource/allocations/allocation-errors.ts';
import { stateName } from './task-events.ts';

export const taskNotFound = (namespace: string, id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.TASK_NOT_FOUND,
    message: `there is no task ${id} in namespace ${namespace}, or it is not kept any more`,
  });

export const taskExists = (id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.TASK_EXISTS,
    message: `task ${id} is there already, with another spec`,
  });

export const taskEnded = (id: string, state: Task_State, words: string): DomainError =>
  new DomainError({
    reason: ErrorReason.TASK_ENDED,
    message: `task ${id} has ended (${stateName(state)}) and ${words}`,
    metadata: { state: stateName(state) },
  });

export const budgetUnknown = (owner: string, name: string): DomainError =>
  new DomainError({
    reason: ErrorReason.BUDGET_UNKNOWN,
    message: `neither the quota of ${owner === '' ? 'the namespace' : `owner ${owner} nor the namespace's`} has a budget ${name}; declare it with UpdateQuota`,
    metadata: { budget: name },
  });

export const unplaceable = ({ detail, reason }: PlacementExplanation): DomainError =>
  new DomainError({
    reason: ErrorReason.UNPLACEABLE,
    message: `no agent that is known could ever do it: ${detail}`,
    metadata: { reason: reasonWord(reason) },
  });

export const noScheduler = (): DomainError =>
  new DomainError({
    reason: ErrorReason.NO_SCHEDULER,
    message: 'no replica schedules for this namespace at the moment',
    retryAfterMs: 1000,
  });
