/** So many a second, and what one second allows at once; it begins with one. Time is given by the caller, milliseconds. */
export class RateLimit {
  readonly #perSecond: number;
  readonly #most: number;
  #tokens = 1;
  #atMs: number;

  constructor(options: { perSecond: number; nowMs: number }) {
    this.#perSecond = options.perSecond;
    this.#most = Math.max(1, options.perSecond);
    this.#atMs = options.nowMs;
  }

  take(nowMs: number): boolean {
    const earned = (Math.max(0, nowMs - this.#atMs) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#most, this.#tokens + earned);
    this.#atMs = nowMs;
    // Sums of fractions may fall short of a whole one by a hair.
    if (this.#tokens < 1 - 1e-9) return false;
    this.#tokens -= 1;
    return true;
  }
}
