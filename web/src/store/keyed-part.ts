import { type ReadonlySignal, signal } from '@preact/signals';

/**
 * Things by id that come as a snapshot and then as changes. The map is changed in place, because it may hold 10,000; who
 * reads it subscribes to `version`. What a new snapshot does not mention is swept once that is complete: until then the page
 * shows what it had.
 */
export class KeyedPart<T> {
  readonly #items = new Map<string, T>();
  readonly #version = signal(0);
  readonly #complete = signal(false);
  #mentioned: Set<string> | undefined;

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
  }

  delete(id: string): void {
    this.#items.delete(id);
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
    for (const id of this.#items.keys()) if (!mentioned.has(id)) this.#items.delete(id);
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
    this.#mentioned = undefined;
    this.#complete.value = false;
    this.changed();
  }
}
