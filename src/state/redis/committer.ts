import { randomBytes } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import { changesOf } from '../limits.ts';
import type { Commit } from '../store.ts';
import { type Command, LostError, NotSentError, type Reply } from './connection.ts';
import { toStoreError, unavailable } from './errors.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import type { OwnCommits } from './own-commits.ts';
import {
  byHash,
  byText,
  type CommitReply,
  isUnknownScript,
  parseCommit,
  parseSettlement,
  type ScriptCall,
} from './scripts.ts';

export interface CommitterOptions {
  own: OwnCommits;
  link: Link;
  keys: Keys;
  clock: Clock;
  minReplicas: number;
  waitTimeoutMs: number;
  timeoutMs: number;
  logMaxAgeMs: number;
  logMaxBytes: number;
}

/** What became of a commit; `answered`: its request had been answered before, and its record says how. */
export type Committed =
  | { kind: 'committed'; epoch: bigint; revision: bigint; timeMs: number }
  | { kind: 'conflict'; key: string; revision: bigint }
  | { kind: 'repeated'; record: Buffer }
  | { kind: 'answered' };

interface Waiting {
  call: ScriptCall;
  byText: boolean;
  resolve: (reply: Reply) => void;
  reject: (error: Error) => void;
}

/** What may be under way at a time; beyond it, callers are sent away. */
const MAX_UNDER_WAY = 20_000;
const MAX_UNDER_WAY_BYTES = 128 << 20;
/** How long a lost answer is looked for after the connection broke. */
const SETTLE_MS = 500;
/** How long Redis remembers what became of a commit: far longer than anybody asks. */
const DONE_TTL_MS = 60_000;
const MAX_ATTEMPTS = 5;

/**
 * Sends commits: those of one turn of the event loop in one piece, followed by one WAIT. An answer that is lost is
 * looked up by the commit's id, never by sending the commit again.
 */
export class Committer {
  readonly #options: CommitterOptions;
  readonly #instance = randomBytes(8).toString('hex');
  #count = 0;
  #underWay = 0;
  #bytes = 0;
  #queue: Waiting[] = [];
  #scheduled = false;
  #waiting = false;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  async commit(commit: Commit): Promise<Committed> {
    const bytes = sizeOf(commit);
    // A single commit is never too large: it is alone then.
    if (
      this.#underWay >= MAX_UNDER_WAY ||
      (this.#underWay > 0 && this.#bytes + bytes > MAX_UNDER_WAY_BYTES)
    ) {
      throw unavailable('too many commits are under way', 'not_applied');
    }
    this.#underWay++;
    this.#bytes += bytes;
    try {
      return await this.#commit(commit);
    } finally {
      this.#underWay--;
      this.#bytes -= bytes;
    }
  }

