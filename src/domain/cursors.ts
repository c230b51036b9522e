import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { decodeCursor } from '../lib/cursor.ts';
import { DomainError } from '../lib/errors.ts';
import type { Position } from '../state/store.ts';

/** @throws DomainError INVALID_FIELDS for a cursor that is not one of this namespace */
export function cursorPosition(cursor: string, namespace: string): Position {
  const decoded = decodeCursor(cursor, namespace);
  if (decoded.kind === 'cursor') return { epoch: decoded.cursor.epoch, revision: decoded.cursor.revision };
  throw new DomainError({
    reason: ErrorReason.INVALID_FIELDS,
    message: `cursor ${decoded.description}`,
    violations: [{ field: 'cursor', description: decoded.description }],
  });
}
