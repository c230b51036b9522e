import type { Tree } from './environment.ts';
import { logEnd, logKey, NAMESPACE_RANGE, namespaceOfKey, revisionOfLogKey } from './keys.ts';
import { readBatchHead } from './records.ts';

/** A namespace's number and the extent of its log. Replaced as a whole, never changed. */
export interface NamespaceState {
  readonly id: number;
  /** The revision of the last commit. */
  readonly head: bigint;
  /** `totalBytes` of the last batch. */
  readonly headBytes: number;
  /** The oldest batch in the log. */
  readonly oldest: bigint;
  readonly oldestTimeMs: number;
  /** `totalBytes` before the oldest batch: the log has `headBytes - bytesBefore` bytes. */
  readonly bytesBefore: number;
}

/** What the writer knows of each namespace: what is stored, and what the transaction under way made of it. */
export class Namespaces {
  #stored = new Map<string, NamespaceState>();
  readonly #working = new Map<string, NamespaceState>();
  #nextId = 1;

  /** Reads everything anew. */
  load(tree: Tree): void {
    const stored = new Map<string, NamespaceState>();
    this.#working.clear();
    for (const { key, value } of tree.getRange(NAMESPACE_RANGE)) {
      const id = value.readUInt32BE(0);
      this.#nextId = Math.max(this.#nextId, id + 1);
      const state = readState(tree, id);
      if (state) stored.set(namespaceOfKey(key), state);
    }
    this.#stored = stored;
  }

  names(): string[] {
    return [...this.#stored.keys()];
  }

  get(namespace: string): NamespaceState | undefined {
    return this.#stored.get(namespace);
  }

  entries(): Iterable<[string, NamespaceState]> {
    return this.#stored.entries();
  }

  /** As the transaction under way sees it. */
  working(namespace: string): NamespaceState | undefined {
    return this.#working.get(namespace) ?? this.#stored.get(namespace);
  }

  set(namespace: string, state: NamespaceState): void {
    this.#working.set(namespace, state);
  }

  /** A number that no namespace has. */
  newId(): number {
    return this.#nextId++;
  }

  /** The transaction is stored. */
  publish(): void {
    for (const [namespace, state] of this.#working) this.#stored.set(namespace, state);
    this.#working.clear();
  }

  /** The transaction failed. */
  discard(): void {
    this.#working.clear();
  }
}

/** The last revision of a namespace in the snapshot that the tree reads now. */
export function headOf(tree: Tree, id: number): bigint {
  for (const key of tree.getKeys({ start: logEnd(id), end: logKey(id, 0n), reverse: true, limit: 1 })) {
    return revisionOfLogKey(key);
  }
  return 0n;
}

/** The oldest revision in the log; 0n if there is none. */
export function oldestOf(tree: Tree, id: number): bigint {
  for (const key of tree.getKeys({ start: logKey(id, 0n), end: logEnd(id), limit: 1 }))
    return revisionOfLogKey(key);
  return 0n;
}

/** The log's extent once `oldest` is its oldest batch. */
export function withOldest(tree: Tree, state: NamespaceState, oldest: bigint): NamespaceState {
  const bytes = tree.get(logKey(state.id, oldest));
  if (!bytes) throw new Error(`the log has no batch ${oldest}`);
  const { timeMs, totalBytes } = readBatchHead(bytes);
  return { ...state, oldest, oldestTimeMs: timeMs, bytesBefore: totalBytes - bytes.length };
}

function readState(tree: Tree, id: number): NamespaceState | undefined {
  const head = headOf(tree, id);
  const last = head === 0n ? undefined : tree.get(logKey(id, head));
  if (!last) return undefined;
  const headBytes = readBatchHead(last).totalBytes;
  const state = { id, head, headBytes, oldest: head, oldestTimeMs: 0, bytesBefore: 0 };
  return withOldest(tree, state, oldestOf(tree, id));
}
