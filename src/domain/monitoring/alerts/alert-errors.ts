import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../../lib/errors.ts';

export const alertNotFound = (id: string): DomainError =>
  new DomainError({ reason: ErrorReason.ALERT_NOT_FOUND, message: `there is no alert ${id}` });

export const silenceNotFound = (id: string): DomainError =>
  new DomainError({ reason: ErrorReason.SILENCE_NOT_FOUND, message: `there is no silence ${id}` });

export const alertStateRefused = (id: string, state: string, words: string): DomainError =>
  new DomainError({
    reason: ErrorReason.ALERT_STATE_REFUSED,
    message: `alert ${id} is ${state} and cannot ${words}`,
    metadata: { state },
  });
