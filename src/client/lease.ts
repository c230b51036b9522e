import { AgentError, Code } from './errors.ts';
import { SilenceTimer } from './time.ts';

/** Fires a signal when nothing was heard for a whole lease, across reconnects. Each attachment brings a fresh one. */
export class LeaseWatch {
  readonly #onExpired: () => void;
  #abort = new AbortController();
  #timer: SilenceTimer | undefined;

  constructor(options: { onExpired: () => void }) {
    this.#onExpired = options.onExpired;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  heard(): void {
    this.#timer?.heard();
  }

  /** The service told the lease: it runs from now. */
  renew(leaseMs: number): void {
    if (this.#abort.signal.aborted) this.#abort = new AbortController();
    this.stop();
    this.#timer = new SilenceTimer({ limitMs: leaseMs, onSilent: () => this.#expired() });
  }

  stop(): void {
    this.#timer?.stop();
    this.#timer = undefined;
  }

  #expired(): void {
    const message = 'nothing was heard from the service for a whole lease: the agent counts as lost';
    this.#abort.abort(new AgentError({ code: Code.UNAVAILABLE, reason: 'lease_expired', message }));
    this.#onExpired();
  }
}
