import { Background } from '../../lib/background.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { checkCommit, checkKey, checkLimit } from '../limits.ts';
import {
  type Commit,
  type CommitOutcome,
  type Follower,
  type LiveRecord,
  type Position,
  type SeriesRange,
  type Store,
  StoreFullError,
  type StoreOperation,
  type StoreStatus,
} from '../store.ts';
import { type Committed, Committer } from './committer.ts';
import { toStoreError, unavailable } from './errors.ts';
import { Feed } from './feed.ts';
import { Keys } from './keys.ts';
import { Link } from './link.ts';
import { LiveRecords } from './live.ts';
import { OwnCommits } from './own-commits.ts';
import { parseRequest, Reader } from './reader.ts';
import { checkPrefix, parseTarget } from './target.ts';

export interface RedisStoreOptions {
  /** `redis://user:password@host:port`, `redis+sentinel://user:password@host:port,…/name`, or these with `rediss`. */
  url: string;
  /** User and password at the Sentinels; default "": none. */
  sentinelUser?: string;
  sentinelPassword?: string;
  /** Name of the logical database: "agents", "system", "monitoring". */
  database: string;
  /** Stands before every key. */
  keyPrefix: string;
  /** Replicas that must have each commit before it is acknowledged (WAIT); 0: none. */
  minReplicas: number;
  /** How long to wait for them. */
  waitTimeoutMs: number;
  clock: Clock;
  log: Logger;
  onOperation?: (operation: StoreOperation) => void;
  /** How long the change log is kept; default 10 minutes. */
  logMaxAgeMs?: number;
  /** How large it may become, by namespace; default 64 MiB. */
  logMaxBytes?: number;
  /** The highest store epoch that is known from elsewhere (from agents, say): the next one is higher. Default 0. */
  minEpoch?: bigint;
  /** After so long without an answer, Redis counts as away; default 1 s. */
  commandTimeoutMs?: number;
}

