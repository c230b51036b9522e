import { Background } from '../../lib/background.ts';
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
import { applyCommit } from './apply.ts';
import { Environment, type Tree } from './environment.ts';
import { Followers, type Snapshot } from './followers.ts';
import { GroupWriter } from './group-writer.ts';
import { entryKey, LIVE_RANGE, namesOfLiveKey, requestKey, seriesEnd, seriesStart } from './keys.ts';
import { LiveTable } from './live-table.ts';
import {
  forgetRequests,
  hasExpired,
  isOver,
  type LogBounds,
  trimLogs,
  writeLiveRecords,
} from './maintenance.ts';
import { headOf, Namespaces } from './namespaces.ts';
import { reasonOf } from './preflight.ts';
import { readChanges, readSeriesEntries, scanEntries } from './reads.ts';
import {
  RecordWriter,
  readLive,
  readRequest,
  revisionOfEntry,
  timeOfSeriesEntry,
  valueOfEntry,
} from './records.ts';
import { errorsOf, explain, recover } from './recovery.ts';

const DEFAULT_LOG_MAX_AGE_MS = 10 * 60_000;
const DEFAULT_LOG_MAX_BYTES = 64 << 20;
const DEFAULT_LIVE_FLUSH_MS = 5_000;
const MAINTENANCE_MS = 1_000;
const LIVE_STEP = 2_000;
const SNAPSHOT_ENTRIES = 1_000_000_000;

