import type { Clock } from '../lib/clock.ts';
import type { Store } from './store.ts';

/**
 * The store's clock without asking it each time: replicas' own clocks may differ from it, and from each other. Goes on by the
 * monotonic clock, so that setting this machine's clock changes nothing.
 */
export class StoreTime {
  readonly #store: Store;
  readonly #clock: Clock;
  /** What the store's clock is ahead of the monotonic one; before the store was asked, what our own wall clock is. */
  #aheadMs: number;

  constructor(options: { store: Store; clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#aheadMs = options.clock.wallMs() - options.clock.monoMs();
  }

  /** As far as is known without asking, milliseconds since the Unix epoch. */
  ms(): number {
    return Math.floor(this.#clock.monoMs() + this.#aheadMs);
  }

  /** Asks the store. @throws StoreUnavailableError */
  async exact(): Promise<number> {
    const storeMs = await this.#store.now();
    this.#aheadMs = storeMs - this.#clock.monoMs();
    return storeMs;
  }
}
