import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import { readKey, type Subject, subjectPrefix, type Tier } from './chunks.ts';

export interface OutboxOptions {
  store: Store;
  log: Logger;
  /** The store's clock. */
  nowMs(): number;
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

/** Of a subject in a namespace. */
const subjectOf = ({ namespace, key }: Waiting): string => `${namespace} ${readKey(key)?.prefix ?? ''}`;

/**
 * Chunks that are to be stored. Each is written as a whole, so that a newer one takes the place of one that waits, and writing one
 * twice does no harm. While the database is away they wait, up to a bound: then the oldest are dropped, which is logged.
 */
export class Outbox {
  readonly #options: OutboxOptions;
  readonly #waiting = new Map<string, Waiting>();
  /** The same, by subject: a query asks for thousands. */
  readonly #subjects = new Map<string, Map<string, Waiting>>();
  /** Under way to the database; one commit's worth. */
  #writing: readonly Waiting[] = [];
  #bytes = 0;
  #dropped = 0;
  #failing = false;
  /** Since when the oldest that waits should have been stored; undefined: nothing is late. */
  #lateSinceMs: number | undefined;
  /** Namespaces of which something was stored late, and since when. */
  readonly #late = new Map<string, number>();

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

  /** The database was away, and what waited for it is not all stored yet. */
  get isLate(): boolean {
    return this.#lateSinceMs !== undefined;
  }

  /** Once all is stored after an outage: the namespaces concerned, and since when the database was away; until `settled`. */
  late(): [namespace: string, sinceMs: number][] {
    return this.isLate ? [] : [...this.#late];
  }

  settled(namespace: string): void {
    this.#late.delete(namespace);
  }

  put(namespace: string, key: string, value: Uint8Array): void {
    const name = `${namespace} ${key}`;
    this.#remove(name);
    const waiting = { namespace, key, value };
    this.#waiting.set(name, waiting);
    const subject = subjectOf(waiting);
    const chunks = this.#subjects.get(subject) ?? new Map<string, Waiting>();
    this.#subjects.set(subject, chunks.set(key, waiting));
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
    for (const { namespace: of, key, value } of this.#writing) {
      if (of === namespace && key.startsWith(prefix)) found.set(key, value);
    }
    for (const [key, { value }] of this.#subjects.get(`${namespace} ${prefix}`) ?? []) found.set(key, value);
    return found;
  }

  /** Writes what waits, a bounded part of it. @throws StoreUnavailableError: it still waits */
  async flush(rounds = ROUND): Promise<void> {
    for (let round = 0; round < rounds && this.#waiting.size > 0; round += 1) {
      const batch = this.#next();
      const namespace = batch[0]?.namespace ?? '';
      this.#writing = batch;
      try {
        await this.#options.store.commit({
          namespace,
          puts: batch.map(({ key, value }) => ({ key, value })),
        });
      } catch (error) {
        for (const each of batch) this.#putBack(each);
        if (!this.#failing) {
          this.#options.log.warn({ err: error, waiting: this.size }, 'history cannot be stored; it waits');
        }
        this.#failing = true;
        this.#lateSinceMs ??= this.#options.nowMs();
        throw error;
      } finally {
        this.#writing = [];
      }
      if (this.#lateSinceMs !== undefined) {
        this.#late.set(
          namespace,
          Math.min(this.#lateSinceMs, this.#late.get(namespace) ?? this.#lateSinceMs),
        );
        if (this.#waiting.size === 0) this.#lateSinceMs = undefined;
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
    const subject = subjectOf(waiting);
    const chunks = this.#subjects.get(subject);
    chunks?.delete(waiting.key);
    if (chunks?.size === 0) this.#subjects.delete(subject);
  }
}
