/** Corrections of the store's clock up to so much are waited out instead of going back. */
const WAIT_OUT_MS = 2000;

/**
 * The store's time as history counts it: it never goes back by itself. Where the store's clock is set back, another generation
 * begins: what is measured then is written beside what was measured at those times before.
 */
export class HistoryClock {
  readonly #storeMs: () => number;
  #last = 0;
  #generation = 0;

  constructor(options: { storeMs: () => number }) {
    this.#storeMs = options.storeMs;
  }

  get generation(): number {
    return this.#generation;
  }

  ms(): number {
    const now = this.#storeMs();
    if (now < this.#last - WAIT_OUT_MS) {
      this.#generation += 1;
      this.#last = now;
    } else if (now > this.#last) this.#last = now;
    return this.#last;
  }
}
