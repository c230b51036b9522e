const WINDOW = 128;
const P95 = 0.95;

/** A summary of round trips, in milliseconds. */
export interface RoundTripSummary {
  lastMs: number;
  smoothedMs: number;
  variationMs: number;
  p50Ms: number;
  p95Ms: number;
  p99Ms: number;
  samples: number;
}

/**
 * Round trips of one session: smoothed and variation as in RFC 6298 (alpha 1/8, beta 1/4), quantiles over the last
 * 128. Adding one is O(1) and allocates nothing; the quantiles are computed when someone reads them.
 */
export class RoundTrips {
  /** Grows to the window, so that a new session costs little. */
  #ring = new Float32Array(16);
  #count = 0;
  #next = 0;
  #last = 0;
  #smoothed = 0;
  #variation = 0;
  /** The 95th percentile as last reckoned; it stands until a sample above it comes or goes. */
  #p95 = 0;
  #p95Stands = false;

  get count(): number {
    return this.#count;
  }

  get smoothedMs(): number {
    return this.#smoothed;
  }

  get variationMs(): number {
    return this.#variation;
  }

  add(rttMs: number): void {
    if (this.#count === 0) {
      this.#smoothed = rttMs;
      this.#variation = rttMs / 2;
    } else {
      this.#variation += (Math.abs(this.#smoothed - rttMs) - this.#variation) / 4;
      this.#smoothed += (rttMs - this.#smoothed) / 8;
    }
    this.#last = rttMs;
    if (this.#count === this.#ring.length && this.#count < WINDOW) {
      const grown = new Float32Array(Math.min(WINDOW, this.#count * 2));
      grown.set(this.#ring);
      this.#next = this.#count;
      this.#ring = grown;
    }
    const full = this.#count === this.#ring.length;
    const gone = full ? (this.#ring[this.#next] ?? 0) : 0;
    const stored = Math.fround(rttMs);
    this.#ring[this.#next] = stored;
    this.#next = (this.#next + 1) % this.#ring.length;
    if (!full) this.#count += 1;
    // Its rank from the top is the same as long as the window is full, and moves one sample in twenty before.
    const moved = full ? gone >= this.#p95 : fromTop(this.#count) !== fromTop(this.#count - 1);
    if (moved || stored > this.#p95) this.#p95Stands = false;
  }

  /** The last `limit` samples, newest last. */
  recent(limit: number): number[] {
    const take = Math.min(limit, this.#count);
    const samples: number[] = [];
    for (let back = take; back > 0; back -= 1) {
      const index = (this.#next - back + this.#ring.length) % this.#ring.length;
      samples.push(this.#ring[index] ?? 0);
    }
    return samples;
  }

  /** Mean and standard deviation. */
  moments(): { mean: number; deviation: number } {
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < this.#count; i += 1) {
      const sample = this.#ring[i] ?? 0;
      sum += sample;
      squares += sample * sample;
    }
    const n = Math.max(1, this.#count);
    const mean = sum / n;
    return { mean, deviation: Math.sqrt(Math.max(0, squares / n - mean * mean)) };
  }

  /** The 95th percentile of the window; 0 before the first sample. Nearly always known already. */
  p95Ms(): number {
    if (this.#p95Stands) return this.#p95;
    this.#p95 = quantile(this.#ring.slice(0, this.#count).sort(), P95);
    this.#p95Stands = true;
    return this.#p95;
  }

  /** The median of the window; undefined before the first sample. */
  p50Ms(): number | undefined {
    return this.#count === 0 ? undefined : quantile(this.#ring.slice(0, this.#count).sort(), 0.5);
  }

  /** Undefined before the first sample. */
  summary(): RoundTripSummary | undefined {
    if (this.#count === 0) return undefined;
    const sorted = this.#ring.slice(0, this.#count).sort();
    return {
      lastMs: this.#last,
      smoothedMs: this.#smoothed,
      variationMs: this.#variation,
      p50Ms: quantile(sorted, 0.5),
      p95Ms: quantile(sorted, P95),
      p99Ms: quantile(sorted, 0.99),
      samples: this.#count,
    };
  }
}

/** How many samples of `count` the 95th percentile is from the largest. */
const fromTop = (count: number): number => count - Math.ceil(P95 * count);

/** The nearest-rank quantile of sorted samples. */
function quantile(sorted: Float32Array, q: number): number {
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0;
}
