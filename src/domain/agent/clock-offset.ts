const FILTER = 8;

/**
 * The agent's clock minus ours, as NTP computes it (RFC 5905): half the sum of the two one-way differences, taken
 * from the round trip with the least delay among the last eight, because that one is distorted least.
 */
export class ClockOffset {
  readonly #offsets: number[] = [];
  readonly #delays: number[] = [];
  #next = 0;

  /**
   * @param sentWallMs our wall clock when the ping left
   * @param receivedWallMs our wall clock when the answer came
   * @param agentWallMs the agent's wall clock when it answered
   * @param heldMs how long the agent kept the ping, 0 if unknown
   */
  add(sentWallMs: number, receivedWallMs: number, agentWallMs: number, heldMs: number): void {
    const offset = (agentWallMs - heldMs - sentWallMs + (agentWallMs - receivedWallMs)) / 2;
    this.#offsets[this.#next] = offset;
    this.#delays[this.#next] = receivedWallMs - sentWallMs - heldMs;
    this.#next = (this.#next + 1) % FILTER;
  }

  /** Milliseconds; undefined before the first sample. */
  get valueMs(): number | undefined {
    let best: number | undefined;
    let least = Number.POSITIVE_INFINITY;
    this.#delays.forEach((delay, index) => {
      if (delay >= least) return;
      least = delay;
      best = this.#offsets[index];
    });
    return best;
  }
}
