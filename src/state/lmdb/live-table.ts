import type { LiveRecord } from '../store.ts';

/** How long a removal is remembered, so that a late older write does not bring the record back. */
const TOMBSTONE_MS = 10 * 60_000;

interface Tombstone {
  record: LiveRecord;
  removedMs: number;
}

/** The soft records, in memory; what changed since it was last written to disk is marked. */
export class LiveTable {
  readonly #byNamespace = new Map<string, Map<string, LiveRecord>>();
  readonly #dirty = new Map<string, Set<string>>();
  #tombstones: Tombstone[] = [];

  /** Takes what was stored. */
  load(record: LiveRecord): void {
    this.#namespace(record.namespace).set(record.key, record);
  }

  /** Applies the records that are newer than what is there, and returns them. */
  put(records: readonly LiveRecord[], nowMs: number): LiveRecord[] {
    const applied: LiveRecord[] = [];
    for (const record of records) {
      const namespace = this.#namespace(record.namespace);
      const present = namespace.get(record.key);
      if (present && !isNewer(record, present)) continue;
      namespace.set(record.key, record);
      this.#mark(record);
      if (!record.value) this.#tombstones.push({ record, removedMs: nowMs });
      applied.push(record);
    }
    return applied;
  }

  scan(namespace: string): LiveRecord[] {
    return [...(this.#byNamespace.get(namespace)?.values() ?? [])].filter(({ value }) => value !== undefined);
  }

  get dirty(): boolean {
    return this.#dirty.size > 0;
  }

  /** Up to `limit` records that changed; they count as written from now on. */
  takeDirty(limit: number): LiveRecord[] {
    const taken: LiveRecord[] = [];
    for (const [namespace, keys] of this.#dirty) {
      for (const key of keys) {
        if (taken.length >= limit) return taken;
        keys.delete(key);
        const record = this.#byNamespace.get(namespace)?.get(key);
        if (record) taken.push(record);
      }
      this.#dirty.delete(namespace);
    }
    return taken;
  }

  /** They could not be written after all. */
  giveBack(records: readonly LiveRecord[]): void {
    for (const record of records) this.#mark(record);
  }

  /** Forgets old removals. */
  sweep(nowMs: number): void {
    const kept = this.#tombstones.findIndex(({ removedMs }) => removedMs > nowMs - TOMBSTONE_MS);
    const gone = this.#tombstones.splice(0, kept < 0 ? this.#tombstones.length : kept);
    for (const { record } of gone) {
      const namespace = this.#byNamespace.get(record.namespace);
      if (namespace?.get(record.key) !== record || this.#dirty.get(record.namespace)?.has(record.key))
        continue;
      namespace.delete(record.key);
      if (namespace.size === 0) this.#byNamespace.delete(record.namespace);
    }
  }

  #namespace(name: string): Map<string, LiveRecord> {
    const present = this.#byNamespace.get(name);
    if (present) return present;
    const added = new Map<string, LiveRecord>();
    this.#byNamespace.set(name, added);
    return added;
  }

  #mark({ namespace, key }: LiveRecord): void {
    const keys = this.#dirty.get(namespace);
    if (keys) keys.add(key);
    else this.#dirty.set(namespace, new Set([key]));
  }
}

const isNewer = (a: LiveRecord, b: LiveRecord): boolean =>
  a.epoch === b.epoch ? a.sequence > b.sequence : a.epoch > b.epoch;
