/** Bounds memory; older stalls are forgotten. At a stall a second it reaches back four minutes. */
const CAPACITY = 256;

/** When something (this process, by default) stood still, on the monotonic clock: a ring of intervals in order of time. */
export class StallLog {
  readonly #capacity: number;
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  #written = 0;
  #lastEnd = Number.NEGATIVE_INFINITY;
  #totalMs = 0;

  /** @param capacity how many intervals are remembered */
  constructor(capacity = CAPACITY) {
    this.#capacity = capacity;
    this.#starts = new Float64Array(capacity);
    this.#ends = new Float64Array(capacity);
  }

  /** All stalls since the start, milliseconds. */
  get totalMs(): number {
    return this.#totalMs;
  }

  /** The end of the latest stall; -Infinity without one. */
  get lastEndMs(): number {
    return this.#lastEnd;
  }

  add(startMs: number, endMs: number): void {
    const slot = this.#written % this.#capacity;
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
    const oldest = Math.max(0, this.#written - this.#capacity);
    for (let index = this.#written - 1; index >= oldest; index -= 1) {
      const slot = index % this.#capacity;
      const end = this.#ends[slot] ?? 0;
      if (end <= fromMs) break;
      total += Math.max(0, Math.min(end, toMs) - Math.max(this.#starts[slot] ?? 0, fromMs));
    }
    return total;
  }
}
