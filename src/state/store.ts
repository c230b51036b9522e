/**
 * The state port: what the domain asks of a database, shaped like etcd's. `lmdb/` and `redis/` implement it, and
 * `test/contract/` holds both to the same behaviour: a visible difference is a bug.
 *
 * Data lives in namespaces. Each namespace has its own revision counter and change log; a commit touches one
 * namespace. Keys are UTF-8 strings of at most 512 bytes, ordered by their bytes. Values are opaque bytes.
 *
 * Keys that begin with QUIET_PREFIX are stored, checked, read and scanned like all others, but the change log, followers
 * and their snapshots know nothing of them: for payloads, which would fill logs and views.
 */

/** Stands before keys of which followers are not told. */
export const QUIET_PREFIX = '~';

/** What an acknowledged commit survives. */
export type Durability =
  /** The death of the service. */
  | 'process'
  /** A power cut: it was synced to disk. */
  | 'disk'
  /** The loss of a machine: it is on at least one more. */
  | 'replicated';

/** A position in a namespace's change log. */
export interface Position {
  /** The store's epoch: another one means that revisions are not comparable. */
  epoch: bigint;
  /** The revision up to which everything was seen. */
  revision: bigint;
}

export interface Entry {
  key: string;
  value: Uint8Array;
  /** The revision of the commit that wrote it last. */
  revision: bigint;
}

/** A condition of a commit. */
export interface Check {
  key: string;
  /** The revision that the key must have; 0n: it must not exist. */
  revision: bigint;
}

/** An entry added to a series (an append-only list, such as the event outbox). */
export interface Append {
  series: string;
  value: Uint8Array;
}

/** Remembers the answer of a mutation, so that a repeat gets the same one. */
export interface RequestRecord {
  /** Principal, method and request id, joined by the caller. At most 512 bytes. */
  id: string;
  /** Hash of the request's body. */
  fingerprint: Uint8Array;
  /** What to answer again. */
  response: Uint8Array;
  /** How long to remember, milliseconds. */
  ttlMs: number;
}

/**
 * One atomic change of one namespace. A remembered request is looked up first, then come the checks, then the effects; a
 * failed check leaves no trace. The last put of a key wins, and a delete wins over a put. Every committed one takes the
 * next revision, also one without effects.
 */
export interface Commit {
  namespace: string;
  checks?: readonly Check[];
  puts?: readonly { key: string; value: Uint8Array }[];
  deletes?: readonly string[];
  appends?: readonly Append[];
  request?: RequestRecord;
  /**
   * The store epoch that something in it was derived from (a fencing number, say). In another one the commit is refused as
   * StoreUnavailableError `not_applied`: after a failover such a number may have been given out before.
   */
  epoch?: bigint;
}

export type CommitOutcome =
  /** It is stored at the durability level of the store, and will be seen by `follow`. */
  | { kind: 'committed'; epoch: bigint; revision: bigint }
  /** A check failed: `revision` is what the key has now, 0n when it does not exist. */
  | { kind: 'conflict'; key: string; revision: bigint }
  /** `request.id` was committed before: what was answered then. Nothing was changed. */
  | { kind: 'repeated'; revision: bigint; fingerprint: Uint8Array; response: Uint8Array };

export interface Change {
  key: string;
  /** Absent: deleted. */
  value?: Uint8Array;
}

/** What one commit changed. */
export interface ChangeBatch {
  namespace: string;
  epoch: bigint;
  revision: bigint;
  /** When it was committed, by the store's clock, milliseconds. */
  timeMs: number;
  changes: readonly Change[];
  /** Series entries written by the commit; `index` counts from 0 over all of the commit's appends. */
  appends: readonly (Append & { index: number })[];
}

export type ChangePage =
  | { kind: 'page'; batches: readonly ChangeBatch[] /** Nothing newer was there. */; complete: boolean }
  /** The position is older than the log (which is kept for ten minutes or 64 MiB): `oldest` is the first revision after
   * which it can be resumed. */
  | { kind: 'compacted'; oldest: bigint }
  /** The position is of another store epoch, or ahead of this store. */
  | { kind: 'epoch'; epoch: bigint };

/** One entry of a series. Its place is the revision of its commit and its index in it. */
export interface SeriesEntry {
  revision: bigint;
  index: number;
  timeMs: number;
  value: Uint8Array;
}

export interface SeriesRange {
  /** Only entries after this place (before it, if reverse). */
  after?: { revision: bigint; index: number };
  /** At most this many, 1 to 1,000. */
  limit: number;
  /** Newest first. */
  reverse?: boolean;
}

