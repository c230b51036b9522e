import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../../lib/errors.ts';

/** So often in a row something may fail before its part is over. */
export const MAX_FAILED = 5;

/** What asks for less, or is no longer allowed, is not mended by time; what is exhausted or went wrong inside may be. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof DomainError)) return true;
  return error.retryAfterMs !== undefined || error.reason === ErrorReason.INTERNAL;
}
