/**
 * Whose turn it is among owners that compete: each has a clock of its own that a start moves on by its cost over the owner's
 * weight, and the one whose clock is the furthest behind comes next (start-time fair queueing, Goyal et al. 1996). Who had
 * nothing waiting gets no credit for it.
 */
export class FairShare {
  readonly #clocks = new Map<string, number>();
  /** Of whoever was served last: a newcomer begins there. */
  #now = 0;

  /** What an owner's clock says. */
  clock(owner: string): number {
    return Math.max(this.#clocks.get(owner) ?? 0, this.#now - MAX_CREDIT);
  }

  /** An owner that had nothing waiting competes from now on. */
  enter(owner: string): void {
    this.#clocks.set(owner, Math.max(this.#clocks.get(owner) ?? 0, this.#now));
  }

  /** An owner got something. @param cost in units of an ordinary start */
  charge(owner: string, cost: number, weight: number): void {
    const clock = this.clock(owner);
    this.#now = Math.max(this.#now, clock);
    this.#clocks.set(owner, clock + cost / weight);
    if (this.#clocks.size > MAX_OWNERS) this.#forget();
  }

  /** It did not come to it. */
  refund(owner: string, cost: number, weight: number): void {
    this.#clocks.set(owner, this.clock(owner) - cost / weight);
  }

  #forget(): void {
    for (const [owner, clock] of this.#clocks) if (clock <= this.#now) this.#clocks.delete(owner);
    // Of others those known for longest: each may come a turn too early.
    for (const owner of this.#clocks.keys()) {
      if (this.#clocks.size <= MAX_OWNERS / 2) return;
      this.#clocks.delete(owner);
    }
  }
}

/** Nobody is so far behind that he would have everything to himself for long. */
const MAX_CREDIT = 1000;
const MAX_OWNERS = 10_000;
