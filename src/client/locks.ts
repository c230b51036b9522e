import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type AcquireLockRequestSchema,
  LockService,
} from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { type AgentCalls, mayBeRepeated } from './calls.ts';
import { AgentError, cancelled } from './errors.ts';
import { HeldLock } from './held-lock.ts';
import type { ClientLogger } from './options.ts';
import { payloadOf, type SharedValue } from './shared-state.ts';
import { toDuration } from './time.ts';

export interface LockOptions {
  /**
   * Bound to the agent's session, the default: held for as long as the agent is there, its heartbeats are the renewals, and
   * gone when it is lost, leaves or is superseded. False: held by a lease of its own, which is renewed.
   */
  bind?: boolean;
  /** With `bind: false`: the lease; 1 s to 1 day, default 30 s. */
  leaseMs?: number;
  /** How long to wait for the lock, over reconnects; default: as long as it takes. 0: not at all. */
  waitMs?: number;
  /** After this holder was lost nobody gets the lock for so long; default 0. */
  lockDelayMs?: number;
  /** What others see in the lock: who leads, and where. */
  value?: SharedValue;
  /** Gives up waiting, and fires the signal of the work. */
  signal?: AbortSignal;
}

/** What the work under a lock gets. */
export interface LockControls {
  /** Goes along with each write to what the lock protects, which refuses lower ones than it has seen. */
  readonly fencingToken: bigint;
  /** Fires when the lock is lost, or `options.signal` fires: the work has to stop. Its reason says why. */
  readonly signal: AbortSignal;
}

type AcquireLock = MessageInitShape<typeof AcquireLockRequestSchema>;

/** So long one call waits in line; the service has no longer waits than ten minutes. */
const LONGEST_WAIT_MS = 300_000;
/** For the answer after the wait. */
const ANSWER_MS = 5_000;
/** How long it is tried to give a lock back. */
const RELEASE_MS = 60_000;

/** Locks that the agent takes. */
export class AgentLocks {
  readonly #calls: AgentCalls;
  readonly #namespace: string;
  readonly #holder: () => string;
  readonly #lease: () => AbortSignal;
  readonly #log: ClientLogger;
  readonly #held = new Set<HeldLock>();
  #closed = false;

  constructor(options: {
    calls: AgentCalls;
    namespace: string;
    holder: () => string;
    /** The agent's lease. */
    lease: () => AbortSignal;
    log: ClientLogger;
  }) {
    this.#calls = options.calls;
    this.#namespace = options.namespace;
    this.#holder = options.holder;
    this.#lease = options.lease;
    this.#log = options.log;
  }

  /** The agent is closed: nothing is held any more. */
  close(): void {
    this.#closed = true;
    for (const held of this.#held) held.lose('the agent is closed');
  }

  async with<T>(
    name: string,
    options: LockOptions,
    work: (lock: LockControls) => Promise<T> | T,
  ): Promise<T> {
    const { bind = true, leaseMs = 30_000, signal } = options;
    const { fencingToken, askedAt } = await this.#acquire(name, options);
    const held = new HeldLock({
      calls: this.#calls,
      namespace: this.#namespace,
      name,
      fencingToken,
      bound: bind ? this.#lease : undefined,
      leaseMs,
      grantedAt: askedAt,
    });
    this.#held.add(held);
    try {
      const ends = signal === undefined ? held.signal : AbortSignal.any([held.signal, signal]);
      return await work({ fencingToken, signal: ends });
    } finally {
      this.#held.delete(held);
      held.stop();
      // Also where it was lost by this process's own clock alone: the service may have been away, and know nothing of that.
      const released = this.#closed ? undefined : this.#release(name, fencingToken);
      if (!held.signal.aborted) await released;
    }
  }

  async #acquire(name: string, options: LockOptions): Promise<{ fencingToken: bigint; askedAt: number }> {
    const { bind = true, leaseMs = 30_000, waitMs = Number.POSITIVE_INFINITY, signal } = options;
    const untilMs = performance.now() + waitMs;
    for (;;) {
      const askedAt = performance.now();
      const turnMs = Math.max(0, Math.min(LONGEST_WAIT_MS, untilMs - askedAt));
      let last: AcquireLock | undefined;
      const request = (session: { sessionEpoch: bigint; requestId: string }): AcquireLock => {
        last = { ...this.#request(name, options), wait: toDuration(turnMs), ...session };
        return last;
      };
      try {
        const limits = { timeoutMs: turnMs + ANSWER_MS, ...(signal && { signal }) };
        const { lock } = await this.#calls.write(LockService.method.acquireLock, request, limits);
        if (signal?.aborted) throw cancelled('the caller gave up');
        const fencingToken = lock?.fencingToken ?? 0n;
        if (bind || performance.now() - askedAt < leaseMs / 3) return { fencingToken, askedAt };
        // It was waited for, and when the lease began is not known: it begins anew.
        const renewedAt = performance.now();
        const grant = { namespace: this.#namespace, name, fencingToken };
        await this.#calls.call(LockService.method.renewLock, grant, { timeoutMs: leaseMs / 3 });
        return { fencingToken, askedAt: renewedAt };
      } catch (error) {
        const refused = error instanceof AgentError && error.reason === 'LOCK_HELD';
        if (!refused && last !== undefined) this.#giveUp(name, last);
        const again = !signal?.aborted && untilMs > performance.now() && (refused || mayPass(error));
        if (!again) throw error;
      }
    }
  }

  #request(name: string, { bind = true, leaseMs = 30_000, lockDelayMs, value }: LockOptions): AcquireLock {
    return {
      namespace: this.#namespace,
      name,
      holder: this.#holder(),
      bindToSession: bind,
      ...(bind ? {} : { lease: toDuration(leaseMs) }),
      ...(lockDelayMs !== undefined && { lockDelay: toDuration(lockDelayMs) }),
      ...(value !== undefined && { value: payloadOf(value) }),
    };
  }

  /** It may have been granted without an answer: asks once more, and gives it back then. */
  #giveUp(name: string, request: AcquireLock): void {
    const limits = { timeoutMs: this.#calls.timeoutMs };
    this.#calls.call(LockService.method.acquireLock, request, limits).then(
      ({ lock }) => this.#release(name, lock?.fencingToken ?? 0n),
      () => {}, // refused: it is not held
    );
  }

  async #release(name: string, fencingToken: bigint): Promise<void> {
    const request = { namespace: this.#namespace, name, fencingToken };
    try {
      await this.#calls.call(LockService.method.releaseLock, request, { timeoutMs: RELEASE_MS });
    } catch (error) {
      // A repeat of a release that had its effect finds the lock gone.
      if (error instanceof AgentError && error.reason === 'LOCK_LOST') return;
      this.#log.warn({ err: error, lock: name }, 'a lock could not be given back');
    }
  }
}

/** The service could not be reached for all of a turn, or the lease passed before the lock was handed out. */
const mayPass = (error: unknown): boolean =>
  error instanceof AgentError &&
  (mayBeRepeated(error) || ['not_attached', 'LOCK_LOST'].includes(error.reason));
