import type { Message } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError, type FieldViolation } from '../../lib/errors.ts';

/** Says every field of a request that breaks its rules; empty when all is well. */
export type ValidateRequest = (message: Message) => readonly FieldViolation[];

export function checkRequest(validate: ValidateRequest, message: Message): void {
  const violations = validate(message);
  if (violations.length > 0) throw invalidFields(violations);
}

/** The error that lists all violated fields; its message names the first few. */
export function invalidFields(violations: readonly FieldViolation[]): DomainError {
  const named = violations.slice(0, 3).map(({ field, description }) => `${field}: ${description}`);
  const more = violations.length > named.length ? `; and ${violations.length - named.length} more` : '';
  return new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: `${named.join('; ')}${more}`,
    violations: [...violations],
  });
}
