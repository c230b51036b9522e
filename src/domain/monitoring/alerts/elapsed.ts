/**
 * How long something has lasted whose beginning is stored by the store's clock. What passes while this replica looks on is
 * counted by the monotonic clock, so that setting a clock makes nothing last longer or shorter.
 */
export class Elapsed {
  readonly #seen = new Map<string, { stampMs: number; beforeMs: number; monoMs: number }>();

  /** @param key what lasts @param stampMs when it began, by the store's clock */
  since(key: string, stampMs: number, now: { storeMs: number; monoMs: number }): number {
    let seen = this.#seen.get(key);
    if (seen === undefined || seen.stampMs !== stampMs) {
      seen = { stampMs, beforeMs: Math.max(0, now.storeMs - stampMs), monoMs: now.monoMs };
      this.#seen.set(key, seen);
    }
    return seen.beforeMs + (now.monoMs - seen.monoMs);
  }

  forget(key: string): void {
    this.#seen.delete(key);
  }

  clear(): void {
    this.#seen.clear();
  }
}
