/** How long work may go on before others have their turn of the event loop: pings wait no longer. */
const SLICE_MS = 8;

/**
 * Lets others have their turn in work whose waits are over within the same turn, as with stores that answer synchronously.
 * Everything that shares one shares a slice.
 */
export class Breather {
  readonly #monoMs: () => number;
  #sinceMs: number;

  constructor(monoMs: () => number = () => performance.now()) {
    this.#monoMs = monoMs;
    this.#sinceMs = monoMs();
  }

  /** Whether it is time to `breathe`. */
  get isDue(): boolean {
    return this.#monoMs() - this.#sinceMs >= SLICE_MS;
  }

  /** Resolves in a later turn. */
  async breathe(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.#sinceMs = this.#monoMs();
  }
}
