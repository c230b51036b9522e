/**
 * Holds back what comes in the turn of the event loop in which the agent was attached first: whoever waits for that may give
 * handlers in it.
 */
export class FirstTurn<T> {
  readonly #take: (item: T) => void;
  #early: T[] | undefined;

  constructor(take: (item: T) => void) {
    this.#take = take;
  }

  /** The turn has begun; `afterTurn` calls back when it is over. */
  begin(afterTurn: (then: () => void) => void): void {
    const early: T[] = [];
    this.#early = early;
    afterTurn(() => {
      this.#early = undefined;
      for (const item of early) this.#take(item);
    });
  }

  take(item: T): void {
    if (this.#early === undefined) this.#take(item);
    else this.#early.push(item);
  }
}
