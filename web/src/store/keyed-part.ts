import { type ReadonlySignal, signal } from '@preact/signals';

/**
 * Things by id that come as a snapshot and then as changes. The map is changed in place, because it may hold 10,000; who
 * reads it subscribes to `version`. What a new snapshot does not mention is swept once that is complete: until then the page
 * shows what it had.
 */
export class KeyedPart<T> {
  readonly #items = new Map<string, T>();
  readonly #past: { is(item: T): boolean; most: number } | undefined;
  /** Ids of those that are past, oldest first. */
  readonly #pastIds = new Set<string>();
  readonly #version = signal(0);
  readonly #complete = signal(false);
  #mentioned: Set<string> | undefined;

  /** @param past things that are over: nobody says when they are gone, so only the last of them are kept */
  constructor(past?: { is(item: T): boolean; most: number }) {
    this.#past = past;
  }

  /** Moves with each batch of changes. */
  get version(): ReadonlySignal<number> {
    return this.#version;
  }

  /** Whether the whole snapshot has come at least once. */
  get complete(): ReadonlySignal<boolean> {
    return this.#complete;
  }

  get size(): number {
    return this.#items.size;
  }

  get(id: string): T | undefined {
    return this.#items.get(id);
  }

  values(): IterableIterator<T> {
    return this.#items.values();
  }

  /** All of them, with a subscription to what changes. */
  list(): T[] {
    this.#version.value;
    return [...this.#items.values()];
  }

  put(id: string, item: T): void {
    this.#items.set(id, item);
    this.#mentioned?.add(id);
    if (this.#past === undefined) return;
    if (!this.#past.is(item)) {
      this.#pastIds.delete(id);
      return;
    }
    this.#pastIds.add(id);
    const [oldest] = this.#pastIds;
    if (this.#pastIds.size > this.#past.most && oldest !== undefined) this.delete(oldest);
  }

  delete(id: string): void {
    this.#items.delete(id);
    this.#pastIds.delete(id);
  }

  changed(): void {
    this.#version.value += 1;
  }

  setComplete(complete: boolean): void {
    this.#complete.value = complete;
  }

  /** A new snapshot begins. */
  begin(): void {
    this.#mentioned = new Set();
  }

  /** It is complete. */
  sweep(): void {
    const mentioned = this.#mentioned;
    this.#mentioned = undefined;
    this.#complete.value = true;
    if (mentioned === undefined) return;
    for (const id of this.#items.keys()) if (!mentioned.has(id)) this.delete(id);
  }

  /** Takes a message of the stream. */
  take(items: readonly (T & { id: string })[], removed: readonly string[], synced: boolean): void {
    for (const item of items) this.put(item.id, item);
    for (const id of removed) this.delete(id);
    if (synced && (this.#mentioned !== undefined || !this.#complete.value)) this.sweep();
    this.changed();
  }

  clear(): void {
    this.#items.clear();
    this.#pastIds.clear();
    this.#mentioned = undefined;
    this.#complete.value = false;
    this.changed();
  }
}