  async #commit(commit: Commit): Promise<Committed> {
    const { link } = this.#options;
    const { epochs } = link;
    const { namespace } = commit;
    const id = `${this.#instance}.${(this.#count++).toString(36)}`;
    const encoded = this.#encode(commit, id);
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      await link.ready();
      try {
        await epochs.adopt(namespace);
        const epoch = epochs.current;
        if (commit.epoch !== undefined && commit.epoch !== epoch) {
          throw unavailable('Redis was lost or failed over meanwhile', 'not_applied');
        }
        const reply = await this.#submit(namespace, id, {
          script: 'commit',
          keys: encoded.keys,
          args: [String(epoch), epochs.runId, ...encoded.args],
        });
        if (reply.kind === 'committed') {
          epochs.see(namespace, reply.revision);
          // A settled one was found in the present epoch, whichever it was sent in.
          const committed = { ...reply, epoch: reply.timeMs === 0 ? epochs.current : epoch };
          this.#options.own.remember(committed.epoch, committed.revision, commit);
          return committed;
        }
        if (reply.kind === 'fenced') {
          throw unavailable('the commit was given up before it arrived', 'not_applied');
        }
        if (reply.kind !== 'epoch') return reply;
        await epochs.readopt(namespace);
      } catch (error) {
        // Nothing left this process: perhaps Redis is back in a moment.
        if (error instanceof NotSentError) continue;
        // What became of the commit itself is known by now: this is about the epoch.
        throw toStoreError(error, false);
      }
    }
    throw unavailable('Redis comes and goes', 'not_applied');
  }

  async #submit(
    namespace: string,
    id: string,
    call: ScriptCall,
  ): Promise<CommitReply | { kind: 'answered' }> {
    try {
      const reply = await this.#enqueue(call, false).catch((error: unknown) => {
        if (isUnknownScript(error)) return this.#enqueue(call, true);
        throw error;
      });
      return parseCommit(reply);
    } catch (error) {
      if (error instanceof NotSentError) throw error;
      if (error instanceof LostError) return this.#settle(namespace, id);
      throw toStoreError(error, true);
    }
  }

  /** Finds out what became of a commit whose answer was lost. */
  async #settle(namespace: string, id: string): Promise<CommitReply | { kind: 'answered' }> {
    const { keys } = this.#options;
    const reply = await this.#ask({
      script: 'settle',
      keys: [keys.done(namespace, id)],
      args: [this.#doneTtlMs],
    });
    const settled = parseSettlement(reply);
    switch (settled.kind) {
      case 'committed':
        return { ...settled, timeMs: 0 };
      case 'repeated':
        return { kind: 'answered' };
      case 'refused':
        throw unavailable('Redis went away before the commit arrived', 'not_applied');
    }
  }

  /** Asks as soon as Redis is there again. Unlike a commit, the question may be put twice. */
  async #ask(call: ScriptCall): Promise<Reply> {
    const { link, clock } = this.#options;
    const deadlineMs = clock.monoMs() + SETTLE_MS;
    let cause: unknown;
    while (await link.usableWithin(deadlineMs - clock.monoMs())) {
      try {
        return await this.#enqueue(call, true);
      } catch (error) {
        cause = error;
        if (!(error instanceof LostError || error instanceof NotSentError)) break;
      }
    }
    throw unavailable('Redis went away while it had the commit', 'unknown', cause);
  }

  get #doneTtlMs(): number {
    return DONE_TTL_MS + 2 * this.#options.waitTimeoutMs;
  }

  #enqueue(call: ScriptCall, asText: boolean): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ call, byText: asText, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    // One WAIT at a time: the next batch gathers behind it, instead of many blocking the connection in turn.
    if (this.#scheduled || this.#waiting || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => void this.#flush());
  }

  async #flush(): Promise<void> {
    const { link, minReplicas, waitTimeoutMs, timeoutMs } = this.#options;
    const batch = this.#queue;
    this.#queue = [];
    this.#scheduled = false;
    const commands = batch.map(({ call, byText: asText }): Command => (asText ? byText(call) : byHash(call)));
    const waits = minReplicas > 0;
    if (waits) commands.push(['wait', minReplicas, waitTimeoutMs]);
    this.#waiting = waits;
    try {
      const replies = await link.commits.send(commands, timeoutMs + (waits ? waitTimeoutMs : 0));
      const copies = waits ? replies[batch.length] : undefined;
      for (const [index, { resolve, reject }] of batch.entries()) {
        const reply = replies[index] ?? null;
        if (reply instanceof Error) reject(reply);
        else if (waits && isStored(reply) && !(typeof copies === 'number' && copies >= minReplicas)) {
          reject(shortWait(copies, minReplicas));
        } else resolve(reply);
      }
    } catch (error) {
      for (const { reject } of batch) reject(error as Error);
    } finally {
      this.#waiting = false;
      this.#schedule();
    }
  }

  /** KEYS and ARGV of commit.lua, ARGV from the third on. */
  #encode(commit: Commit, id: string): { keys: string[]; args: (string | Buffer | number)[] } {
    const { keys, logMaxAgeMs, logMaxBytes } = this.#options;
    const { namespace, checks = [], appends = [], request } = commit;
    const changes = changesOf(commit);
    const names = keys.of(namespace);
    const scriptKeys = [
      ...[names.meta, names.data, names.index, names.log, names.marks],
      ...[keys.done(namespace, id), keys.request(namespace, request?.id ?? '')],
    ];
    const args: (string | Buffer | number)[] = [
      ...[this.#doneTtlMs, logMaxAgeMs, logMaxBytes, keys.newsChannel, namespace],
      request ? Math.max(1, Math.ceil(request.ttlMs)) : 0,
      ...(request ? [asBuffer(request.fingerprint), asBuffer(request.response)] : ['', '']),
      ...[checks.length, changes.length, appends.length],
    ];
    for (const { key, revision } of checks) args.push(key, String(revision));
    for (const { key, value } of changes) {
      if (value) args.push('p', key, asBuffer(value));
      else args.push('d', key, '');
    }
    const places = new Map<string, number>();
    for (const { series, value } of appends) {
      let place = places.get(series);
      if (place === undefined) {
        place = scriptKeys.push(keys.series(namespace, series));
        places.set(series, place);
      }
      args.push(place, series, asBuffer(value));
    }
    return { keys: scriptKeys, args };
  }
}

function sizeOf({ puts = [], appends = [], request }: Commit): number {
  let bytes = request ? request.response.length : 0;
  for (const { value } of puts) bytes += value.length;
  for (const { value } of appends) bytes += value.length;
  return bytes;
}

/** Whether an answer acknowledges something that replicas must have: not a conflict, which changes nothing. */
function isStored(reply: Reply): boolean {
  const kind = (Array.isArray(reply) ? reply[0] : reply)?.toString() ?? '';
  return kind === 'committed' || kind === 'repeated' || kind === 'r' || /^c\d/.test(kind);
}

function shortWait(copies: Reply | Error | undefined, minReplicas: number): Error {
  const found = typeof copies === 'number' ? copies : 'an unknown number';
  return unavailable(`${found} of ${minReplicas} replicas of Redis have the commit`, 'unknown');
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
