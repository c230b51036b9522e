const baseMs = 1_000;
const capMs = 15_000;
/** A session that lasted so long makes the next wait the first one again. */
const steadyMs = 10_000;

/** When an agent tries again: as the TypeScript SDK does by default. */
export class Backoff {
  #failures = 0;
  #attachedMs: number | undefined;

  attached(): void {
    this.#attachedMs = performance.now();
  }

  nextMs(): number {
    if (this.#attachedMs !== undefined && performance.now() - this.#attachedMs > steadyMs) this.#failures = 0;
    this.#attachedMs = undefined;
    const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(this.#failures, 30));
    this.#failures += 1;
    return ceiling * (0.5 + Math.random() / 2);
  }
}
