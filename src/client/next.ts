import { type AgentError, isFinal, sentAway, unavailable } from './errors.ts';
import type { SessionEnd } from './session.ts';
import { toMs } from './time.ts';

/** What comes after an attempt to be attached: another one after a wait, or none. */
export type Next =
  | { again: true; error: AgentError; notBeforeMs: number }
  | { again: false; error?: AgentError };

/** `mendable` takes an error in and says whether registering anew may mend it. */
export function afterSession(end: SessionEnd, mendable: (error: AgentError) => boolean): Next {
  if (end.why === 'error') return afterError(end.error, mendable);
  if (end.why === 'ended') return afterError(unavailable('the service ended the session'), mendable);
  const error = sentAway(end.goAway);
  const notBeforeMs = toMs(end.goAway.reconnectAfter);
  return notBeforeMs === undefined ? { again: false, error } : { again: true, error, notBeforeMs };
}

export function afterError(error: AgentError, mendable: (error: AgentError) => boolean): Next {
  const mends = mendable(error);
  if (isFinal(error) && !mends) return { again: false, error };
  return { again: true, error, notBeforeMs: error.retryAfterMs ?? 0 };
}
