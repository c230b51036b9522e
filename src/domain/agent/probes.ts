const KEPT = 8;

/** The pings of one session that stand unanswered, oldest first. The numbers are the pings' echoes. */
export class Probes {
  readonly #echoes: number[] = [];
  readonly #sentMs: number[] = [];
  #nextEcho = 1;
  #missed = 0;

  /** How many stand unanswered (at most the last eight are kept). */
  get outstanding(): number {
    return this.#echoes.length;
  }

  /** Pings that were never answered. */
  get missed(): number {
    return this.#missed;
  }

  /** When each outstanding one was sent, oldest first, monotonic milliseconds. */
  get sentMs(): readonly number[] {
    return this.#sentMs;
  }

  /** Notes a ping and returns its echo, never 0. */
  sent(nowMs: number): number {
    const echo = this.#nextEcho;
    this.#nextEcho = echo === Number.MAX_SAFE_INTEGER ? 1 : echo + 1;
    if (this.#echoes.length === KEPT) {
      this.#echoes.shift();
      this.#sentMs.shift();
      this.#missed += 1;
    }
    this.#echoes.push(echo);
    this.#sentMs.push(nowMs);
    return echo;
  }

  /** When the ping with this echo was sent, or undefined if none is outstanding; it and older ones are settled. */
  answered(echo: number): number | undefined {
    const index = this.#echoes.indexOf(echo);
    if (index < 0) return undefined;
    const sentMs = this.#sentMs[index];
    if (index === 0 && this.#echoes.length === 1) {
      this.#echoes.pop();
      this.#sentMs.pop();
    } else {
      this.#echoes.splice(0, index + 1);
      this.#sentMs.splice(0, index + 1);
    }
    this.#missed += index;
    return sentMs;
  }
}
