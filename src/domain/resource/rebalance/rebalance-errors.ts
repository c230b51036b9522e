import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../../lib/errors.ts';

export const planNotFound = (id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.PLAN_NOT_FOUND,
    message: `there is no plan ${id}: it is older than 10 minutes, or was applied already; make a new one`,
  });

/** @param changes what is not as it was, in words */
export const planStale = (id: string, changes: readonly string[]): DomainError =>
  new DomainError({
    reason: ErrorReason.PLAN_STALE,
    message: `plan ${id} is out of date and nothing was moved: ${changes.join('; ')}; make a new one`,
  });

export const tooManyPlans = (limit: number): DomainError =>
  new DomainError({
    reason: ErrorReason.LIMIT_REACHED,
    message: `${limit} plans are being made on this replica, the maximum`,
    retryAfterMs: 1000,
  });
