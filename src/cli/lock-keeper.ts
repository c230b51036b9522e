import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ConnectError } from '@connectrpc/connect';
import type { AcquireLockResponse } from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import type { Context } from './context.ts';
import { readErrorDetails } from './error-details.ts';
import { summarize } from './errors.ts';
import { dim, plain, warn } from './output/text.ts';
import { mayHaveHappened } from './request-id.ts';

export interface LockWish {
  name: string;
  holder: string;
  leaseMs: number;
  /** Infinity: as long as it takes. */
  waitMs: number;
  lockDelayMs: number;
}

export interface Grant {
  token: bigint;
  /** Its lease cannot end before (performance.now). */
  untilMs: number;
}

/** One turn in line; the service has none longer than ten minutes. */
const LONGEST_TURN_MS = 300_000;
/** For the answer after the wait. */
const ANSWER_MS = 5_000;
const AGAIN_MS = 500;

const reasonOf = (error: unknown): string =>
  error instanceof ConnectError ? readErrorDetails(error).reason : '';

/** Whether the same call may do better later: the service or the way to it failed. */
const mayPass = (error: unknown): boolean =>
  error instanceof ConnectError &&
  (mayHaveHappened(error) ||
    reasonOf(error) === 'STORE_UNAVAILABLE' ||
    /^http|ECONN|socket/i.test(error.rawMessage));

/** Waits for a lock, over restarts of the service. */
export async function takeLock(context: Context, wish: LockWish): Promise<Grant> {
  const { connection, namespace, signal } = context;
  const { name, holder, leaseMs, lockDelayMs } = wish;
  const endMs = performance.now() + wish.waitMs;
  let told = false;
  const tell = (why: string): void => {
    if (!told) context.note([dim('waiting: '), plain(why)]);
    told = true;
  };
  for (;;) {
    const turnMs = Math.max(0, Math.min(LONGEST_TURN_MS, endMs - performance.now()));
    const request = {
      namespace,
      name,
      holder,
      lease: durationFromMs(leaseMs),
      wait: durationFromMs(Math.round(told ? turnMs : Math.min(turnMs, 1_000))),
      lockDelay: durationFromMs(lockDelayMs),
      requestId: randomUUID(),
    };
    try {
      return await settle(
        context,
        async () => {
          const askedMs = performance.now();
          const call = { timeoutMs: Math.ceil(turnMs + ANSWER_MS), signal };
          return granted(context, wish, askedMs, await connection.locks.acquireLock(request, call));
        },
        { endMs, tell },
      );
    } catch (error) {
      const held = reasonOf(error) === 'LOCK_HELD' || reasonOf(error) === 'LOCK_LOST';
      if (!held || signal.aborted || performance.now() >= endMs) throw error;
      tell(summarize(error));
    }
  }
}

/** Repeats a call as it was until it is answered. */
async function settle<T>(
  { signal }: Context,
  call: () => Promise<T>,
  { endMs, tell }: { endMs: number; tell: (why: string) => void },
): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (!mayPass(error) || signal.aborted || performance.now() + AGAIN_MS >= endMs) throw error;
      tell(summarize(error));
      await delay(AGAIN_MS, undefined, { signal }).catch(() => {});
    }
  }
}

async function granted(
  { connection, namespace, signal }: Context,
  { name, leaseMs }: LockWish,
  askedMs: number,
  { lock }: AcquireLockResponse,
): Promise<Grant> {
  const fencingToken = lock?.fencingToken ?? 0n;
  if (performance.now() - askedMs < leaseMs / 3) return { token: fencingToken, untilMs: askedMs + leaseMs };
  // It was waited for, and when the lease began is not known: it begins anew.
  const renewedMs = performance.now();
  await connection.locks.renewLock(
    { namespace, name, fencingToken },
    { timeoutMs: Math.ceil(leaseMs / 3), signal },
  );
  return { token: fencingToken, untilMs: renewedMs + leaseMs };
}

/**
 * Renews a lock until `stop` fires. Resolves then to undefined, or to why the lock is lost: it was refused, or its lease
 * passed without a renewal that was acknowledged.
 */
export async function keepLock(
  context: Context,
  { name, leaseMs }: Pick<LockWish, 'name' | 'leaseMs'>,
  grant: Grant,
  stop: AbortSignal,
): Promise<string | undefined> {
  const { connection, namespace } = context;
  let untilMs = grant.untilMs;
  let failed = false;
  while (!stop.aborted) {
    const leftMs = untilMs - performance.now();
    if (leftMs <= 0) return 'its lease has passed without a renewal that was acknowledged';
    const pauseMs = failed ? Math.min(leftMs, leaseMs / 20) : Math.min(leftMs, leaseMs / 3);
    await delay(pauseMs, undefined, { signal: stop }).catch(() => {});
    if (stop.aborted) break;
    const askedMs = performance.now();
    const timeoutMs = Math.ceil(Math.max(1, Math.min(leaseMs / 3, untilMs - askedMs)));
    try {
      await connection.locks.renewLock(
        { namespace, name, fencingToken: grant.token },
        { timeoutMs, signal: stop },
      );
      untilMs = Math.max(untilMs, askedMs + leaseMs);
      failed = false;
    } catch (error) {
      if (reasonOf(error) === 'LOCK_LOST') return summarize(error);
      if (!failed && !stop.aborted) context.note([warn('not renewed: '), plain(summarize(error))]);
      failed = true;
    }
  }
  return undefined;
}

/** Gives a lock back; says so where that is not certain. */
export async function giveBack(context: Context, name: string, { token }: Grant): Promise<void> {
  const { connection, namespace, timeoutMs } = context;
  try {
    await connection.locks.releaseLock({ namespace, name, fencingToken: token }, { timeoutMs });
  } catch (error) {
    context.note([warn('not given back: '), plain(`${summarize(error)}; it ends with its lease`)]);
  }
}
