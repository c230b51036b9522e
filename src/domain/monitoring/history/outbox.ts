import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import { type Subject, subjectPrefix, type Tier } from './chunks.ts';

export interface OutboxOptions {
  store: Store;
  log: Logger;
  /** What may wait while the database is away, in bytes. */
  maxBytes?: number;
}

const MAX_BYTES = 64 << 20;
/** One commit's worth: others wait for the disk too. */
const COMMIT_PUTS = 128;
const COMMIT_BYTES = 512 << 10;
/** Commits of one round. */
const ROUND = 8;

interface Waiting {
  namespace: string;
  key: string;
  value: Uint8Array;
}

/**
 * Chunks that are to be stored. Each is written as a whole, so that a newer one takes the place of one that waits, and writing one
 * twice does no harm. While the database is away they wait, up to a bound: then the oldest are dropped, which is logged.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #waiting = new Map<string, Waiting>();
  /** Under way to the database. */
  #writing = new Map<string, Waiting>();
  #bytes = 0;
  #dropped = 0;
  #failing = false;

  constructor(options: OutboxOptions) {
    this.#options = options;
  }

  /** Chunks that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Chunks that were dropped because the database was away for too long. */
  get dropped(): number {
    return this.#dropped;
  }

  put(namespace: string, key: string, value: Uint8Array): void {
    const name = `${namespace} ${key}`;
    this.#remove(name);
    this.#waiting.set(name, { namespace, key, value });
    this.#bytes += value.length;
    const { maxBytes = MAX_BYTES, log } = this.#options;
    for (const oldest of this.#waiting.keys()) {
      if (this.#bytes <= maxBytes) return;
      this.#remove(oldest);
      this.#dropped += 1;
      if (this.#dropped % 1000 === 1) {
        log.warn({ dropped: this.#dropped }, 'history waits for its database for too long: some is dropped');
      }
    }
  }

  /** What waits of a subject, by key. */
  of(namespace: string, tier: Tier, subject: Subject): Map<string, Uint8Array> {
    const found = new Map<string, Uint8Array>();
    const prefix = subjectPrefix(tier, subject);
    for (const waiting of [this.#writing, this.#waiting]) {
      for (const { namespace: of, key, value } of waiting.values()) {
        if (of === namespace && key.startsWith(prefix)) found.set(key, value);
      }
    }
    return found;
  }

  /** Writes what waits, a bounded part of it. @throws StoreUnavailableError: it still waits */
  async flush(rounds = ROUND): Promise<void> {
    for (let round = 0; round < rounds && this.#waiting.size > 0; round += 1) {
      const batch = this.#next();
      this.#writing = new Map(batch.map((each) => [each.key, each]));
      try {
        await this.#options.store.commit({
          namespace: batch[0]?.namespace ?? '',
          puts: batch.map(({ key, value }) => ({ key, value })),
        });
      } catch (error) {
        for (const each of batch) this.#putBack(each);
        if (!this.#failing) {
          this.#options.log.warn({ err: error, waiting: this.size }, 'history cannot be stored; it waits');
        }
        this.#failing = true;
        throw error;
      } finally {
        this.#writing = new Map();
      }
      if (this.#failing) this.#options.log.info({ waiting: this.size }, 'history is stored again');
      this.#failing = false;
    }
  }

  async flushAll(): Promise<void> {
    while (this.#waiting.size > 0) await this.flush();
  }

  /** The oldest, and others of its namespace. */
  #next(): Waiting[] {
    const batch: Waiting[] = [];
    let bytes = 0;
    let namespace: string | undefined;
    for (const [name, waiting] of this.#waiting) {
      namespace ??= waiting.namespace;
      if (waiting.namespace !== namespace) continue;
      if (batch.length > 0 && bytes + waiting.value.length > COMMIT_BYTES) break;
      bytes += waiting.value.length;
      batch.push(waiting);
      this.#remove(name);
      if (batch.length >= COMMIT_PUTS) break;
    }
    return batch;
  }

  /** Unless there is a newer one meanwhile. */
  #putBack(waiting: Waiting): void {
    const name = `${waiting.namespace} ${waiting.key}`;
    if (this.#waiting.has(name)) return;
    this.put(waiting.namespace, waiting.key, waiting.value);
  }

  #remove(name: string): void {
    const waiting = this.#waiting.get(name);
    if (waiting === undefined) return;
    this.#bytes -= waiting.value.length;
    this.#waiting.delete(name);
  }
}
