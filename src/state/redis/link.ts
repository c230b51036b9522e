import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { showAddress } from '../../lib/redis-url.ts';
import { StoreOpenError, type StoreStatus } from '../store.ts';
import { Connection } from './connection.ts';
import { Epochs } from './epochs.ts';
import { describeFault, isLoginRefused, unavailable } from './errors.ts';
import type { Keys } from './keys.ts';
import { News } from './news.ts';
import * as scripts from './scripts.ts';
import { Sentinels } from './sentinels.ts';
import { durabilityOf, inspectServer, parseInfo, type ServerInfo } from './server-info.ts';
import { clockDifference, StoreClock } from './store-clock.ts';
import type { Address, Target } from './target.ts';

export interface LinkOptions {
  target: Target;
  keys: Keys;
  clock: Clock;
  log: Logger;
  minReplicas: number;
  /** The highest store epoch that is known from elsewhere. */
  minEpoch: bigint;
  timeoutMs: number;
  /** Everything that followers heard may be void or incomplete: the epoch changed, or the feed was interrupted. */
  onResume: () => void;
  onMessage: (channel: string, message: Buffer) => void;
}

/** How long a call waits for a connection that broke a moment ago. */
const PATIENCE_MS = 300;
const PULSE_MS = 1_000;
/** A server that still loads its data is waited for at start. */
const OPEN_TIMEOUT_MS = 15_000;

/**
 * The store's three connections and what they must agree on: the same server, and its epoch. `commits` is apart,
 * because WAIT blocks it; `feed` is in subscriber mode.
 */