/**
 * Connects to Redis, 6.2 or later: one server, or the primary that Sentinels name.
 * @throws StoreOpenError unreachable, too old, evicting, a replica, or a URL that cannot be used
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<Store> {
  const { url, sentinelUser: user = '', sentinelPassword: password = '' } = options;
  const target = parseTarget(url, { user, password });
  checkPrefix('redis.key_prefix', options.keyPrefix);
  checkPrefix('the name of the database', options.database);
  const store = new RedisStore(options, target);
  try {
    await store.open();
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

class RedisStore implements Store {
  readonly #options: RedisStoreOptions;
  readonly #link: Link;
  readonly #committer: Committer;
  readonly #reader: Reader;
  readonly #live: LiveRecords;
  readonly #feed: Feed;
  readonly #background: Background;
  readonly #underWay = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;
  #full: string | undefined;

  constructor(options: RedisStoreOptions, target: ReturnType<typeof parseTarget>) {
    this.#options = options;
    const { clock, log, minReplicas, waitTimeoutMs, minEpoch = 0n, commandTimeoutMs = 1_000 } = options;
    const { logMaxAgeMs = 600_000, logMaxBytes = 64 << 20 } = options;
    const keys = new Keys({ prefix: options.keyPrefix, database: options.database });
    this.#background = new Background({ log });
    this.#link = new Link({
      ...{ target, keys, clock, log, minReplicas, minEpoch, timeoutMs: commandTimeoutMs },
      onResume: () => this.#feed.resume(),
      onMessage: (channel, message) => this.#feed.message(channel, message),
    });
    const link = this.#link;
    this.#reader = new Reader({ link, keys });
    this.#live = new LiveRecords({ link, keys });
    const own = new OwnCommits();
    this.#committer = new Committer({
      ...{
        own,
        link,
        keys,
        clock,
        minReplicas,
        waitTimeoutMs,
        timeoutMs: commandTimeoutMs,
        logMaxAgeMs,
        logMaxBytes,
      },
    });
    const background = this.#background;
    this.#feed = new Feed({ own, link, keys, reader: this.#reader, live: this.#live, log, background });
  }

  open(): Promise<void> {
    return this.#link.open();
  }

  commit(commit: Commit): Promise<CommitOutcome> {
    return this.#run('commit', true, async () => {
      checkCommit(commit);
      try {
        const committed = await this.#committer.commit(commit);
        this.#tell(undefined);
        return this.#toOutcome(commit, committed);
      } catch (error) {
        if (error instanceof StoreFullError) this.#tell(error.message);
        throw error;
      }
    });
  }

  /** Says once that commits are refused for want of room, and once that they are taken again. */
  #tell(full: string | undefined): void {
    if (this.#full === full) return;
    this.#full = full;
    const { log } = this.#options;
    if (full === undefined) log.info({}, 'the store takes commits again');
    else log.error({ detail: full }, 'the store is full: commits are refused');
  }

  get(namespace: string, key: string) {
    return this.#run('get', false, () => this.#reader.get(namespace, key));
  }

  getRequest(namespace: string, id: string) {
    return this.#run('get', false, async () => {
      const found = await this.#reader.getRequest(namespace, id);
      if (found === undefined || this.#options.minReplicas === 0) return found;
      // Its commit may be one that no replica has yet: repeated as a commit, it is answered once they do.
      const { fingerprint, response } = found;
      const repeated = await this.commit({ namespace, request: { id, fingerprint, response, ttlMs: 1 } });
      return repeated.kind === 'repeated' ? repeated : undefined;
    });
  }

  scan(namespace: string, options: { prefix: string; after?: string; limit: number }) {
    return this.#run('scan', false, async () => {
      checkLimit(options.limit, 10_000);
      return this.#reader.scan(namespace, options);
    });
  }

  namespaces(): Promise<string[]> {
    return this.#run('scan', false, () => this.#reader.namespaces());
  }

  position(namespace: string): Promise<Position> {
    return this.#run('get', false, () => this.#reader.position(namespace));
  }

  changes(namespace: string, after: Position, limit: number) {
    return this.#run('changes', false, async () => {
      checkLimit(limit, 1_000);
      return this.#reader.changes(namespace, after, limit);
    });
  }

  readSeries(namespace: string, series: string, range: SeriesRange) {
    return this.#run('series', false, async () => {
      checkLimit(range.limit, 1_000);
      return this.#reader.readSeries(namespace, series, range);
    });
  }

  trimSeries(namespace: string, series: string, beforeMs: number, limit: number): Promise<number> {
    return this.#run('series', true, () => this.#reader.trimSeries(namespace, series, beforeMs, limit));
  }

  async follow(follower: Follower): Promise<() => void> {
    return this.#run('changes', false, () => this.#feed.follow(follower));
  }

  putLive(records: readonly LiveRecord[]): Promise<void> {
    return this.#run('live', true, async () => {
      for (const { namespace, key } of records) {
        checkKey('namespace', namespace);
        checkKey('key', key);
      }
      try {
        await this.#live.put(records);
      } catch (error) {
        const known = toStoreError(error, true);
        // Only commits may say that the store is full.
        throw known instanceof StoreFullError ? unavailable(known.message, 'not_applied') : known;
      }
    });
  }

  scanLive(namespace: string): Promise<LiveRecord[]> {
    return this.#run('live', false, () => this.#live.scan(namespace));
  }

  async now(): Promise<number> {
    await this.#link.ready();
    const now = this.#link.time.nowMs();
    if (now === undefined) throw unavailable('the clock of Redis is not known yet', 'not_applied');
    return now;
  }

  status(): StoreStatus {
    return this.#link.status;
  }

  close(): Promise<void> {
    this.#closing ??= (async () => {
      this.#feed.close();
      // Each call under way is bounded in time by itself.
      while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
      this.#link.close();
      await this.#background.idle();
    })();
    return this.#closing;
  }

  async #toOutcome(commit: Commit, committed: Committed): Promise<CommitOutcome> {
    switch (committed.kind) {
      case 'committed':
        this.#link.time.atLeast(committed.timeMs);
        return { kind: 'committed', epoch: committed.epoch, revision: committed.revision };
      case 'conflict':
        return committed;
      case 'repeated':
        return { kind: 'repeated', ...parseRequest(committed.record) };
      case 'answered': {
        const answer = await this.#reader.getRequest(commit.namespace, commit.request?.id ?? '');
        if (answer) return { kind: 'repeated', ...answer };
        throw unavailable('Redis went away while it had the commit', 'unknown');
      }
    }
  }

  /** Runs one operation: refused after close, waited for by close, told to the observer, errors as the port has them. */
  async #run<T>(name: string, writes: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#closing) throw unavailable('the store is closed', 'not_applied');
    const { clock, onOperation } = this.#options;
    const startedMs = clock.monoMs();
    let outcome = 'ok';
    const operation = work();
    this.#underWay.add(operation);
    try {
      const result = await operation;
      if (name === 'commit') outcome = (result as CommitOutcome).kind;
      return result;
    } catch (error) {
      const known = toStoreError(error, writes);
      outcome = known.name;
      throw known;
    } finally {
      this.#underWay.delete(operation);
      onOperation?.({ name, elapsedMs: clock.monoMs() - startedMs, outcome });
    }
  }
}
