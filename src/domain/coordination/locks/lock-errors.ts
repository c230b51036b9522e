import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Lock } from '../../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';

export const lockNotFound = (namespace: string, name: string): DomainError =>
  new DomainError({
    reason: ErrorReason.LOCK_NOT_FOUND,
    message: `nobody has taken lock ${name} in namespace ${namespace}, or it was forgotten since`,
  });

export const lockHeld = (name: string, lock: Lock | undefined): DomainError =>
  new DomainError({
    reason: ErrorReason.LOCK_HELD,
    message: lock?.held
      ? `lock ${name} is with ${lock.holder}`
      : `lock ${name} is not to be had yet: others wait for it, or its lock delay has not passed`,
    metadata: { holder: lock?.holder ?? '', fencing_token: `${lock?.fencingToken ?? 0n}` },
  });

export const lockLost = (name: string, token: bigint, lock: Lock | undefined): DomainError =>
  new DomainError({
    reason: ErrorReason.LOCK_LOST,
    message: `lock ${name} is not held with fencing token ${token} any more`,
    metadata: { current_fencing_token: `${lock?.fencingToken ?? 0n}`, holder: lock?.held ? lock.holder : '' },
  });