export class Link {
  readonly commits: Connection;
  readonly reads: Connection;
  readonly feed: Connection;
  readonly time: StoreClock;
  readonly #options: LinkOptions;
  readonly epochs: Epochs;
  readonly #news = new News();
  readonly #pulseTimer: NodeJS.Timeout;
  readonly #sentinels: Sentinels | undefined;
  #server: ServerInfo | undefined;
  /** Replicas of Redis that the primary has, as of the last heartbeat. */
  #replicas = 0;
  #pulsing = false;
  #available = false;
  #sinceMs: number;
  #closed = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.epochs = new Epochs({ ...options, connection: () => this.commits, onChange: options.onResume });
    this.#sinceMs = options.clock.wallMs();
    this.time = new StoreClock(options);
    const { target } = options;
    if (target.master !== undefined) {
      this.#sentinels = new Sentinels({
        ...options,
        onMove: () => this.#move('Sentinels name another primary'),
      });
    }
    const connection = (name: string, prepare: (connection: Connection) => Promise<void>): Connection => {
      let goesTo: Address | Error | undefined;
      return new Connection({
        ...options,
        ...{ tls: target.tls, login: target.login, name },
        locate: () => {
          goesTo = this.#locate();
          return goesTo;
        },
        prepare: async (made) => {
          await prepare(made);
          if (goesTo !== this.#locate()) throw new Error('Sentinels name another primary meanwhile');
        },
        onUp: () => this.#changed(name),
        onDown: () => this.#changed(name),
      });
    };
    this.commits = connection('commits', (made) => this.#prepareCommits(made));
    this.reads = connection('reads', (made) => this.#requireSameServer(made));
    this.feed = connection('feed', async (made) => {
      await this.#requireSameServer(made);
      await made.subscribe(options.keys.newsChannel, options.keys.liveChannel);
    });
    this.#pulseTimer = setInterval(() => void this.#pulse(), PULSE_MS);
    this.#pulseTimer.unref();
  }

  /** Connects for the first time. Throws StoreOpenError. */
  async open(): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.monoMs() + OPEN_TIMEOUT_MS;
    if (this.#sentinels && !(await this.#sentinels.open(OPEN_TIMEOUT_MS))) {
      throw this.#openError(new Error(this.#sentinels.excuse));
    }
    this.commits.connect();
    while (!this.commits.up) {
      await this.#news.next(deadlineMs - clock.monoMs());
      const { fault } = this.commits;
      if (this.commits.up || (fault === undefined && clock.monoMs() < deadlineMs)) continue;
      // With Sentinels, a primary that is not there is likely to be another one soon.
      const passing = fault instanceof LoadingError || (this.#sentinels !== undefined && !isFinal(fault));
      if (passing && clock.monoMs() < deadlineMs) continue;
      throw this.#openError(fault);
    }
    this.reads.connect();
    this.feed.connect();
    while (!this.#available) {
      await this.#news.next(deadlineMs - clock.monoMs());
      if (clock.monoMs() >= deadlineMs) throw this.#openError(this.reads.fault ?? this.feed.fault);
    }
  }

  /** Resolves when commands may be sent; throws StoreUnavailableError when that is not soon. */
  async ready(): Promise<void> {
    const { clock } = this.#options;
    if (this.usable) return;
    const deadlineMs = clock.monoMs() + PATIENCE_MS - Math.max(0, clock.wallMs() - this.#sinceMs);
    while (!this.usable && !this.#closed && clock.monoMs() < deadlineMs) {
      await this.#news.next(deadlineMs - clock.monoMs());
    }
    if (!this.usable) throw unavailable(this.#closed ? 'the store is closed' : this.detail, 'not_applied');
  }

  /** Resolves when commands may be sent again, or after `timeoutMs` with false. */
  async usableWithin(timeoutMs: number): Promise<boolean> {
    const deadlineMs = this.#options.clock.monoMs() + timeoutMs;
    while (!this.usable && !this.#closed && this.#options.clock.monoMs() < deadlineMs) {
      await this.#news.next(deadlineMs - this.#options.clock.monoMs());
    }
    return this.usable && this.#options.clock.monoMs() < deadlineMs;
  }

  get status(): StoreStatus {
    return {
      kind: 'redis',
      available: this.#available,
      detail: this.detail,
      durability: this.#durability.durability,
      epoch: this.epochs.current,
      sinceMs: this.#sinceMs,
    };
  }

  get detail(): string {
    if (this.#available) return `${this.#label}: ${this.#durability.detail}`;
    const broken = [this.commits, this.reads, this.feed].find((connection) => !connection.up);
    return `Redis at ${this.#label}: ${describeFault(broken?.fault)}`;
  }

  /** The name that Sentinels have for it, and where it is. Never holds a password. */
  get #label(): string {
    const { label, master } = this.#options.target;
    const place = this.#locate();
    return master === undefined || place instanceof Error ? label : `${master} at ${showAddress(place)}`;
  }

  get #durability() {
    const { minReplicas, target } = this.#options;
    return durabilityOf({
      appendOnly: this.#server?.appendOnly ?? false,
      appendFsync: this.#server?.appendFsync,
      watched: target.master !== undefined,
      replicas: this.#replicas,
      minReplicas,
    });
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#pulseTimer);
    this.#sentinels?.close();
    for (const connection of [this.feed, this.reads, this.commits]) connection.close();
  }

  /** Whether commands may be sent. */
  get usable(): boolean {
    return this.commits.up && this.reads.up && !this.#closed;
  }

  async #prepareCommits(connection: Connection): Promise<void> {
    const server = await inspectServer(connection);
    if (server.loading) throw new LoadingError('Redis is loading its data');
    if (!server.primary) {
      this.epochs.leave();
      throw new Error('this Redis is a replica of another; connect to the primary');
    }
    const moved = this.#server?.runId !== server.runId;
    this.#server = server;
    const expectedMs = this.time.nowMs();
    if (moved) this.time.reset();
    await scripts.loadScripts(connection);
    const { timeMs } = await this.#takePulse(connection);
    const differs = moved && clockDifference({ timeMs, expectedMs, wallMs: this.#options.clock.wallMs() });
    if (differs)
      this.#options.log.warn(differs, 'the clock of Redis differs from the one before, or from ours');
    await this.epochs.agree(connection, server.runId);
    // The others may still talk to the server of before.
    if (moved)
      for (const other of [this.reads, this.feed]) if (other.up) other.drop(new Error('the server changed'));
  }

  #locate(): Address | Error {
    return this.#sentinels?.master ?? this.#options.target.addresses[0] ?? new Error('no address');
  }

  /** All connections go elsewhere, without waiting for the old server to end them: it may hang. */
  #move(reason: string): void {
    for (const connection of [this.commits, this.reads, this.feed]) connection.drop(new Error(reason));
  }

  async #requireSameServer(connection: Connection): Promise<void> {
    const [reply] = await connection.send([['info', 'server']]);
    if (reply === undefined || reply instanceof Error) throw reply ?? new Error('INFO was not answered');
    const deadlineMs = this.#options.clock.monoMs() + this.#options.timeoutMs;
    while (!this.commits.up && this.#options.clock.monoMs() < deadlineMs) {
      await this.#news.next(deadlineMs - this.#options.clock.monoMs());
    }
    if (!this.commits.up || parseInfo(reply).get('run_id') !== this.epochs.runId) {
      throw new Error('the connections went to different servers');
    }
  }

  async #pulse(): Promise<void> {
    if (this.#pulsing) return;
    this.#pulsing = true;
    try {
      const others = [this.reads, this.feed].filter(({ up }) => up);
      await Promise.all([
        ...(this.commits.up ? [this.#takePulse(this.commits, true)] : []),
        ...others.map((connection) => connection.call('ping')),
      ]);
    } catch (error) {
      // A connection without a pulse ends by itself; this is for what Redis answers.
      this.#options.log.debug({ reason: describeFault(error as Error) }, 'no heartbeat from Redis');
    } finally {
      this.#pulsing = false;
    }
  }

  async #takePulse(connection: Connection, compare = false): Promise<scripts.Pulse> {
    const askedMs = this.#options.clock.monoMs();
    const beat = await scripts.pulse(connection, this.#options.keys.store);
    this.time.sample(beat.timeMs, askedMs);
    this.#replicas = beat.replicas;
    if (!compare) return beat;
    if (!beat.primary) {
      this.epochs.leave();
      connection.drop(new Error('this Redis became a replica of another'));
    } else if (beat.epoch !== this.epochs.current || beat.runId !== this.epochs.runId) {
      await this.epochs.reopen();
    }
    return beat;
  }

  #changed(name: string): void {
    const { clock, log, target } = this.#options;
    const available = this.commits.up && this.reads.up && this.feed.up;
    if (available !== this.#available) {
      this.#available = available;
      this.#sinceMs = clock.wallMs();
      const fields = { redis: target.label, connection: name };
      if (available) log.info(fields, 'Redis is available');
      else if (!this.#closed) log.warn({ ...fields, detail: this.detail }, 'Redis is not available');
      if (available) this.#options.onResume();
    }
    this.#news.tell();
  }

  #openError(fault: Error | undefined): StoreOpenError {
    if (fault instanceof StoreOpenError) return fault;
    return new StoreOpenError(`cannot use Redis at ${this.#options.target.label}: ${describeFault(fault)}`);
  }
}

class LoadingError extends Error {}

/** Whether trying again is of no use. */
function isFinal(fault: Error | undefined): boolean {
  return fault instanceof StoreOpenError || isLoginRefused(fault);
}
