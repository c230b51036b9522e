interface Held<H> {
  hub: H;
  /** To be told when it has news. */
  wakers: Set<() => void>;
}

export interface HubsOptions<H> {
  /** `wake` tells all that watch it. */
  open(namespace: string, wake: () => void): H;
  close?(hub: H): void;
}

/** What is made of a namespace for all that watch it, as long as somebody does. */
export class Hubs<H> {
  readonly #options: HubsOptions<H>;
  readonly #held = new Map<string, Held<H>>();

  constructor(options: HubsOptions<H>) {
    this.#options = options;
  }

  namespaces(): string[] {
    return [...this.#held.keys()];
  }

  /** Only if somebody watches it. */
  get(namespace: string): H | undefined {
    return this.#held.get(namespace)?.hub;
  }

  wake(namespace: string): void {
    for (const wake of this.#held.get(namespace)?.wakers ?? []) wake();
  }

  /** One more that watches; call `closed` once it does not. */
  join(namespace: string, wake: () => void): { hub: H; closed: () => void } {
    let held = this.#held.get(namespace);
    if (held === undefined) {
      held = { hub: this.#options.open(namespace, () => this.wake(namespace)), wakers: new Set() };
      this.#held.set(namespace, held);
    }
    const { hub, wakers } = held;
    // One caller may watch it twice.
    const own = (): void => wake();
    wakers.add(own);
    const closed = (): void => {
      if (!wakers.delete(own) || wakers.size > 0) return;
      this.#held.delete(namespace);
      this.#options.close?.(hub);
    };
    return { hub, closed };
  }
}
