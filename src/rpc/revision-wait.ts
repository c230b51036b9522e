import { namespaceOf } from '../domain/namespaces.ts';
import type { Views } from '../state/views.ts';
import type { CallContext } from './service.ts';

/** The longest wait for min_revision when the caller has no deadline. */
const MAX_WAIT_MS = 10_000;

/** Waits until this replica has seen the request's min_revision. @throws DomainError REVISION_NOT_SEEN */
export function revisionWait(views: Views) {
  return async (request: { namespace: string; minRevision: bigint }, context: CallContext): Promise<void> => {
    if (request.minRevision === 0n) return;
    const waitMs = Math.min(MAX_WAIT_MS, context.timeLeftMs() ?? MAX_WAIT_MS);
    await views.waitFor(namespaceOf(request), request.minRevision, waitMs, context.signal);
  };
}
