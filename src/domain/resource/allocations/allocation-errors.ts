import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  PendingReason,
  PendingReasonSchema,
  type PlacementExplanation,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type Allocation_State,
  Allocation_StateSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { AllocationRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { allocationOf } from './allocation-record.ts';

/** "NO_ROOM": as it stands in metadata. */
export const reasonWord = (reason: PendingReason): string =>
  (PendingReasonSchema.value[reason]?.name ?? '').replace('PENDING_REASON_', '');

const stateWord = (state: Allocation_State): string =>
  (Allocation_StateSchema.value[state]?.name ?? '').replace('STATE_', '');

export const allocationNotFound = (namespace: string, id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.ALLOCATION_NOT_FOUND,
    message: `there is no allocation ${id} in namespace ${namespace}, or it is not kept any more`,
  });

export const allocationExists = (id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.ALLOCATION_EXISTS,
    message: `allocation ${id} is there already, with another spec`,
  });

/** It has ended: when and how; or it does not stand so that this can be done. */
export function allocationEnded(id: string, record: AllocationRecord): DomainError {
  const { state, detail, endTime } = allocationOf(record);
  const metadata: Record<string, string> = { state: stateWord(state) };
  if (endTime === undefined) {
    const message = `allocation ${id} is ${stateWord(state)}, not reserved yet`;
    return new DomainError({ reason: ErrorReason.ALLOCATION_ENDED, message, metadata });
  }
  const ended = new Date(msFromTimestamp(endTime)).toISOString();
  metadata.end_time = ended;
  const message = `allocation ${id} ended at ${ended} (${stateWord(state)}): ${detail}`;
  return new DomainError({ reason: ErrorReason.ALLOCATION_ENDED, message, metadata });
}

/** The reservation of a task is nothing that can be renewed or released by itself. */
export const isOfTask = (id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.ALLOCATION_ENDED,
    message: `${id} is the reservation of a task: it ends with the task's attempt; CancelTask ends that`,
    metadata: { state: 'ACTIVE' },
  });

/** No agent that is known could ever have it. */
export function unplaceable(explanation: PlacementExplanation): DomainError {
  const reason = reasonWord(explanation.reason);
  return new DomainError({
    reason: ErrorReason.UNPLACEABLE,
    message: `no agent that is known could ever have it: ${explanation.detail}`,
    metadata: { reason },
  });
}

export const budgetUnknown = (owner: string, name: string): DomainError =>
  new DomainError({
    reason: ErrorReason.BUDGET_UNKNOWN,
    message:
      owner === ''
        ? `the namespace's quota has no budget ${name}; UpdateQuota declares one`
        : `neither the quota of owner ${owner} nor the namespace's has a budget ${name}; UpdateQuota declares one`,
    metadata: { budget: name, owner },
  });

const NEVER: ReadonlySet<PendingReason> = new Set([
  PendingReason.NO_CAPABILITY,
  PendingReason.CONSTRAINTS,
  PendingReason.TOO_LARGE,
]);

/** It was not granted for as long as was waited. */
export function notGranted(id: string, record: AllocationRecord): DomainError {
  const { pending, detail } = allocationOf(record);
  const reason = pending?.reason ?? PendingReason.UNSPECIFIED;
  const metadata = { reason: reasonWord(reason), allocation_id: id };
  const message = `allocation ${id} was not granted: ${detail || pending?.detail}`;
  if (NEVER.has(reason)) return new DomainError({ reason: ErrorReason.UNPLACEABLE, message, metadata });
  const of = reason === PendingReason.BUDGET ? ErrorReason.BUDGET_SPENT : ErrorReason.NO_ROOM;
  return new DomainError({ reason: of, message, metadata, retryAfterMs: 1000 });
}

export const noScheduler = (namespace: string): DomainError =>
  new DomainError({
    reason: ErrorReason.NO_SCHEDULER,
    message: `no replica reserves in namespace ${namespace} at the moment; nothing was reserved`,
    retryAfterMs: 1000,
  });

export function mustHaveRevision(id: string, expected: bigint | undefined, present: bigint): void {
  if (expected === undefined || expected === present) return;
  throw new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message: `allocation ${id} has revision ${present}, not ${expected}`,
    metadata: { current_revision: `${present}` },
  });
}
