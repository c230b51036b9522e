import type { Logger } from '../../lib/logger.ts';
import type { ChangeBatch, Entry, Follower, LiveRecord, Position } from '../store.ts';

interface Subscription {
  follower: Follower;
  /** Namespaces whose snapshot is still to come; it will hold what is committed until then. */
  pending: Set<string>;
  /** Where a snapshot is ahead of what was delivered: batches up to there are in it. */
  ahead: Map<string, bigint>;
}

export interface Snapshot {
  position: Position;
  entries: Entry[];
}

/** Hands commits and live records to the followers, each in order and without gaps. */
export class Followers {
  readonly #log: Logger;
  readonly #subscriptions = new Set<Subscription>();

  constructor(options: { log: Logger }) {
    this.#log = options.log;
  }

  /** Delivers a snapshot of each of the namespaces, one a turn of the event loop, and then what is new. */
  async add(
    follower: Follower,
    namespaces: readonly string[],
    read: (namespace: string) => Snapshot,
  ): Promise<() => void> {
    const subscription: Subscription = { follower, pending: new Set(namespaces), ahead: new Map() };
    this.#subscriptions.add(subscription);
    try {
      for (const namespace of namespaces) {
        const { position, entries } = read(namespace);
        subscription.pending.delete(namespace);
        subscription.ahead.set(namespace, position.revision);
        this.#call(() => follower.snapshot(namespace, position, entries));
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      this.#subscriptions.delete(subscription);
      throw error;
    }
    return () => this.#subscriptions.delete(subscription);
  }

  batch(batch: ChangeBatch): void {
    for (const { follower, pending, ahead } of this.#subscriptions) {
      if (pending.has(batch.namespace)) continue;
      const known = ahead.get(batch.namespace);
      if (known !== undefined) {
        if (batch.revision <= known) continue;
        ahead.delete(batch.namespace);
      }
      this.#call(() => follower.batch(batch));
    }
  }

  live(records: readonly LiveRecord[]): void {
    if (records.length === 0) return;
    for (const { follower } of this.#subscriptions) this.#call(() => follower.live(records));
  }

  /** A follower that throws harms neither the commit nor the others. */
  #call(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#log.error({ err: error }, 'a follower of the store failed');
    }
  }
}
