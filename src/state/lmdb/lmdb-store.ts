import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { checkCommit, checkKey, checkLimit } from '../limits.ts';
import type {
  ChangePage,
  Commit,
  CommitOutcome,
  Entry,
  Follower,
  LiveRecord,
  Position,
  SeriesEntry,
  SeriesRange,
  Store,
  StoreOperation,
  StoreStatus,
} from '../store.ts';
import { StoreOpenError, StoreUnavailableError } from '../store.ts';
import { applyCommit, sizeOf } from './apply.ts';
import { Availability } from './availability.ts';
import { Environment, type Tree } from './environment.ts';
import { Followers, type Snapshot } from './followers.ts';
import { GroupWriter } from './group-writer.ts';
import { entryKey, LIVE_RANGE, namesOfLiveKey, requestKey } from './keys.ts';
import { LiveTable } from './live-table.ts';
import { trimSeriesEntries } from './maintenance.ts';
import { headOf, Namespaces } from './namespaces.ts';
import type { LmdbStoreOptions } from './options.ts';
import { reasonOf } from './preflight.ts';
import { readChanges, readSeriesEntries, scanEntries, scanTold } from './reads.ts';
import { RecordWriter, readLive, readRequest, revisionOfEntry, valueOfEntry } from './records.ts';
import { Upkeep } from './upkeep.ts';

const DEFAULT_LOG_MAX_AGE_MS = 10 * 60_000;
const DEFAULT_LOG_MAX_BYTES = 64 << 20;
const DEFAULT_LIVE_FLUSH_MS = 5_000;

/** Opens, or makes, a logical database in process. Throws StoreOpenError. */
export async function openLmdbStore(options: LmdbStoreOptions): Promise<Store> {
  const environment = await Environment.open({ ...options, wallMs: options.clock.wallMs });
  try {
    return new LmdbStore(options, environment);
  } catch (error) {
    await environment.close().catch(() => {});
    throw new StoreOpenError(`cannot read the store in ${environment.path}: ${reasonOf(error)}`, {
      cause: error,
    });
  }
}

class LmdbStore implements Store {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #onOperation: ((operation: StoreOperation) => void) | undefined;
  readonly #environment: Environment;
  readonly #namespaces = new Namespaces();
  readonly #records = new RecordWriter();
  readonly #live = new LiveTable();
  readonly #followers: Followers;
  readonly #writer: GroupWriter;
  readonly #upkeep: Upkeep;
  readonly #availability: Availability;
  #closed: Promise<void> | undefined;

