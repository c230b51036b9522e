import { changesOf, checkCommit, checkLimit, toldOf } from '../../src/state/limits.ts';
import {
  type ChangeBatch,
  type ChangePage,
  type Commit,
  type CommitOutcome,
  type Entry,
  type Follower,
  type LiveRecord,
  type Position,
  QUIET_PREFIX,
  type SeriesEntry,
  type SeriesRange,
  type Store,
  type StoreStatus,
  StoreUnavailableError,
} from '../../src/state/store.ts';

interface NamespaceData {
  revision: bigint;
  entries: Map<string, Entry>;
  log: { batch: ChangeBatch; bytes: number }[];
  series: Map<string, SeriesEntry[]>;
  requests: Map<string, { revision: bigint; fingerprint: Uint8Array; response: Uint8Array; untilMs: number }>;
}

/** What outlives a store object. */
export interface MemoryData {
  epoch: bigint;
  namespaces: Map<string, NamespaceData>;
  live: Map<string, Map<string, LiveRecord>>;
}

export interface MemoryStoreOptions {
  data?: MemoryData;
  wallMs?: () => number;
  logMaxAgeMs?: number;
  logMaxBytes?: number;
}

/** What can be made to go wrong. */
export interface Faults {
  /** Every call is refused, and nothing is applied. */
  away: boolean;
  /** So many commits are applied although their callers hear that the store is away. */
  loseAnswers: number;
  /** Called before a commit is applied: what it commits itself came in between. */
  before: ((commit: Commit) => Promise<void>) | undefined;
  /** Called when a commit was applied, before its caller hears of it. */
  answer: ((commit: Commit) => Promise<void>) | undefined;
  /** Followers hear nothing until `catchUp`, as on a replica that lags. */
  lagging: boolean;
}

export const emptyMemory = (): MemoryData => ({
  epoch: BigInt(Math.floor(Date.UTC(2026, 0, 1) / 1000)),
  namespaces: new Map(),
  live: new Map(),
});

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
const copyEntry = (entry: Entry): Entry => ({ ...entry, value: entry.value.slice() });

/** The state port in memory, with faults that a test can switch on. Durable as long as `data` is kept. */
export class MemoryStore implements Store {
  readonly data: MemoryData;
  readonly faults: Faults = {
    away: false,
    loseAnswers: 0,
    before: undefined,
    answer: undefined,
    lagging: false,
  };
  /** Every commit that was applied, in order. */
  readonly commits: Commit[] = [];
  readonly #options: MemoryStoreOptions;
  readonly #followers = new Set<Follower>();
  readonly #wallMs: () => number;
  #underway = new Set<Promise<unknown>>();
  #undelivered: ((follower: Follower) => void)[] = [];
  #closed = false;
  #sinceMs: number;

  constructor(options: MemoryStoreOptions = {}) {
    this.#options = options;
    this.data = options.data ?? emptyMemory();
    this.#wallMs = options.wallMs ?? Date.now;
    this.#sinceMs = this.#wallMs();
  }

  commit(commit: Commit): Promise<CommitOutcome> {
    const work = this.#commit(commit);
    this.#underway.add(work);
    const done = (): boolean => this.#underway.delete(work);
    work.then(done, done);
    return work;
  }

