/** How many may pass: a token bucket. */
export interface Rate {
  perSecond: number;
  burst: number;
}

interface Bucket {
  tokens: number;
  /** When `tokens` was right, monotonic milliseconds. */
  atMs: number;
}

/**
 * Token buckets by name, of which the least recently used are forgotten beyond `max`: a forgotten one is full again, as one is
 * that nobody has used for long.
 */
export class TokenBuckets {
  readonly #buckets = new Map<string, Bucket>();
  readonly #max: number;

  constructor(options: { max: number }) {
    this.#max = options.max;
  }

  /** Takes a token; returns 0, or after how many milliseconds there is one again. */
  take(name: string, rate: Rate, nowMs: number): number {
    const bucket = this.#at(name, rate, nowMs);
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return 0;
    }
    return Math.max(1, Math.ceil(((1 - bucket.tokens) / rate.perSecond) * 1000));
  }

  /** Somebody else took one: at another replica, where this one's state was not known. Goes below zero, within bounds. */
  taken(name: string, rate: Rate, nowMs: number): void {
    const bucket = this.#at(name, rate, nowMs);
    bucket.tokens = Math.max(-rate.burst, bucket.tokens - 1);
  }

  giveBack(name: string, rate: Rate): void {
    const bucket = this.#buckets.get(name);
    if (bucket !== undefined) bucket.tokens = Math.min(rate.burst, bucket.tokens + 1);
  }

  #at(name: string, rate: Rate, nowMs: number): Bucket {
    const found = this.#buckets.get(name);
    this.#buckets.delete(name);
    const bucket = found ?? { tokens: rate.burst, atMs: nowMs };
    const grown = ((nowMs - bucket.atMs) / 1000) * rate.perSecond;
    bucket.tokens = Math.min(rate.burst, bucket.tokens + Math.max(0, grown));
    bucket.atMs = nowMs;
    this.#buckets.set(name, bucket);
    const oldest = this.#buckets.size > this.#max ? this.#buckets.keys().next().value : undefined;
    if (oldest !== undefined) this.#buckets.delete(oldest);
    return bucket;
  }
}
