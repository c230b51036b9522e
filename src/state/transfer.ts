/**
 * The port for moving a whole logical database: out of one store, into another, or through a file. It stands beside
 * `store.ts` because neither side is a running store: reading must not claim or change what it reads, and writing goes
 * into a store that nobody can open until it is complete. `test/contract/transfer-*.ts` holds the adapters to it.
 */

/** One thing that a database holds. The change log is left out: cursors of the old store are refused by the new one. */
export type TransferRecord =
  | NamespaceRecord
  | { kind: 'entry'; namespace: string; key: string; revision: bigint; value: Uint8Array }
  | SeriesRecord
  | RememberedRequest
  | { kind: 'live'; namespace: string; key: string; epoch: bigint; sequence: number; value: Uint8Array };

/** A namespace that was committed to; comes before everything else of it. */
export interface NamespaceRecord {
  kind: 'namespace';
  namespace: string;
  /** Its last revision: what follows of it is of this one or of an earlier one. */
  revision: bigint;
  /** When that was committed, by the store's clock. */
  timeMs: number;
}

export interface SeriesRecord {
  kind: 'series';
  namespace: string;
  series: string;
  revision: bigint;
  index: number;
  timeMs: number;
  value: Uint8Array;
}

export interface RememberedRequest {
  kind: 'request';
  namespace: string;
  id: string;
  revision: bigint;
  /** Wall clock at which it is forgotten. */
  expiresMs: number;
  fingerprint: Uint8Array;
  response: Uint8Array;
}

/** Records are handed on in chunks of about this many bytes. */
export const CHUNK_BYTES = 1 << 20;
/** And at most this many records. */
export const CHUNK_RECORDS = 2_000;

/**
 * How far the revision of each namespace leaps when it is moved, as it does when Redis fails over: what the old store
 * gave out after the copy was made must not match what the new one gives out.
 */
export const REVISION_LEAP = 1_000_000n;

/** A logical database to read. Methods throw StoreUnavailableError, or an Error with one clear line. */
export interface TransferSource {
  /** "lmdb", "redis" or "file". */
  readonly kind: string;
  /** The same text for the same data, however it was named. */
  readonly identity: string;
  /** Whether a service seems to have it open. */
  readonly inUse: boolean;
  /** The highest store epoch that it was ever in. */
  readonly epoch: bigint;
  /** The namespaces that were committed to, as they were when it was opened. */
  readonly namespaces: readonly string[];
  /**
   * Everything, each record once, a chunk at a time. Of each namespace it is one consistent cut, also while others write:
   * all commits up to the revision of its NamespaceRecord and none after it. Live records are as current as can be had.
   */
  read(): AsyncIterable<readonly TransferRecord[]>;
  close(): Promise<void>;
}

export type TargetState =
  | 'empty'
  /** It holds data. */
  | 'filled'
  /** A transfer into it was begun and not completed; it cannot be opened as a store. */
  | 'unfinished';

/** A logical database to fill. Nobody else has it open from `openTarget` to `close`, or can open it while unfinished. */
export interface TransferTarget {
  readonly kind: string;
  /** As that of a source. */
  readonly identity: string;
  readonly state: TargetState;
  /** The highest store epoch that was ever used there; 0n if none. */
  readonly epoch: bigint;
  /** Removes everything and marks it as unfinished, with the epoch that it will have. */
  begin(epoch: bigint): Promise<void>;
  /** Stores records; namespaces with their revisions raised by REVISION_LEAP. Requests whose time is over are skipped. */
  write(records: readonly TransferRecord[]): Promise<void>;
  /** Reads back what was written. */
  read(): AsyncIterable<readonly TransferRecord[]>;
  /** Everything is there: removes the mark. */
  complete(): Promise<void>;
  /** Releases it, in whatever state it is. */
  close(): Promise<void>;
}
