import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import { type SelfWatch, silenceMs } from '../observer.ts';

export interface SettlingOptions {
  clock: Clock;
  ids: Ids;
  self: SelfWatch;
  /** How long agents are given to come back and say what they hold. */
  graceMs: number;
}

/**
 * After a start, a failover or an outage of the store, agents are collected before anything is taken from them: nothing
 * destructive is done in a namespace until it has settled. Time in which this process stood still does not count.
 */
export class Settling {
  readonly #options: SettlingOptions;
  readonly #namespaces = new Map<string, { sinceMs: number; lastsMs: number }>();

  constructor(options: SettlingOptions) {
    this.#options = options;
  }

  /** As long as orphaned sessions are waited for, spread like them. */
  begin(namespace: string): void {
    const { clock, ids, graceMs } = this.#options;
    this.#namespaces.set(namespace, { sinceMs: clock.monoMs(), lastsMs: graceMs * (1 + 0.5 * ids.random()) });
  }

  end(namespace: string): void {
    this.#namespaces.delete(namespace);
  }

  /** How long it takes yet, milliseconds; 0: it has settled. */
  remainingMs(namespace: string): number {
    const settling = this.#namespaces.get(namespace);
    if (settling === undefined) return 0;
    const { clock, self } = this.#options;
    const left = settling.lastsMs - silenceMs(self, settling.sinceMs, clock.monoMs());
    if (left > 0) return left;
    this.#namespaces.delete(namespace);
    return 0;
  }
}