  constructor(options: LmdbStoreOptions, environment: Environment) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onOperation = options.onOperation;
    this.#environment = environment;
    this.#namespaces.load(environment.tree);
    for (const { key, value } of environment.tree.getRange(LIVE_RANGE)) {
      this.#live.load({ ...namesOfLiveKey(key), ...readLive(value) });
    }
    this.#followers = new Followers({ log: options.log });
    this.#availability = new Availability({
      environment,
      namespaces: this.#namespaces,
      followers: this.#followers,
      clock: options.clock,
      log: options.log,
    });
    this.#writer = new GroupWriter({
      tree: () => environment.tree,
      onStored: () => {
        this.#namespaces.publish();
        this.#records.shrink();
      },
      onSync: options.onSync,
      onFailure: (error) => this.#availability.failed(error),
    });
    this.#upkeep = new Upkeep({
      tree: () => environment.tree,
      writer: this.#writer,
      namespaces: this.#namespaces,
      live: this.#live,
      records: this.#records,
      bounds: {
        logMaxAgeMs: options.logMaxAgeMs ?? DEFAULT_LOG_MAX_AGE_MS,
        logMaxBytes: options.logMaxBytes ?? DEFAULT_LOG_MAX_BYTES,
      },
      liveFlushMs: options.liveFlushMs ?? DEFAULT_LIVE_FLUSH_MS,
      clock: options.clock,
      log: options.log,
      writable: () => this.#availability.trouble === undefined,
    });
  }

  async commit(commit: Commit): Promise<CommitOutcome> {
    const started = this.#clock.monoMs();
    try {
      checkCommit(commit);
      this.#refuseWhenClosing();
      if (commit.epoch !== undefined && commit.epoch !== this.#environment.epoch) {
        const message = 'the store has another epoch';
        throw new StoreUnavailableError({ message, outcome: 'not_applied', retryAfterMs: 0 });
      }
      const { outcome } = await this.#writer.run(
        sizeOf(commit),
        () =>
          applyCommit(
            {
              tree: this.#environment.tree,
              namespaces: this.#namespaces,
              writer: this.#records,
              epoch: this.#environment.epoch,
              nowMs: this.#clock.wallMs(),
            },
            commit,
          ),
        ({ batch }) => {
          if (batch) this.#followers.batch(batch);
        },
      );
      this.#upkeep.committed(commit.namespace);
      this.#observe('commit', started, outcome.kind);
      return outcome;
    } catch (error) {
      this.#observe('commit', started, error);
      throw error;
    }
  }

  async get(namespace: string, key: string): Promise<Entry | undefined> {
    return this.#read('get', (tree) => {
      const id = this.#namespaces.get(namespace)?.id;
      const bytes = id === undefined ? undefined : tree.get(entryKey(id, key));
      return bytes && { key, value: valueOfEntry(bytes), revision: revisionOfEntry(bytes) };
    });
  }

  async getRequest(namespace: string, id: string) {
    return this.#read('get', (tree) => {
      const state = this.#namespaces.get(namespace);
      const bytes = state && tree.get(requestKey(state.id, id));
      if (!bytes) return undefined;
      const { expiresMs, revision, fingerprint, response } = readRequest(bytes);
      return expiresMs > this.#clock.wallMs() ? { revision, fingerprint, response } : undefined;
    });
  }

  async scan(namespace: string, options: { prefix: string; after?: string; limit: number }) {
    checkLimit(options.limit, 10_000);
    return this.#read('scan', (tree) => this.#scan(tree, namespace, options));
  }

  async namespaces(): Promise<string[]> {
    return this.#read('get', () => this.#namespaces.names());
  }

  async position(namespace: string): Promise<Position> {
    checkKey('namespace', namespace);
    // Memory has what is stored and synced; a registration asks for it each time.
    return { epoch: this.#environment.epoch, revision: this.#namespaces.get(namespace)?.head ?? 0n };
  }

  async changes(namespace: string, after: Position, limit: number): Promise<ChangePage> {
    checkLimit(limit, 1_000);
    return this.#read('changes', (tree) => {
      const { epoch } = this.#environment;
      if (after.epoch !== epoch) return { kind: 'epoch', epoch };
      const id = this.#namespaces.get(namespace)?.id;
      if (id !== undefined) return readChanges(tree, { namespace, id, epoch }, after, limit);
      return after.revision > 0n ? { kind: 'epoch', epoch } : { kind: 'page', batches: [], complete: true };
    });
  }

  async readSeries(namespace: string, series: string, range: SeriesRange): Promise<SeriesEntry[]> {
    checkLimit(range.limit, 1_000);
    return this.#read('series', (tree) => {
      const id = this.#namespaces.get(namespace)?.id;
      return id === undefined ? [] : readSeriesEntries(tree, id, series, range);
    });
  }

  async trimSeries(namespace: string, series: string, beforeMs: number, limit: number): Promise<number> {
    this.#refuseWhenClosing();
    const started = this.#clock.monoMs();
    const id = this.#namespaces.get(namespace)?.id;
    if (id === undefined) return 0;
    const trimmed = await this.#writer.run(0, () =>
      trimSeriesEntries(this.#environment.tree, id, series, beforeMs, limit),
    );
    this.#observe('series', started, 'ok');
    return trimmed;
  }

  async follow(follower: Follower): Promise<() => void> {
    this.#refuseWhenClosing();
    return this.#followers.add(follower, this.#namespaces.names(), (namespace): Snapshot => {
      const id = this.#namespaces.get(namespace)?.id;
      return this.#read('scan', (tree) => ({
        entries: id === undefined ? [] : scanTold(tree, id),
        position: this.#position(tree, namespace),
      }));
    });
  }

  async putLive(records: readonly LiveRecord[]): Promise<void> {
    const started = this.#clock.monoMs();
    this.#refuseWhenClosing();
    for (const { namespace, key } of records) {
      checkKey('namespace', namespace);
      checkKey('key', key);
    }
    this.#followers.live(this.#live.put(records, this.#clock.wallMs()));
    this.#observe('live', started, 'ok');
  }

  async scanLive(namespace: string): Promise<LiveRecord[]> {
    return this.#read('live', () => this.#live.scan(namespace));
  }

  async now(): Promise<number> {
    return this.#clock.wallMs();
  }

  status(): StoreStatus {
    const { trouble, sinceMs } = this.#availability;
    return {
      kind: 'lmdb',
      available: trouble === undefined,
      detail: trouble ?? `embedded in ${this.#environment.path}`,
      durability: 'disk',
      epoch: this.#environment.epoch,
      sinceMs,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#availability.close();
    await this.#upkeep.stop();
    await this.#writer.idle();
    try {
      await this.#environment.close();
    } catch (error) {
      this.#log.warn({ reason: reasonOf(error) }, 'the store was not closed in order');
    }
  }

  #refuseWhenClosing(): void {
    if (!this.#closed) return;
    throw new StoreUnavailableError({
      message: 'the store is closed',
      outcome: 'not_applied',
      retryAfterMs: 1_000,
    });
  }

  /** `work` must not give way to the event loop: so it sees one snapshot. */
  #read<T>(name: string, work: (tree: Tree) => T): T {
    const started = this.#clock.monoMs();
    try {
      this.#refuseWhenClosing();
      const result = work(this.#environment.tree);
      this.#observe(name, started, 'ok');
      return result;
    } catch (cause) {
      this.#observe(name, started, cause);
      if (cause instanceof StoreUnavailableError || cause instanceof RangeError) throw cause;
      const message = `the store cannot be read: ${reasonOf(cause)}`;
      throw new StoreUnavailableError({ message, outcome: 'not_applied', retryAfterMs: 1_000, cause });
    }
  }

  #position(tree: Tree, namespace: string): Position {
    const id = this.#namespaces.get(namespace)?.id;
    return { epoch: this.#environment.epoch, revision: id === undefined ? 0n : headOf(tree, id) };
  }

  #scan(tree: Tree, namespace: string, options: { prefix: string; after?: string; limit: number }) {
    const id = this.#namespaces.get(namespace)?.id;
    const found = id === undefined ? { entries: [], more: false } : scanEntries(tree, id, options);
    return { ...found, position: this.#position(tree, namespace) };
  }

  #observe(name: string, started: number, outcome: unknown): void {
    this.#onOperation?.({
      name,
      elapsedMs: this.#clock.monoMs() - started,
      outcome: typeof outcome === 'string' ? outcome : outcome instanceof Error ? outcome.name : 'Error',
    });
  }
}
