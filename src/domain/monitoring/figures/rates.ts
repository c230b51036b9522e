const WINDOW = 10;

/** How often something happens, over the last ten seconds: of a count that only grows, read once a second. */
export class Rate {
  readonly #readings: { atMs: number; count: number }[] = [];

  /** @param nowMs monotonic */
  read(count: number, nowMs: number): void {
    this.#readings.push({ atMs: nowMs, count });
    if (this.#readings.length > WINDOW + 1) this.#readings.shift();
  }

  perSecond(): number {
    const first = this.#readings[0];
    const last = this.#readings.at(-1);
    if (first === undefined || last === undefined || last.atMs <= first.atMs) return 0;
    return ((last.count - first.count) * 1000) / (last.atMs - first.atMs);
  }
}
