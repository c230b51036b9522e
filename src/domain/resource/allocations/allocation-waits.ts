import type { AllocationView } from './allocation-view.ts';

interface Waiter {
  wake(): void;
}

/** Callers of this replica that wait for something to become of an allocation. */
export class AllocationWaits {
  readonly #waiters = new Map<string, Set<Waiter>>();

  constructor(options: { view: AllocationView }) {
    options.view.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known !== undefined) this.#wake(`${known.namespace}/${known.id}`);
      },
      replaced: (namespace) => {
        for (const key of [...this.#waiters.keys()]) if (key.startsWith(`${namespace}/`)) this.#wake(key);
      },
    });
  }

  /** How many wait for it. */
  count(namespace: string, id: string): number {
    return this.#waiters.get(`${namespace}/${id}`)?.size ?? 0;
  }

  /**
   * Resolves at the next change of the allocation, after `ms`, or when the signal fires. Who looks at the view must do so in the
   * same turn, or a change in between goes unnoticed until then.
   */
  async change(namespace: string, id: string, ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return;
    const key = `${namespace}/${id}`;
    await new Promise<void>((resolve) => {
      const waiters = this.#waiters.get(key) ?? new Set<Waiter>();
      this.#waiters.set(key, waiters);
      const end = (): void => {
        waiters.delete(waiter);
        if (waiters.size === 0 && this.#waiters.get(key) === waiters) this.#waiters.delete(key);
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const waiter: Waiter = { wake: end };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end, { once: true });
      waiters.add(waiter);
    });
  }

  #wake(key: string): void {
    for (const waiter of [...(this.#waiters.get(key) ?? [])]) waiter.wake();
  }
}
