/** Things to release, closed in reverse order of their opening; every one is tried, errors are collected. */
export class CloseStack {
  #entries: { name: string; close: () => Promise<void> | void }[] = [];

  push(name: string, close: () => Promise<void> | void): void {
    this.#entries.push({ name, close });
  }

  /** Closes everything; calls `onError` for each failure and goes on. A second call does nothing. */
  async close(onError: (name: string, error: unknown) => void): Promise<void> {
    const entries = this.#entries.splice(0).reverse();
    for (const { name, close } of entries) {
      try {
        await close();
      } catch (error) {
        onError(name, error);
      }
    }
  }
}
