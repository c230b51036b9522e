/** Lets several wait for "something changed", each for a bounded time. */
export class News {
  readonly #waiters = new Set<() => void>();

  tell(): void {
    for (const wake of [...this.#waiters]) wake();
  }

  /** Resolves at the next news, or after `timeoutMs`. */
  async next(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.max(timeoutMs, 1));
      this.#waiters.add(wake);
    });
  }
}
