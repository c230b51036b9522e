const KEPT = 8;

/** The pings of one session that stand unanswered, oldest first. The numbers are the pings' echoes. */
export class Probes {
  readonly #echoes: number[] = [];
  readonly #sentMs: number[] = [];
  #nextEcho = 1;
  #missed = 0;
  #sinceMs = 0;

  /** How many stand unanswered (at most the last eight are kept). */
  get outstanding(): number {
    return this.#echoes.length;
  }

  /** Pings that were never answered. */
  get missed(): number {
    return this.#missed;
  }

  /**
   * Since when the agent owes an answer, monotonic milliseconds: when the oldest ping after its last answer was sent,
   * even if that one is written off by now. Without meaning if none is outstanding.
   */
  get sinceMs(): number {
    return this.#sinceMs;
  }

  /** Notes a ping and returns its echo, never 0. */
  sent(nowMs: number): number {
    const echo = this.#nextEcho;
    this.#nextEcho = echo === Number.MAX_SAFE_INTEGER ? 1 : echo + 1;
    if (this.#echoes.length === 0) this.#sinceMs = nowMs;
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
      this.#sinceMs = this.#sentMs[0] ?? 0;
    }
    this.#missed += index;
    return sentMs;
  }
}
