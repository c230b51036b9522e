import type { Clock } from '../lib/clock.ts';
import type { Store } from './store.ts';

/** The store's clock without asking it each time: replicas' own clocks may differ from it, and from each other. */
export class StoreTime {
  readonly #store: Store;
  readonly #clock: Clock;
  #offsetMs = 0;

  constructor(options: { store: Store; clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
  }

  /** As far as is known without asking, milliseconds since the Unix epoch. */
  ms(): number {
    return this.#clock.wallMs() + this.#offsetMs;
  }

  /** Asks the store. @throws StoreUnavailableError */
  async exact(): Promise<number> {
    const storeMs = await this.#store.now();
    this.#offsetMs = storeMs - this.#clock.wallMs();
    return storeMs;
  }
}
