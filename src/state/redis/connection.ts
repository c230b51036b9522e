import { Redis, type RedisOptions } from 'ioredis';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import { connectorFor, type Locate } from './connector.ts';
import type { Login } from './target.ts';

export type Reply = Buffer | number | null | Reply[];
export type Command = readonly [name: string, ...args: (string | Buffer | number)[]];

/** The command did not leave this process. */
export class NotSentError extends Error {
  override readonly name = 'NotSentError';
}

/** The command was sent and its answer did not come: whether it was executed is unknown. */
export class LostError extends Error {
  override readonly name = 'LostError';
}

export interface ConnectionOptions {
  locate: Locate;
  tls: boolean;
  login: Login;
  /** Says what it is for; shown in CLIENT LIST and in logs. */
  name: string;
  clock: Clock;
  log: Logger;
  /** After so long without an answer the connection is given up. */
  timeoutMs: number;
  /** Makes a new connection usable; if it throws, the connection is closed and tried again. */
  prepare: (connection: Connection) => Promise<void>;
  onUp: () => void;
  onDown: () => void;
  onMessage?: (channel: string, message: Buffer) => void;
}

const MAX_BACKOFF_MS = 250;
const WATCH_MS = 50;

/**
 * One connection that is either up or down: nothing is queued while it is down, and nothing is ever sent twice. An
 * answer that does not come in time ends it, for all that follows would wait behind it.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #redis: Redis;
  readonly #inFlight = new Set<{ deadlineMs: number; lose: (error: LostError) => void }>();
  /** Of what was sent last. */
  #lastDeadlineMs = 0;
  readonly #watch: NodeJS.Timeout;
  #queue: { command: Command; resolve: (reply: Reply) => void; reject: (error: Error) => void }[] = [];
  #up = false;
  #closed = false;
  #failures = 0;
  #connectingSinceMs: number | undefined;
  #watchedMs: number;
  /** What went wrong last, for operators; and whether that was in the present attempt. */
  #fault: Error | undefined;
  #faultIsNew = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    const redis: RedisOptions & { replyMapping: 'legacy' } = {
      ...options.login,
      Connector: connectorFor(options),
      // Only says which event means that it is connected.
      ...(options.tls ? { tls: {} } : {}),
      connectionName: `orchestrator-${options.name}`,
      lazyConnect: true,
      protocol: 2,
      replyMapping: 'legacy',
      disableClientInfo: true,
      enableReadyCheck: false,
      // ioredis would send a commit again whose answer was lost, and so apply it twice.
      autoResendUnfulfilledCommands: false,
      enableOfflineQueue: false,
      // Zero also makes it fail the commands under way when the connection breaks; otherwise they would never settle.
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      connectTimeout: options.timeoutMs,
      retryStrategy: () => Math.min(MAX_BACKOFF_MS, 10 * 2 ** Math.min(this.#failures++, 10)),
    };
    this.#redis = new Redis(redis);
    this.#redis.on('connecting', () => {
      this.#connectingSinceMs = options.clock.monoMs();
      this.#faultIsNew = false;
    });
    this.#redis.on('ready', () => void this.#prepare());
    this.#redis.on('close', () => this.#lose(new Error('the connection was closed by the other side')));
    this.#redis.on('error', (error: Error) => this.#blame(error));
    this.#redis.on('messageBuffer', (channel: Buffer, message: Buffer) =>
      options.onMessage?.(channel.toString(), message),
    );
    this.#watchedMs = options.clock.monoMs();
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    this.#watch.unref();
  }

  get up(): boolean {
    return this.#up;
  }

  /** What went wrong, when it is down. */
  get fault(): Error | undefined {
    return this.#fault;
  }

  connect(): void {
    this.#redis.connect().catch(() => {}); // told by the events
  }

  /** Sends one command together with all others of this turn of the event loop. Rejects with what Redis refused it for. */
  call(...command: Command): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (this.#queue.length === 0) setImmediate(() => this.#flush());
      this.#queue.push({ command, resolve, reject });
    });
  }

  /**
   * Sends commands in one piece; nothing of this connection comes in between. The result has an answer or error for
   * each. Rejects with NotSentError or LostError, which then goes for all of them.
   */
  async send(commands: readonly Command[], timeoutMs = this.#options.timeoutMs): Promise<(Reply | Error)[]> {
    if (this.#redis.status !== 'ready' || this.#redis.stream.destroyed)
      throw new NotSentError('not connected');
    const pipeline = this.#redis.pipeline();
    for (const [name, ...args] of commands) pipeline.callBuffer(name, args);
    const answered = pipeline.exec();
    answered.catch(() => {}); // when `lost` wins the race
    let under: { deadlineMs: number; lose: (error: LostError) => void } | undefined;
    try {
      const lost = new Promise<never>((_, reject) => {
        under = { deadlineMs: this.#deadlineMs(timeoutMs), lose: reject };
        this.#inFlight.add(under);
      });
      const results = (await Promise.race([answered, lost])) ?? [];
      return results.map(([error, reply]) => {
        if (error === null) return reply as Reply;
        if (error.name === 'ReplyError') return error;
        if (error.message.startsWith("Stream isn't writeable")) throw new NotSentError('not connected');
        throw new LostError('the connection broke before the answer came');
      });
    } finally {
      if (under) this.#inFlight.delete(under);
    }
  }

  /** Answers come in order: one that is sent behind a WAIT cannot come before that is over. */
  #deadlineMs(timeoutMs: number): number {
    const own = this.#options.clock.monoMs() + timeoutMs;
    this.#lastDeadlineMs = this.#inFlight.size > 0 ? Math.max(own, this.#lastDeadlineMs) : own;
    return this.#lastDeadlineMs;
  }

  async subscribe(...channels: string[]): Promise<void> {
    await this.#redis.subscribe(...channels);
  }

  /** Gives the connection up; another is made, unless closed. */
  drop(fault: Error): void {
    this.#lose(fault);
    // Not `disconnect`, which waits for the other side to close as well.
    this.#redis.stream?.destroy();
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#watch);
    this.#redis.disconnect();
    this.drop(new Error('closed'));
  }

  #flush(): void {
    const queue = this.#queue;
    this.#queue = [];
    this.send(queue.map(({ command }) => command)).then(
      (replies) => {
        for (const [index, { resolve, reject }] of queue.entries()) {
          const reply = replies[index] ?? null;
          if (reply instanceof Error) reject(reply);
          else resolve(reply);
        }
      },
      (error: Error) => {
        for (const { reject } of queue) reject(error);
      },
    );
  }

  async #prepare(): Promise<void> {
    this.#connectingSinceMs = undefined;
    const stream = this.#redis.stream;
    try {
      await this.#options.prepare(this);
    } catch (error) {
      if (stream !== this.#redis.stream || this.#closed) return;
      this.drop(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    if (stream !== this.#redis.stream || stream.destroyed || this.#closed) return;
    this.#fault = undefined;
    this.#faultIsNew = false;
    this.#failures = 0;
    this.#up = true;
    this.#options.onUp();
  }

  #lose(fault: Error): void {
    this.#connectingSinceMs = undefined;
    this.#blame(fault);
    this.#up = false;
    for (const { lose } of this.#inFlight) lose(new LostError(fault.message));
    this.#options.onDown();
  }

  /** The first fault of an attempt explains the others. */
  #blame(fault: Error): void {
    if (this.#faultIsNew) return;
    this.#fault = fault;
    this.#faultIsNew = true;
  }

  #look(): void {
    const now = this.#options.clock.monoMs();
    const stalled = now - this.#watchedMs > 10 * WATCH_MS;
    this.#watchedMs = now;
    // After an own stall the answers may lie unread in the socket: they are read before the next look.
    if (stalled) return;
    const { timeoutMs } = this.#options;
    if (this.#connectingSinceMs !== undefined && now - this.#connectingSinceMs > timeoutMs) {
      this.#connectingSinceMs = undefined;
      this.drop(new Error(`no answer to the greeting within ${timeoutMs} ms`));
    }
    for (const { deadlineMs } of this.#inFlight) {
      if (now < deadlineMs) continue;
      this.drop(new Error('an answer did not come in time'));
      return;
    }
  }
}
