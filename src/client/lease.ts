import { AgentError, Code } from './errors.ts';
import { SilenceTimer } from './time.ts';

/**
 * Fires a signal when nothing was heard for a whole lease, across reconnects. Hearing from an open session again
 * brings a fresh signal; the old one stays fired.
 */
export class LeaseWatch {
  readonly #onExpired: () => void;
  #abort = new AbortController();
  #timer: SilenceTimer | undefined;
  #leaseMs = Number.POSITIVE_INFINITY;
  #heardAt = performance.now();

  constructor(options: { onExpired: () => void }) {
    this.#onExpired = options.onExpired;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /**
   * Something came. A process that was frozen hears what waited in its buffers before its timers fire, so the
   * silence is looked at here too.
   */
  heard(): void {
    if (performance.now() - this.#heardAt >= this.#leaseMs) this.expire();
    if (this.#abort.signal.aborted) this.renew(this.#leaseMs);
    this.#heardAt = performance.now();
    this.#timer?.heard();
  }

  /** The service told the lease: it runs from now. */
  renew(leaseMs: number): void {
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    this.stop();
    this.#leaseMs = leaseMs;
    this.#heardAt = performance.now();
    this.#timer = new SilenceTimer({ limitMs: leaseMs, onSilent: () => this.expire() });
  }

  /** The lease has passed, by the own clock or by what the service says. */
  expire(): void {
    if (this.#abort.signal.aborted) return;
    this.stop();
    const message = 'nothing was heard from the service for a whole lease: the agent counts as lost';
    this.#abort.abort(new AgentError({ code: Code.UNAVAILABLE, reason: 'lease_expired', message }));
    this.#onExpired();
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }
}
