import { LockService } from '../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import type { AgentCalls } from './calls.ts';
import { AgentError, Code } from './errors.ts';
import { toMs } from './time.ts';

export interface HeldLockOptions {
  calls: AgentCalls;
  namespace: string;
  name: string;
  fencingToken: bigint;
  /** Bound to the session, and so to the agent's lease: gives the signal of it. */
  bound: (() => AbortSignal) | undefined;
  /** Of one that is not bound, milliseconds, and when it was asked for (performance.now). */
  leaseMs: number;
  grantedAt: number;
}

/**
 * A lock in somebody's hands: renews it, and says when it is lost, which is when its lease has passed without a renewal
 * that was acknowledged, counted from when that was asked for. After each reconnect the service is asked whether it is
 * still held.
 */
export class HeldLock {
  readonly #options: HeldLockOptions;
  readonly #lost = new AbortController();
  readonly #stop = new AbortController();
  readonly #forget: () => void;
  #untilMs: number;
  #expiry: NodeJS.Timeout | undefined;
  #renewal: NodeJS.Timeout | undefined;

  constructor(options: HeldLockOptions) {
    this.#options = options;
    this.#untilMs = options.grantedAt + options.leaseMs;
    this.#forget = options.calls.onAttached(() => {
      this.#follow();
      void this.#renew();
    });
    this.#follow();
    if (options.bound === undefined) {
      this.#expireLater();
      this.#renewLater(options.leaseMs / 3);
    }
  }

  /** Fires when it is lost, with an AgentError as its reason. */
  get signal(): AbortSignal {
    return this.#lost.signal;
  }

  /** Ends the renewals. */
  stop(): void {
    this.#stop.abort();
    clearTimeout(this.#expiry);
    clearTimeout(this.#renewal);
    this.#forget();
  }

  lose(why: string): void {
    if (this.#stop.signal.aborted || this.#lost.signal.aborted) return;
    const { name, fencingToken } = this.#options;
    const message = `lock ${name} with fencing token ${fencingToken} is lost: ${why}`;
    this.stop();
    this.#lost.abort(new AgentError({ code: Code.ABORTED, reason: 'lock_lost', message }));
  }

  /** The agent has a fresh lease with each session that it lost the one before. */
  #follow(): void {
    const { bound } = this.#options;
    if (bound === undefined) return;
    const lease = bound();
    const expired = (): void => this.lose('the agent counts as lost');
    if (lease.aborted) expired();
    lease.addEventListener('abort', expired, { once: true, signal: this.#stop.signal });
  }

  #expireLater(): void {
    clearTimeout(this.#expiry);
    const leftMs = this.#untilMs - performance.now();
    if (leftMs <= 0) this.lose('its lease has passed without a renewal that was acknowledged');
    else this.#expiry = setTimeout(() => this.#expireLater(), Math.ceil(leftMs));
  }

  #renewLater(inMs: number): void {
    this.#renewal = setTimeout(async () => {
      const renewed = await this.#renew();
      if (!this.#stop.signal.aborted) this.#renewLater(this.#options.leaseMs / (renewed ? 3 : 20));
    }, inMs);
  }

  async #renew(): Promise<boolean> {
    const { calls, namespace, name, fencingToken, leaseMs, bound } = this.#options;
    const askedAt = performance.now();
    try {
      const request = { namespace, name, fencingToken };
      // Each try is counted from its own beginning: a renewal that took long is worth less.
      const timeoutMs = bound === undefined ? leaseMs / 3 : calls.timeoutMs;
      const limits = { timeoutMs, signal: this.#stop.signal };
      const { leaseLeft } = await calls.call(LockService.method.renewLock, request, limits);
      const leftMs = Math.min(toMs(leaseLeft) ?? leaseMs, leaseMs);
      this.#untilMs = Math.max(this.#untilMs, askedAt + leftMs);
      if (bound === undefined && !this.#stop.signal.aborted) this.#expireLater();
      return true;
    } catch (error) {
      if (error instanceof AgentError && error.reason === 'LOCK_LOST') this.lose(error.message);
      // Anything else: the next renewal may do better, until the lease has passed.
      return false;
    }
  }
}