export interface LmdbStoreOptions {
  /** Where the databases lie; made if missing. */
  directory: string;
  /** The logical database: a directory in it. */
  database: string;
  clock: Clock;
  log: Logger;
  /** Told after each operation, for metrics. */
  onOperation?: (operation: StoreOperation) => void;
  /** Awaited after the sync of every group of commits, before any is acknowledged or seen by a follower. For tests. */
  onSync?: () => Promise<void>;
  /** How old the change log of a namespace may become; default ten minutes. */
  logMaxAgeMs?: number;
  /** How large it may become, in bytes; default 64 MiB. */
  logMaxBytes?: number;
  /** How often live records are written to disk; default 5 s. */
  liveFlushMs?: number;
  /** Address space set aside for the file; it may outgrow it. Default 16 GiB. */
  mapSizeBytes?: number;
}

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
  readonly #bounds: LogBounds;
  readonly #liveFlushMs: number;
  readonly #environment: Environment;
  readonly #namespaces = new Namespaces();
  readonly #records = new RecordWriter();
  readonly #live = new LiveTable();
  readonly #followers: Followers;
  readonly #writer: GroupWriter;
  readonly #background: Background;
  readonly #maintenance: NodeJS.Timeout;
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;
  #trouble: string | undefined;
  #sinceMs: number;
  #flushedMs: number;
  #maintaining = false;

  constructor(options: LmdbStoreOptions, environment: Environment) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#onOperation = options.onOperation;
    this.#bounds = {
      logMaxAgeMs: options.logMaxAgeMs ?? DEFAULT_LOG_MAX_AGE_MS,
      logMaxBytes: options.logMaxBytes ?? DEFAULT_LOG_MAX_BYTES,
    };
    this.#liveFlushMs = options.liveFlushMs ?? DEFAULT_LIVE_FLUSH_MS;
    this.#environment = environment;
    this.#sinceMs = options.clock.wallMs();
    this.#flushedMs = options.clock.monoMs();
    this.#namespaces.load(environment.tree);
    for (const { key, value } of environment.tree.getRange(LIVE_RANGE)) {
      this.#live.load({ ...namesOfLiveKey(key), ...readLive(value) });
    }
    this.#followers = new Followers({ log: options.log });
    this.#background = new Background({ log: options.log });
    this.#writer = new GroupWriter({
      tree: () => environment.tree,
      onStored: () => this.#namespaces.publish(),
      onSync: options.onSync,
      onFailure: (error) => this.#onFailure(error),
    });
    const interval = Math.max(20, Math.min(MAINTENANCE_MS, this.#bounds.logMaxAgeMs / 4, this.#liveFlushMs));
    this.#maintenance = setInterval(() => this.#maintain(), interval).unref();
  }

  async commit(commit: Commit): Promise<CommitOutcome> {
    const started = this.#clock.monoMs();
    try {
      checkCommit(commit);
      this.#refuseWhenClosing();
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
      const state = this.#namespaces.get(commit.namespace);
      if (state && state.headBytes - state.bytesBefore > this.#bounds.logMaxBytes * 1.25) this.#maintain();
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
    return this.#read('get', (tree) => this.#position(tree, namespace));
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
    const trimmed = await this.#writer.run(0, () => {
      const { tree } = this.#environment;
      const old: Buffer[] = [];
      const range = { start: seriesStart(id, series), end: seriesEnd(id, series), limit };
      for (const { key, value } of tree.getRange(range)) {
        if (timeOfSeriesEntry(value) >= beforeMs) break;
        old.push(key);
      }
      for (const key of old) tree.removeSync(key);
      return old.length;
    });
    this.#observe('series', started, 'ok');
    return trimmed;
  }

  async follow(follower: Follower): Promise<() => void> {
    this.#refuseWhenClosing();
    return this.#followers.add(follower, this.#namespaces.names(), (namespace): Snapshot => {
      const all = { prefix: '', limit: SNAPSHOT_ENTRIES };
      return this.#read('scan', (tree) => this.#scan(tree, namespace, all));
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
    return {
      kind: 'lmdb',
      available: this.#trouble === undefined && !this.#closed,
      detail: this.#closed
        ? 'the store is closed'
        : (this.#trouble ?? `embedded in ${this.#environment.path}`),
      durability: 'disk',
      epoch: this.#environment.epoch,
      sinceMs: this.#sinceMs,
    };
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearInterval(this.#maintenance);
    this.#sinceMs = this.#clock.wallMs();
    this.#closing.abort();
    await this.#background.idle();
    await this.#writer.idle();
    try {
      while (this.#live.dirty) await this.#flushLive();
    } catch (error) {
      this.#log.warn({ reason: reasonOf(error) }, 'the latest soft records could not be written');
    }
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

  /** Starts one run of the background work, unless it is under way; it goes on as long as there is some. */
  #maintain(): void {
    if (this.#maintaining || this.#closed || this.#trouble !== undefined) return;
    this.#maintaining = true;
    this.#background.run('store maintenance', async () => {
      try {
        while (!this.#closed && this.#trouble === undefined && (await this.#maintainOnce())) {
          // Each step is a transaction of its own, so commits come in between.
        }
      } finally {
        this.#maintaining = false;
      }
    });
  }

  /** Returns whether there was something to do. */
  async #maintainOnce(): Promise<boolean> {
    const nowMs = this.#clock.wallMs();
    this.#live.sweep(nowMs);
    if (this.#live.dirty && this.#clock.monoMs() - this.#flushedMs >= this.#liveFlushMs) {
      await this.#flushLive();
      if (!this.#live.dirty) this.#flushedMs = this.#clock.monoMs();
      return true;
    }
    const over = [...this.#namespaces.entries()].some(([, state]) => isOver(state, this.#bounds, nowMs));
    const { tree } = this.#environment;
    if (!over && !hasExpired(tree, nowMs)) return false;
    await this.#writer.run(0, () => {
      forgetRequests(this.#environment.tree, nowMs);
      trimLogs(this.#environment.tree, this.#namespaces, this.#bounds, nowMs);
    });
    return true;
  }

  async #flushLive(): Promise<void> {
    const records = this.#live.takeDirty(LIVE_STEP);
    try {
      await this.#writer.run(0, () => writeLiveRecords(this.#environment.tree, this.#records, records));
    } catch (error) {
      this.#live.giveBack(records);
      throw error;
    }
  }

  async #onFailure(error: unknown): Promise<{ tried: Error; waiting: Error; recovered: Promise<void> }> {
    const failure = await explain(error, this.#environment.path);
    this.#namespaces.discard();
    this.#setTrouble(failure.detail);
    this.#log.error({ reason: failure.detail }, 'the store takes no writes');
    const recovered = recover({
      environment: this.#environment,
      log: this.#log,
      onReopened: () => this.#catchUp(),
      signal: this.#closing.signal,
    }).then(() => {
      this.#setTrouble(undefined);
      this.#log.info({}, 'the store takes writes again');
    });
    return { ...errorsOf(failure, error), recovered };
  }

  /** Followers hear of what was stored although its commit was reported as unknown. */
  #catchUp(): void {
    const { tree, epoch } = this.#environment;
    const before = new Map(this.#namespaces.entries());
    this.#namespaces.load(tree);
    for (const [namespace, { id, head }] of this.#namespaces.entries()) {
      let revision = before.get(namespace)?.head ?? 0n;
      while (revision < head) {
        const page = readChanges(tree, { namespace, id, epoch }, { epoch, revision }, 1_000);
        if (page.kind !== 'page') break;
        for (const batch of page.batches) this.#followers.batch(batch);
        revision = page.batches.at(-1)?.revision ?? head;
      }
    }
  }

  #setTrouble(detail: string | undefined): void {
    this.#trouble = detail;
    this.#sinceMs = this.#clock.wallMs();
  }
}

/** About how much a commit writes. */
function sizeOf(commit: Commit): number {
  let bytes = (commit.request?.response.length ?? 0) + 64;
  for (const { value } of commit.puts ?? []) bytes += value.length;
  for (const { value } of commit.appends ?? []) bytes += value.length;
  return bytes;
}
