/** Something that watchers are told of as it is now. */
export interface FeedEntry {
  readonly key: string;
  /** When it last changed, in the order of all changes. */
  seq: number;
  /** It is no more; kept until every watcher was told. */
  removed: boolean;
  /** As encoded since it last changed; undefined: not yet. */
  bytes: Uint8Array | undefined;
  /** When it was encoded; for those whose bytes age. */
  madeMs: number;
}

/**
 * What changed, by key, for any number of watchers at their own pace: each is told of every key that changed since it was
 * told of it last, once, as it is then. So a slow one costs no memory, and misses only what was overtaken.
 */
export class KeyedFeed {
  readonly #entries = new Map<string, FeedEntry>();
  readonly #cursors = new Set<FeedCursor>();
  #seq = 0;
  #removed = 0;

  get seq(): number {
    return this.#seq;
  }

  get size(): number {
    return this.#entries.size;
  }

  put(key: string): void {
    const entry = this.#entries.get(key);
    this.#seq += 1;
    if (entry === undefined) {
      this.#entries.set(key, { key, seq: this.#seq, removed: false, bytes: undefined, madeMs: 0 });
      return;
    }
    if (entry.removed) this.#removed -= 1;
    entry.seq = this.#seq;
    entry.removed = false;
    entry.bytes = undefined;
  }

  remove(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.removed) return;
    this.#seq += 1;
    entry.seq = this.#seq;
    entry.removed = true;
    entry.bytes = undefined;
    this.#removed += 1;
  }

  /** Nothing of what was told stays as it was: all that is there is told again, and the rest as removed. */
  replace(keys: Iterable<string>): void {
    const now = new Set(keys);
    for (const key of this.#entries.keys()) if (!now.has(key)) this.remove(key);
    for (const key of now) this.put(key);
  }

  /** A watcher that has been told nothing. */
  cursor(): FeedCursor {
    const cursor = new FeedCursor({ feed: this, closed: () => this.#cursors.delete(cursor) });
    this.#cursors.add(cursor);
    return cursor;
  }

  after(seq: number): FeedEntry[] {
    if (this.#removed > 0) this.#forget();
    const found: FeedEntry[] = [];
    for (const entry of this.#entries.values()) {
      // Who was told nothing needs not be told that something is gone.
      if (entry.seq > seq && !(entry.removed && seq === 0)) found.push(entry);
    }
    return found;
  }

  /** Lets go of what was removed and every watcher knows of. */
  #forget(): void {
    let least = this.#seq;
    for (const cursor of this.#cursors) least = Math.min(least, cursor.seen);
    for (const [key, entry] of this.#entries) {
      if (!entry.removed || entry.seq > least) continue;
      this.#entries.delete(key);
      this.#removed -= 1;
    }
  }
}

/** How far one watcher is. It goes through what changed pass by pass. */
export class FeedCursor {
  readonly #feed: KeyedFeed;
  readonly #closed: () => void;
  #pass: FeedEntry[] = [];
  #at = 0;
  #passSeq = 0;
  /** Everything up to here was told. */
  seen = 0;
  /** Whether the first pass is over. */
  synced = false;

  constructor(options: { feed: KeyedFeed; closed: () => void }) {
    this.#feed = options.feed;
    this.#closed = options.closed;
  }

  /** Whether there is something to tell. */
  get behind(): boolean {
    return this.inPass || !this.synced || this.#feed.seq > this.seen;
  }

  get inPass(): boolean {
    return this.#at < this.#pass.length;
  }

  /** The next entry of this pass, or of a new one; undefined: this pass is over. */
  next(): FeedEntry | undefined {
    if (!this.inPass) {
      if (this.synced && this.#feed.seq === this.seen) return undefined;
      this.#passSeq = this.#feed.seq;
      this.#pass = this.#feed.after(this.seen);
      this.#at = 0;
    }
    const entry = this.#pass[this.#at];
    this.#at += 1;
    if (!this.inPass) {
      this.seen = this.#passSeq;
      this.synced = true;
      this.#pass = [];
      this.#at = 0;
    }
    return entry;
  }

  close(): void {
    this.#pass = [];
    this.#closed();
  }
}
