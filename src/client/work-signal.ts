import type { Delivery } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from './errors.ts';
import { toMs } from './time.ts';

/** setTimeout has no longer ones. */
const LONGEST_MS = 2 ** 31 - 1;

/** Why the signal of work fired whose deadline has passed. The service ends it by itself then. */
export const LATE = new AgentError({
  code: Code.DEADLINE_EXCEEDED,
  reason: 'deadline_passed',
  message: 'the deadline has passed',
});

/**
 * A signal that fires when the outcome of a delivery is not wanted any more: with the delivery's own, with the lease and at the
 * deadline. To be released when the work is over.
 */
export function workSignal(
  delivery: Delivery,
  own: AbortSignal,
  lease: AbortSignal,
): { signal: AbortSignal; release: () => void } {
  const ends = new AbortController();
  const leftMs = toMs(delivery.timeLeft);
  const timer =
    leftMs === undefined || leftMs > LONGEST_MS ? undefined : setTimeout(() => ends.abort(LATE), leftMs);
  const release = (): void => {
    clearTimeout(timer);
    own.removeEventListener('abort', ownEnd);
    lease.removeEventListener('abort', leaseEnd);
  };
  const ownEnd = (): void => {
    ends.abort(own.reason);
    release();
  };
  const leaseEnd = (): void => ends.abort(lease.reason);
  own.addEventListener('abort', ownEnd, { once: true });
  lease.addEventListener('abort', leaseEnd, { once: true });
  if (lease.aborted) leaseEnd();
  if (own.aborted) ownEnd();
  return { signal: ends.signal, release };
}
