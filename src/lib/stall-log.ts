/** Bounds memory; older stalls are forgotten. At a stall a second it reaches back four minutes. */
const CAPACITY = 256;

/** When this process stood still, on the monotonic clock: a ring of intervals in order of time. */
export class StallLog {
  readonly #starts = new Float64Array(CAPACITY);
  readonly #ends = new Float64Array(CAPACITY);
  #written = 0;
  #lastEnd = Number.NEGATIVE_INFINITY;
  #totalMs = 0;

  /** All stalls since the start, milliseconds. */
  get totalMs(): number {
    return this.#totalMs;
  }

  /** The end of the latest stall; -Infinity without one. */
  get lastEndMs(): number {
    return this.#lastEnd;
  }

  add(startMs: number, endMs: number): void {
    const slot = this.#written % CAPACITY;
    this.#starts[slot] = startMs;
    this.#ends[slot] = endMs;
    this.#written += 1;
    this.#lastEnd = endMs;
    this.#totalMs += endMs - startMs;
  }

  /** How much of the time between two instants was stalled, milliseconds. */
  overlapMs(fromMs: number, toMs: number): number {
    // The common case on the hot path: nothing happened since.
    if (fromMs >= this.#lastEnd) return 0;
    let total = 0;
    const oldest = Math.max(0, this.#written - CAPACITY);
    for (let index = this.#written - 1; index >= oldest; index -= 1) {
      const slot = index % CAPACITY;
      const end = this.#ends[slot] ?? 0;
      if (end <= fromMs) break;
      total += Math.max(0, Math.min(end, toMs) - Math.max(this.#starts[slot] ?? 0, fromMs));
    }
    return total;
  }
}
