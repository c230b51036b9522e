import { setTimeout as delay } from 'node:timers/promises';
import { Code, ConnectError } from '@connectrpc/connect';
import type { Context } from './context.ts';
import { readErrorDetails } from './error-details.ts';
import { summarize } from './errors.ts';
import { dim, good, plain, warn } from './output/text.ts';
import { formatMs } from './output/time.ts';

export interface WatchOptions<Response> {
  /** Opens the stream; an empty cursor begins anew. */
  open(cursor: string, signal: AbortSignal): AsyncIterable<Response>;
  /** The position after a response; '' where the stream has none. */
  cursorOf(response: Response): string;
  receive(response: Response): void | Promise<void>;
  /** The stream broke and will be opened again after `waitMs`. Called once for each time it was up. */
  broken(error: unknown, waitMs: number): void;
  /** It is up again, from the cursor. */
  resumed(): void;
  /** The service no longer has what follows the cursor: begin anew. Absent: fail with its error. */
  restart?: ((error: ConnectError) => void) | undefined;
  /** It broke before it had a cursor: what came so far comes again. */
  anew?(): void;
  /** Ends the watch; it then resolves. */
  signal: AbortSignal;
  /** How long a new stream may take to say its first word, milliseconds. */
  firstWithinMs: number;
  /** Where a watch begins; absent: anew. */
  cursor?: string;
  /** The shortest and longest pause before another try, milliseconds. */
  backoff?: { leastMs: number; mostMs: number };
}

/**
 * Follows a watch until `signal` fires. A watch that was up once is resumed from its cursor however often it breaks,
 * with full jitter between the tries; one that never was up fails with its error.
 */
export async function runWatch<Response>(options: WatchOptions<Response>): Promise<void> {
  const { leastMs, mostMs } = options.backoff ?? { leastMs: 250, mostMs: 5_000 };
  let cursor = options.cursor ?? '';
  let wasUp = false;
  let down = false;
  let tries = 0;
  while (!options.signal.aborted) {
    if (wasUp && cursor === '') options.anew?.();
    try {
      for await (const response of attempt(options, cursor)) {
        if (down) options.resumed();
        wasUp = true;
        down = false;
        tries = 0;
        await options.receive(response);
        cursor = options.cursorOf(response) || cursor;
      }
      throw new ConnectError('the service ended the stream', Code.Unavailable);
    } catch (error) {
      if (options.signal.aborted) return;
      if (!(error instanceof ConnectError)) throw error;
      if (error.code === Code.OutOfRange && cursor !== '' && options.restart !== undefined) {
        options.restart(error);
        cursor = '';
        continue;
      }
      if (!wasUp || permanent.has(error.code)) throw error;
      const ceiling = Math.min(mostMs, leastMs * 2 ** Math.min(tries++, 10));
      const waitMs = Math.max(
        Math.min(readErrorDetails(error).retryAfterMs ?? 0, longestAdviceMs),
        Math.random() * ceiling,
      );
      if (!down) options.broken(error, waitMs);
      down = true;
      await delay(waitMs, undefined, { signal: options.signal }).catch(() => {});
    }
  }
}

/** A delay that the service advises is followed up to this, milliseconds. */
const longestAdviceMs = 60_000;

const permanent: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.OutOfRange,
  Code.Unimplemented,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.FailedPrecondition,
]);

/** One stream, given up if it says nothing at first. */
async function* attempt<Response>(options: WatchOptions<Response>, cursor: string): AsyncIterable<Response> {
  const silence = new AbortController();
  const timer = setTimeout(() => silence.abort(), options.firstWithinMs);
  const forward = () => silence.abort();
  options.signal.addEventListener('abort', forward, { once: true });
  let heard = false;
  try {
    for await (const response of options.open(cursor, silence.signal)) {
      clearTimeout(timer);
      heard = true;
      yield response;
    }
  } catch (error) {
    if (silence.signal.aborted && !heard && !options.signal.aborted) {
      throw new ConnectError('the service does not answer in time', Code.DeadlineExceeded);
    }
    throw error;
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', forward);
    silence.abort();
  }
}

/** Tells on stderr when a watch breaks and when it is back. */
export function watchNotices(context: Context): Pick<WatchOptions<unknown>, 'broken' | 'resumed'> {
  return {
    broken: (error, waitMs) =>
      context.note([
        warn('connection lost: '),
        plain(summarize(error)),
        dim(`; trying again in ${formatMs(waitMs)}`),
      ]),
    resumed: () => context.note([good('connected again, '), plain('resumed where it broke')]),
  };
}
