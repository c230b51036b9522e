import { afterEach, beforeEach, expect } from 'vitest';
import type {
  ChangeBatch,
  CommitOutcome,
  Entry,
  Follower,
  LiveRecord,
  Position,
  Store,
} from '../../src/state/store.ts';

/** Options of both adapters that the suite shrinks. */
export interface ContractOpenOptions {
  logMaxAgeMs?: number;
  logMaxBytes?: number;
}

/** A store on data of its own, empty at first. */
export interface ContractStore {
  store: Store;
  /** Closes the store and opens one on the same data. */
  reopen: () => Promise<Store>;
  /** Closes the store and removes the data. */
  dispose: () => Promise<void>;
}

export interface StoreContract {
  /** Stands before every test's name. */
  name: string;
  open: (options: ContractOpenOptions) => Promise<ContractStore>;
}

/** Opens a fresh store for every test of the describe block and disposes of it afterwards. */
export function useStore(contract: StoreContract, options: ContractOpenOptions = {}) {
  let current: ContractStore | undefined;
  beforeEach(async () => {
    current = await contract.open(options);
  });
  afterEach(async () => {
    await current?.dispose();
    current = undefined;
  });
  const opened = (): ContractStore => {
    if (!current) throw new Error('no store: called outside a test');
    return current;
  };
  return {
    store: () => opened().store,
    reopen: async () => {
      const store = await opened().reopen();
      opened().store = store;
      return store;
    },
  };
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
export const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value);

/** The revision of a commit that must have succeeded. */
export function revisionOf(outcome: CommitOutcome): bigint {
  if (outcome.kind !== 'committed') throw new Error(`expected a committed outcome, got ${outcome.kind}`);
  return outcome.revision;
}

export async function put(store: Store, namespace: string, key: string, value: string): Promise<bigint> {
  return revisionOf(await store.commit({ namespace, puts: [{ key, value: bytes(value) }] }));
}

export async function origin(store: Store, namespace: string, revision = 0n): Promise<Position> {
  return { epoch: (await store.position(namespace)).epoch, revision };
}

/** Every batch after `after`, read in pages of `limit`. */
export async function allChanges(store: Store, namespace: string, after: Position, limit = 100) {
  const batches: ChangeBatch[] = [];
  for (let position = after; ; ) {
    const page = await store.changes(namespace, position, limit);
    if (page.kind !== 'page') throw new Error(`expected a page, got ${page.kind}`);
    batches.push(...page.batches);
    const last = page.batches.at(-1);
    if (page.complete || !last) return batches;
    position = { epoch: last.epoch, revision: last.revision };
  }
}

/** Repeats `attempt` until it gives something, at most for `withinMs`. For what a store does in the background. */
export async function eventually<T>(attempt: () => Promise<T | undefined>, withinMs = 10_000): Promise<T> {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const result = await attempt();
    if (result !== undefined) return result;
    if (performance.now() > deadline) throw new Error(`did not happen within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A follower that keeps a copy of the store from what it hears, and fails on a gap or a repetition. */
export class RecordingFollower implements Follower {
  readonly content = new Map<string, Map<string, string>>();
  readonly revisions = new Map<string, bigint>();
  readonly batches: ChangeBatch[] = [];
  readonly snapshots: string[] = [];
  readonly liveRecords: LiveRecord[] = [];
  readonly faults: string[] = [];
  readonly #waiters = new Set<() => void>();

  batch(batch: ChangeBatch): void {
    const before = this.revisions.get(batch.namespace) ?? 0n;
    if (batch.revision !== before + 1n) {
      this.faults.push(`${batch.namespace}: revision ${batch.revision} came after ${before}`);
    }
    this.revisions.set(batch.namespace, batch.revision);
    const entries = this.content.get(batch.namespace) ?? new Map<string, string>();
    this.content.set(batch.namespace, entries);
    for (const { key, value } of batch.changes) {
      if (value) entries.set(key, text(value) ?? '');
      else entries.delete(key);
    }
    this.batches.push(batch);
    this.#wake();
  }

  snapshot(namespace: string, position: Position, entries: readonly Entry[]): void {
    this.snapshots.push(namespace);
    this.revisions.set(namespace, position.revision);
    this.content.set(namespace, new Map(entries.map(({ key, value }) => [key, text(value) ?? ''])));
    this.#wake();
  }

  live(records: readonly LiveRecord[]): void {
    this.liveRecords.push(...records);
    this.#wake();
  }

  /** Resolves when `condition` holds, which is looked at after each call of the store. */
  async until(condition: () => boolean, withinMs = 10_000): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        this.#waiters.delete(look);
        clearTimeout(timer);
      };
      const look = (): void => {
        if (!condition()) return;
        done();
        resolve();
      };
      const timer = setTimeout(() => {
        done();
        reject(new Error(`the follower did not hear of it within ${withinMs} ms`));
      }, withinMs);
      this.#waiters.add(look);
    });
  }

  #wake(): void {
    for (const look of [...this.#waiters]) look();
  }
}

/** Asserts that what a follower made of its calls is what the store holds. */
export async function expectSameContent(
  store: Store,
  namespace: string,
  follower: RecordingFollower,
): Promise<void> {
  const { entries, position } = await store.scan(namespace, { prefix: '', limit: 10_000 });
  expect(follower.faults).toEqual([]);
  expect(follower.revisions.get(namespace)).toBe(position.revision);
  expect(Object.fromEntries(follower.content.get(namespace) ?? [])).toEqual(
    Object.fromEntries(entries.map(({ key, value }) => [key, text(value)])),
  );
}