/** A soft record: last writer wins by (epoch, sequence), no revision, no log. */
export interface LiveRecord {
  namespace: string;
  key: string;
  /** The writer's fencing epoch (for an agent: its session epoch). */
  epoch: bigint;
  /** Counts the writer's writes within the epoch; below 2^53. */
  sequence: number;
  /** Absent: removes the record. */
  value?: Uint8Array;
}

/** What a follower hears. Calls are made in order and never concurrently. */
export interface Follower {
  /** One commit, in the order of its namespace, without gaps. */
  batch(batch: ChangeBatch): void;
  /** Everything known of a namespace is void (new epoch, or the log was outrun): here is its whole content. */
  snapshot(namespace: string, position: Position, entries: readonly Entry[]): void;
  /** Soft records that were written by any replica (also this one). */
  live(records: readonly LiveRecord[]): void;
}

export interface StoreStatus {
  /** "lmdb" or "redis". */
  kind: string;
  available: boolean;
  /** What is wrong, for operators; no secrets. */
  detail: string;
  durability: Durability;
  epoch: bigint;
  /** Wall clock of the last change of `available`. */
  sinceMs: number;
}

/** Told to an observer of the store after each operation; for metrics and spans. */
export interface StoreOperation {
  /** "commit", "get", "scan", "changes", "series" or "live". */
  name: string;
  /** Duration in milliseconds. */
  elapsedMs: number;
  /** For a commit: what became of it; an error's class name when it failed. */
  outcome: string;
}

/**
 * One logical database. Every method may throw StoreUnavailableError; `commit` may throw StoreFullError.
 * No other error is expected.
 */
export interface Store {
  /** Applies a commit. Resolves only when it is stored at the durability level; then every reader of this store
   * object sees it, and followers of this replica have been called for it (LMDB) or will be (Redis). */
  commit(commit: Commit): Promise<CommitOutcome>;
  get(namespace: string, key: string): Promise<Entry | undefined>;
  /**
   * The remembered answer of the mutation with this `RequestRecord.id`, if its ttl has not passed. It is stored at the
   * durability level, as if `commit` had answered.
   */
  getRequest(
    namespace: string,
    id: string,
  ): Promise<{ revision: bigint; fingerprint: Uint8Array; response: Uint8Array } | undefined>;
  /** Entries whose key starts with `prefix`, by key, after key `after`; limit 1 to 10,000. */
  scan(
    namespace: string,
    options: { prefix: string; after?: string; limit: number },
  ): Promise<{ entries: Entry[]; position: Position; more: boolean }>;
  /** Every namespace that was ever committed to. */
  namespaces(): Promise<string[]>;
  /** The namespace's present position; revision 0n if nothing was committed to it. */
  position(namespace: string): Promise<Position>;
  /** Commits after `after`, oldest first; limit 1 to 1,000 batches. */
  changes(namespace: string, after: Position, limit: number): Promise<ChangePage>;
  readSeries(namespace: string, series: string, range: SeriesRange): Promise<SeriesEntry[]>;
  /** Removes entries of a series older than `beforeMs` (store clock), at most `limit`; returns how many. */
  trimSeries(namespace: string, series: string, beforeMs: number, limit: number): Promise<number>;
  /** Follows every namespace: first a snapshot of each, then commits as they come, and live records. The promise
   * resolves once every snapshot was delivered; the returned function stops. */
  follow(follower: Follower): Promise<() => void>;
  /** Writes soft records, each only if its (epoch, sequence) is newer than what is there. */
  putLive(records: readonly LiveRecord[]): Promise<void>;
  /** All soft records of a namespace that were not removed. */
  scanLive(namespace: string): Promise<LiveRecord[]>;
  /** The store's clock, milliseconds since the Unix epoch: the same for all replicas. */
  now(): Promise<number>;
  status(): StoreStatus;
  /** Ends background work, waits for commits under way, releases files and connections. */
  close(): Promise<void>;
}

export interface StoreUnavailableOptions {
  message: string;
  /** Whether the write may have happened all the same. */
  outcome: 'not_applied' | 'unknown';
  retryAfterMs: number;
  cause?: unknown;
}

/** The store does not answer, or refuses to. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
  readonly outcome: 'not_applied' | 'unknown';
  readonly retryAfterMs: number;
  constructor(options: StoreUnavailableOptions) {
    super(options.message, { cause: options.cause });
    this.outcome = options.outcome;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Out of disk space or memory; nothing was stored. */
export class StoreFullError extends Error {
  override readonly name = 'StoreFullError';
}

/** The store cannot be opened as configured: one clear line for the operator. */
export class StoreOpenError extends Error {
  override readonly name = 'StoreOpenError';
}
