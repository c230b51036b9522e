import type { Append, Check, Commit, CommitOutcome, Store } from './store.ts';

/** What one party wants stored, and on which conditions. It is not remembered as a request. */
export type Part = Omit<Commit, 'namespace' | 'request'>;

type Stored = Extract<CommitOutcome, { kind: 'committed' | 'conflict' }>;

interface Waiting {
  part: Part;
  resolve(outcome: Stored): void;
  reject(error: unknown): void;
}

interface Batch {
  parts: Waiting[];
  /** Keys that one of them puts or deletes, and keys that one of them checks. */
  written: Set<string>;
  checked: Set<string>;
  epoch: bigint | undefined;
  puts: number;
  bytes: number;
  /** The end of the batch of the same turn that it comes after. */
  after: Promise<void> | undefined;
}

const MAX_PARTS = 256;
const MAX_BYTES = 256 << 10;

/**
 * Many small changes at a high rate: what is asked for in one turn of the event loop goes into one commit, which costs the
 * store little more than each of them alone. Parts of one turn are stored in their order: what does not go into one commit
 * (it is full, or they concern the same keys) waits until that is over. Where a condition fails, the parts that made it hear
 * so, and the others are stored without them: no part fails because of another one.
 */
export class MergedCommits {
  readonly #store: Store;
  readonly #batches = new Map<string, Batch>();

  constructor(options: { store: Store }) {
    this.#store = options.store;
  }

  /**
   * @param make makes the part; it is told how many puts come before its own in the commit, which keeps an order among them
   * @throws StoreUnavailableError, StoreFullError
   */
  commit(namespace: string, make: (putsBefore: number) => Part): Promise<Stored> {
    const open = this.#batches.get(namespace);
    let part = make(open?.puts ?? 0);
    let batch = open;
    if (batch !== undefined && !fits(batch, part)) {
      batch = this.#begin(namespace, this.#flush(namespace, batch));
      part = make(0);
    }
    batch ??= this.#begin(namespace, undefined);
    take(batch, part);
    const { parts } = batch;
    return new Promise((resolve, reject) => {
      parts.push({ part, resolve, reject });
    });
  }

  #begin(namespace: string, after: Promise<void> | undefined): Batch {
    const batch: Batch = {
      parts: [],
      written: new Set(),
      checked: new Set(),
      epoch: undefined,
      puts: 0,
      bytes: 0,
      after,
    };
    this.#batches.set(namespace, batch);
    setImmediate(() => void this.#flush(namespace, batch));
    return batch;
  }

  /** Resolves when all of it is settled; never rejects. */
  async #flush(namespace: string, batch: Batch): Promise<void> {
    if (this.#batches.get(namespace) === batch) this.#batches.delete(namespace);
    const parts = batch.parts.splice(0);
    if (batch.after !== undefined) await batch.after;
    await this.#storeAll(namespace, parts);
  }

  async #storeAll(namespace: string, parts: readonly Waiting[]): Promise<void> {
    let left = parts;
    try {
      while (left.length > 0) {
        const outcome = await this.#store.commit(merged(namespace, left));
        if (outcome.kind === 'repeated') throw new Error('a commit without a request was repeated');
        const over = outcome.kind === 'committed' ? left : left.filter(({ part }) => fails(part, outcome));
        if (over.length === 0) throw new Error('a condition failed that nobody had made');
        for (const { resolve } of over) resolve(outcome);
        left = left.filter((each) => !over.includes(each));
      }
    } catch (error) {
      for (const { reject } of left) reject(error);
    }
  }
}

/** Whether a part has a condition that does not hold, by what the store said of one key. */
const fails = ({ checks }: Part, { key, revision }: { key: string; revision: bigint }): boolean =>
  checks?.some((check) => check.key === key && check.revision !== revision) === true;

const keysWritten = ({ puts, deletes }: Part): string[] => [
  ...(puts ?? []).map(({ key }) => key),
  ...(deletes ?? []),
];

function fits(batch: Batch, part: Part): boolean {
  if (batch.parts.length >= MAX_PARTS || batch.bytes >= MAX_BYTES) return false;
  if (part.epoch !== undefined && batch.epoch !== undefined && part.epoch !== batch.epoch) return false;
  if (part.checks?.some(({ key }) => batch.written.has(key)) === true) return false;
  return !keysWritten(part).some((key) => batch.written.has(key) || batch.checked.has(key));
}

function take(batch: Batch, part: Part): void {
  for (const key of keysWritten(part)) batch.written.add(key);
  for (const { key } of part.checks ?? []) batch.checked.add(key);
  for (const { value } of part.puts ?? []) batch.bytes += value.length;
  batch.puts += part.puts?.length ?? 0;
  batch.epoch ??= part.epoch;
}

function merged(namespace: string, parts: readonly Waiting[]): Commit {
  const [only] = parts;
  if (parts.length === 1 && only !== undefined) return { namespace, ...only.part };
  const checks = new Map<string, Check>();
  const appends: Append[] = [];
  const puts: NonNullable<Part['puts']>[number][] = [];
  const deletes: string[] = [];
  let epoch: bigint | undefined;
  const double: Check[] = [];
  for (const { part } of parts) {
    for (const check of part.checks ?? []) {
      const same = checks.get(check.key);
      if (same === undefined) checks.set(check.key, check);
      // Two parts that expect different revisions of a key: one of them is wrong, and all are tried by themselves.
      else if (same.revision !== check.revision) double.push(check);
    }
    puts.push(...(part.puts ?? []));
    deletes.push(...(part.deletes ?? []));
    appends.push(...(part.appends ?? []));
    epoch ??= part.epoch;
  }
  const all = [...checks.values(), ...double];
  return { namespace, checks: all, puts, deletes, appends, ...(epoch === undefined ? {} : { epoch }) };
}
