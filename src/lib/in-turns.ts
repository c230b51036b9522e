interface Task<T> {
  work(): Promise<T>;
  resolve(result: T): void;
  reject(error: unknown): void;
}

/** Together at most. */
const TOGETHER = 64;

/**
 * Starts work in the order in which it was asked for: what is asked for while some is under way is started together once all
 * of that has ended.
 */
export class InTurns<T> {
  #waiting: Task<T>[] = [];
  #running = false;

  /** Resolves or rejects as `work` does; a failure keeps nothing else from running. */
  run(work: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject });
      if (!this.#running) void this.#runAll();
    });
  }

  async #runAll(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) {
      const turn = this.#waiting.splice(0, TOGETHER);
      await Promise.all(turn.map(({ work, resolve, reject }) => work().then(resolve, reject)));
    }
    this.#running = false;
  }
}