  async #commit(commit: Commit): Promise<CommitOutcome> {
    this.#usable();
    checkCommit(commit);
    await this.faults.before?.(commit);
    const otherEpoch = commit.epoch !== undefined && commit.epoch !== this.data.epoch;
    if (this.faults.away || otherEpoch) throw unavailable('not_applied');
    const outcome = this.#apply(commit);
    if (outcome.kind !== 'committed') return outcome;
    this.commits.push(commit);
    await this.faults.answer?.(commit);
    if (this.faults.loseAnswers > 0) {
      this.faults.loseAnswers -= 1;
      throw unavailable('unknown');
    }
    return outcome;
  }

  #apply(commit: Commit): CommitOutcome {
    const state = this.data.namespaces.get(commit.namespace) ?? newNamespace();
    const nowMs = this.#wallMs();
    const { epoch } = this.data;
    const answered = commit.request && state.requests.get(commit.request.id);
    if (answered !== undefined && answered.untilMs > nowMs) {
      const { untilMs: _, ...answer } = answered;
      return { kind: 'repeated', ...answer };
    }
    for (const check of commit.checks ?? []) {
      const revision = state.entries.get(check.key)?.revision ?? 0n;
      if (revision !== check.revision) return { kind: 'conflict', key: check.key, revision };
    }
    state.revision += 1n;
    this.data.namespaces.set(commit.namespace, state);
    const { revision } = state;
    const changes = changesOf(commit).map((change) =>
      change.value === undefined ? change : { ...change, value: change.value.slice() },
    );
    for (const { key, value } of changes) {
      if (value === undefined) state.entries.delete(key);
      else state.entries.set(key, { key, value, revision });
    }
    const appends = (commit.appends ?? []).map(({ series, value }, index) => ({
      series,
      value: value.slice(),
      index,
    }));
    for (const { series, value, index } of appends) {
      const list = state.series.get(series) ?? [];
      state.series.set(series, list);
      list.push({ revision, index, timeMs: nowMs, value });
    }
    if (commit.request !== undefined) {
      const { id, fingerprint, response, ttlMs } = commit.request;
      state.requests.set(id, { revision, fingerprint, response, untilMs: nowMs + ttlMs });
    }
    const batch: ChangeBatch = {
      namespace: commit.namespace,
      epoch,
      revision,
      timeMs: nowMs,
      changes: toldOf(changes),
      appends,
    };
    const bytes = [...changes, ...appends].reduce((sum, { value }) => sum + (value?.length ?? 0) + 64, 64);
    state.log.push({ batch, bytes });
    this.#trimLog(state, nowMs);
    this.#deliver((follower) => follower.batch(batch));
    return { kind: 'committed', epoch, revision };
  }

  #trimLog(state: NamespaceData, nowMs: number): void {
    const { logMaxAgeMs = 600_000, logMaxBytes = 64 << 20 } = this.#options;
    let bytes = state.log.reduce((sum, entry) => sum + entry.bytes, 0);
    for (;;) {
      const [first] = state.log;
      if (first === undefined || state.log.length === 1) return;
      if (bytes <= logMaxBytes && first.batch.timeMs >= nowMs - logMaxAgeMs) return;
      state.log.shift();
      bytes -= first.bytes;
    }
  }

  async get(namespace: string, key: string): Promise<Entry | undefined> {
    this.#usable();
    const entry = this.data.namespaces.get(namespace)?.entries.get(key);
    return entry === undefined ? undefined : copyEntry(entry);
  }

  async getRequest(namespace: string, id: string) {
    this.#usable();
    const found = this.data.namespaces.get(namespace)?.requests.get(id);
    return found === undefined || found.untilMs <= this.#wallMs() ? undefined : found;
  }

  async scan(namespace: string, options: { prefix: string; after?: string; limit: number }) {
    this.#usable();
    checkLimit(options.limit, 10_000);
    const { prefix, after, limit } = options;
    const matching = [...(this.data.namespaces.get(namespace)?.entries.values() ?? [])]
      .filter(({ key }) => key.startsWith(prefix) && (after === undefined || byBytes(key, after) > 0))
      .sort((a, b) => byBytes(a.key, b.key));
    const position = this.#position(namespace);
    return { entries: matching.slice(0, limit).map(copyEntry), position, more: matching.length > limit };
  }

  async namespaces(): Promise<string[]> {
    this.#usable();
    return [...this.data.namespaces.keys()];
  }

  async position(namespace: string): Promise<Position> {
    this.#usable();
    return this.#position(namespace);
  }

  #position(namespace: string): Position {
    return { epoch: this.data.epoch, revision: this.data.namespaces.get(namespace)?.revision ?? 0n };
  }

  async changes(namespace: string, after: Position, limit: number): Promise<ChangePage> {
    this.#usable();
    checkLimit(limit, 1_000);
    const { epoch, revision } = this.#position(namespace);
    if (after.epoch !== epoch || after.revision > revision) return { kind: 'epoch', epoch };
    const log = this.data.namespaces.get(namespace)?.log ?? [];
    const oldest = (log[0]?.batch.revision ?? revision + 1n) - 1n;
    if (after.revision < oldest) return { kind: 'compacted', oldest };
    const newer = log.slice(Number(after.revision - oldest)).map(({ batch }) => batch);
    return { kind: 'page', batches: newer.slice(0, limit), complete: newer.length <= limit };
  }

  async readSeries(namespace: string, series: string, range: SeriesRange): Promise<SeriesEntry[]> {
    this.#usable();
    checkLimit(range.limit, 1_000);
    const list = [...(this.data.namespaces.get(namespace)?.series.get(series) ?? [])];
    if (range.reverse) list.reverse();
    const { after, reverse } = range;
    const wanted = list.filter((entry) => {
      if (after === undefined) return true;
      const order = Number(entry.revision - after.revision) || entry.index - after.index;
      return reverse ? order < 0 : order > 0;
    });
    return wanted.slice(0, range.limit);
  }

  async trimSeries(namespace: string, series: string, beforeMs: number, limit: number): Promise<number> {
    this.#usable();
    const list = this.data.namespaces.get(namespace)?.series.get(series) ?? [];
    let old = 0;
    while (old < Math.min(limit, list.length) && (list[old]?.timeMs ?? beforeMs) < beforeMs) old += 1;
    list.splice(0, old);
    return old;
  }

  async follow(follower: Follower): Promise<() => void> {
    this.#usable();
    for (const namespace of this.data.namespaces.keys()) this.#snapshot(follower, namespace);
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  #snapshot(follower: Follower, namespace: string): void {
    const entries = [...(this.data.namespaces.get(namespace)?.entries.values() ?? [])]
      .filter(({ key }) => !key.startsWith(QUIET_PREFIX))
      .map(copyEntry);
    follower.snapshot(namespace, this.#position(namespace), entries);
  }

  async putLive(records: readonly LiveRecord[]): Promise<void> {
    this.#usable();
    const applied: LiveRecord[] = [];
    for (const record of records) {
      const known = this.data.live.get(record.namespace) ?? new Map<string, LiveRecord>();
      this.data.live.set(record.namespace, known);
      const old = known.get(record.key);
      const newer =
        old === undefined ||
        record.epoch > old.epoch ||
        (record.epoch === old.epoch && record.sequence > old.sequence);
      if (!newer) continue;
      known.set(record.key, record);
      applied.push(record);
    }
    if (applied.length > 0) this.#deliver((follower) => follower.live(applied));
  }

  async scanLive(namespace: string): Promise<LiveRecord[]> {
    this.#usable();
    return [...(this.data.live.get(namespace)?.values() ?? [])].filter(({ value }) => value !== undefined);
  }

  async now(): Promise<number> {
    this.#usable();
    return this.#wallMs();
  }

  status(): StoreStatus {
    return {
      kind: 'lmdb',
      available: !this.faults.away && !this.#closed,
      detail: this.faults.away ? 'switched off by a test' : '',
      durability: 'process',
      epoch: this.data.epoch,
      sinceMs: this.#sinceMs,
    };
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#underway);
    this.#followers.clear();
  }

  /** Followers hear the next `count` things that they were not told; of all without `count`. */
  catchUp(count = this.#undelivered.length): void {
    for (const call of this.#undelivered.splice(0, count))
      for (const follower of this.#followers) call(follower);
  }

  /** A new store epoch begins, as after a failover: cursors of the old one are void. */
  promote(): void {
    this.data.epoch += 1n;
    for (const [namespace, state] of this.data.namespaces) {
      state.log = [];
      this.#deliver((follower) => this.#snapshot(follower, namespace));
    }
  }

  /** Forgets the log of a namespace up to and with `revision`. */
  compact(namespace: string, revision: bigint): void {
    const state = this.data.namespaces.get(namespace);
    if (state !== undefined) state.log = state.log.filter(({ batch }) => batch.revision > revision);
  }

  #deliver(call: (follower: Follower) => void): void {
    if (this.faults.lagging) this.#undelivered.push(call);
    else for (const follower of this.#followers) call(follower);
  }

  #usable(): void {
    if (this.faults.away || this.#closed) throw unavailable('not_applied');
  }
}

const newNamespace = (): NamespaceData => ({
  revision: 0n,
  entries: new Map(),
  log: [],
  series: new Map(),
  requests: new Map(),
});

const unavailable = (outcome: 'not_applied' | 'unknown'): StoreUnavailableError =>
  new StoreUnavailableError({ message: 'the store is away', outcome, retryAfterMs: 2 });
