import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { quotaWords } from './quota-events.ts';
import type { InUse } from './quota-rules.ts';

export const quotaNotFound = (namespace: string, owner: string): DomainError =>
  new DomainError({
    reason: ErrorReason.QUOTA_NOT_FOUND,
    message:
      owner === ''
        ? `namespace ${namespace} has no quota`
        : `owner ${owner} has no quota in namespace ${namespace}`,
  });

/** @param found undefined: it was found out elsewhere */
export const quotaInUse = (owner: string, found: InUse | undefined): DomainError =>
  new DomainError({
    reason: ErrorReason.QUOTA_IN_USE,
    message: inUseWords(owner, found),
    metadata:
      found === undefined
        ? { owner }
        : { owner, resource: found.name, used: `${found.used}`, limit: `${found.limit}` },
  });

function inUseWords(owner: string, found: InUse | undefined): string {
  const whose = quotaWords(owner);
  if (found === undefined) return `more than ${whose} would allow is reserved or spent; nothing was changed`;
  const { name, used, limit, goes } = found;
  if (goes) return `${used} of budget ${name} in ${whose} are reserved: it cannot be removed now`;
  return `${used} ${name} are reserved or spent, more than the new limit of ${limit} in ${whose}`;
}

export function mustHaveRevision(owner: string, expected: bigint | undefined, present: bigint): void {
  if (expected === undefined || expected === present) return;
  throw new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message:
      present === 0n
        ? `${quotaWords(owner)} does not exist; revision ${expected} was expected`
        : `${quotaWords(owner)} has revision ${present}, not ${expected}`,
    metadata: { current_revision: `${present}` },
  });
}
