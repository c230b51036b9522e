import { StoreFullError, StoreOpenError, StoreUnavailableError } from '../store.ts';
import { LostError, NotSentError } from './connection.ts';

/** Redis refuses these before it does anything. */
const REFUSALS =
  /^(READONLY|LOADING|BUSY|MASTERDOWN|NOREPLICAS|MISCONF|NOAUTH|NOPERM|WRONGPASS|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|NOSCRIPT|LIMIT)\b/;

export const RETRY_AFTER_MS = 500;

export function unavailable(
  message: string,
  outcome: 'not_applied' | 'unknown',
  cause?: unknown,
): StoreUnavailableError {
  return new StoreUnavailableError({ message, outcome, retryAfterMs: RETRY_AFTER_MS, cause });
}

export function isOutOfMemory(error: Error): boolean {
  // Up to Redis 6.2 the error of a script wraps the one of its command.
  return /(^|-)OOM command not allowed/.test(error.message);
}

/** The port's error for what went wrong with a command. `writes`: whether it may have changed something. */
export function toStoreError(error: unknown, writes: boolean): Error {
  if (
    error instanceof StoreUnavailableError ||
    error instanceof StoreFullError ||
    error instanceof RangeError
  ) {
    return error;
  }
  if (error instanceof NotSentError) return unavailable('Redis is not connected', 'not_applied');
  if (error instanceof LostError) {
    return unavailable(`Redis did not answer: ${error.message}`, writes ? 'unknown' : 'not_applied');
  }
  if (!(error instanceof Error)) return unavailable(String(error), writes ? 'unknown' : 'not_applied');
  if (isOutOfMemory(error)) return new StoreFullError('Redis is out of memory (maxmemory is reached)');
  const refused = !writes || REFUSALS.test(error.message);
  // Only the message: an error of ioredis carries the command with its arguments.
  return unavailable(`Redis answered: ${brief(error)}`, refused ? 'not_applied' : 'unknown');
}

export function isLoginRefused(error: Error | undefined): boolean {
  return /^(WRONGPASS|NOAUTH)|invalid password|without any password/.test(error?.message ?? '');
}

/** One line for an operator about what keeps Redis from being used. Never holds a password. */
export function describeFault(error: Error | undefined): string {
  if (error === undefined) return 'not connected yet';
  if (error instanceof StoreOpenError) return error.message;
  if (isLoginRefused(error)) return 'Redis refuses the user or password of the URL';
  return brief(error);
}

function brief(error: Error): string {
  return (error.message.split('\n')[0] ?? '').slice(0, 200);
}
