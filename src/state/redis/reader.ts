import {
  type ChangeBatch,
  type ChangePage,
  type Entry,
  type Position,
  QUIET_PREFIX,
  type SeriesEntry,
  type SeriesRange,
} from '../store.ts';
import type { Command, Reply } from './connection.ts';
import { unavailable } from './errors.ts';
import type { Keys } from './keys.ts';
import type { Link } from './link.ts';
import { NetstringReader } from './netstrings.ts';
import * as scripts from './scripts.ts';

const COLON = 58;
const MAX_ATTEMPTS = 5;

export interface RequestAnswer {
  revision: bigint;
  fingerprint: Uint8Array;
  response: Uint8Array;
}

/** Reads what commits wrote. Errors are those of connection.ts, and replies that Redis refused. */
export class Reader {
  readonly #link: Link;
  readonly #keys: Keys;

  constructor(options: { link: Link; keys: Keys }) {
    this.#link = options.link;
    this.#keys = options.keys;
  }

  async get(namespace: string, key: string): Promise<Entry | undefined> {
    const stored = await this.#call('hget', this.#keys.of(namespace).data, key);
    return Buffer.isBuffer(stored) ? toEntry(key, stored) : undefined;
  }

  async getRequest(namespace: string, id: string): Promise<RequestAnswer | undefined> {
    const record = await this.#call('get', this.#keys.request(namespace, id));
    return Buffer.isBuffer(record) ? parseRequest(record) : undefined;
  }

  async scan(
    namespace: string,
    { prefix, after, limit }: { prefix: string; after?: string; limit: number },
  ): Promise<{ entries: Entry[]; position: Position; more: boolean }> {
    const behind = after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(prefix)) >= 0;
    const from = behind ? `(${after}` : prefix === '' ? '-' : `[${prefix}`;
    // No UTF-8 text has the byte 0xff.
    const to = prefix === '' ? '+' : Buffer.concat([Buffer.from(`(${prefix}`), Buffer.from([0xff])]);
    return this.#scanBetween(namespace, from, to, limit);
  }

  /**
   * Entries that followers are told of, by key; both parts of the keyspace around the quiet one.
   * @returns also `since`, the position before the first was read: what changed since may or may not be in it
   */
  async scanTold(
    namespace: string,
    { after, limit }: { after?: string; limit: number },
  ): Promise<{ entries: Entry[]; since: Position; position: Position; more: boolean }> {
    const beyond = Buffer.from([0x5b, QUIET_PREFIX.charCodeAt(0) + 1]);
    if (after !== undefined && Buffer.compare(Buffer.from(after), Buffer.from(QUIET_PREFIX)) > 0) {
      const page = await this.#scanBetween(namespace, `(${after}`, '+', limit);
      return { ...page, since: page.position };
    }
    const from = after === undefined ? '-' : `(${after}`;
    const page = await this.#scanBetween(namespace, from, `(${QUIET_PREFIX}`, limit);
    if (page.more) return { ...page, since: page.position };
    const rest = await this.#scanBetween(namespace, beyond, '+', limit);
    return { ...rest, entries: [...page.entries, ...rest.entries], since: page.position };
  }

  #scanBetween(
    namespace: string,
    from: string | Buffer,
    to: string | Buffer,
    limit: number,
  ): Promise<{ entries: Entry[]; position: Position; more: boolean }> {
    return this.#inEpoch(namespace, async () => {
      await this.#link.ready();
      const found = await scripts.scan(this.#link.reads, { keys: this.#keys.of(namespace), from, to, limit });
      const entries: Entry[] = [];
      for (let at = 0; at + 1 < found.items.length; at += 2) {
        entries.push(toEntry(scripts.text(found.items[at]), found.items[at + 1] as Buffer));
      }
      const { epoch, revision, more } = found;
      return { epoch, result: (position) => ({ entries, position, more }), revision };
    });
  }

  async namespaces(): Promise<string[]> {
    const names = scripts.list(await this.#call('smembers', this.#keys.namespaces)).map(scripts.text);
    const revisions = await Promise.all(
      names.map((name) => this.#call('hget', this.#keys.of(name).meta, 'revision')),
    );
    // They are registered before their first commit, which may then have been refused.
    return names.filter((_, index) => scripts.number(revisions[index]) > 0n);
  }

  async position(namespace: string): Promise<Position> {
    return this.#inEpoch(namespace, async () => {
      const [epoch, revision] = scripts.list(
        await this.#call('hmget', this.#keys.of(namespace).meta, 'epoch', 'revision'),
      );
      const result = (position: Position) => position;
      return { epoch: scripts.number(epoch), revision: scripts.number(revision), result };
    });
  }

  async changes(namespace: string, after: Position, limit: number): Promise<ChangePage> {
    const { log, meta } = this.#keys.of(namespace);
    const { epochs } = this.#link;
    return this.#inEpoch(namespace, async () => {
      // First the log, then what it belongs to: so a log that was cut or began anew in between is noticed.
      const [page, state] = await this.#send([
        ['xrange', log, `${after.revision + 1n}-0`, '+', 'COUNT', limit + 1],
        ['hmget', meta, 'epoch', 'revision', 'floor'],
      ]);
      const [epoch, revision, floor] = scripts.list(state).map(scripts.number);
      const entries = scripts.list(page).slice(0, limit);
      const complete = scripts.list(page).length <= limit;
      const ahead = after.revision > (revision ?? 0n);
      // Perhaps the store was emptied: then this finds a new epoch.
      if (ahead && after.epoch === epochs.current) await epochs.reopen();
      return {
        epoch: epoch ?? 0n,
        revision: revision ?? 0n,
        result: (position): ChangePage => {
          if (after.epoch !== position.epoch || ahead) return { kind: 'epoch', epoch: position.epoch };
          if (after.revision < (floor ?? 0n)) return { kind: 'compacted', oldest: floor ?? 0n };
          return { kind: 'page', batches: entries.map((entry) => toBatch(namespace, entry)), complete };
        },
      };
    });
  }

  async readSeries(namespace: string, series: string, range: SeriesRange): Promise<SeriesEntry[]> {
    const key = this.#keys.series(namespace, series);
    const { after, limit, reverse = false } = range;
    // Redis takes no bound below its smallest id.
    if (reverse && after && after.revision <= 0n && after.index <= 0) return [];
    const bound = after && `(${after.revision}-${after.index}`;
    const found = reverse
      ? await this.#call('xrevrange', key, bound ?? '+', '-', 'COUNT', limit)
      : await this.#call('xrange', key, bound ?? '-', '+', 'COUNT', limit);
    return scripts.list(found).map(toSeriesEntry);
  }

  async trimSeries(namespace: string, series: string, beforeMs: number, limit: number): Promise<number> {
    await this.#link.ready();
    const seriesKey = this.#keys.series(namespace, series);
    return scripts.trimSeries(this.#link.reads, { seriesKey, beforeMs, limit });
  }

  async #call(...command: Command): Promise<Reply> {
    await this.#link.ready();
    return this.#link.reads.call(...command);
  }

  async #send(commands: Command[]): Promise<Reply[]> {
    await this.#link.ready();
    const replies = await this.#link.reads.send(commands);
    return replies.map((reply) => {
      if (reply instanceof Error) throw reply;
      return reply;
    });
  }

  /** Repeats a read of a namespace that another epoch has left behind, after bringing it into the present one. */
  async #inEpoch<T>(
    namespace: string,
    read: () => Promise<{ epoch: bigint; revision: bigint; result: (position: Position) => T }>,
  ): Promise<T> {
    const { epochs } = this.#link;
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const { epoch, revision, result } = await read();
      // 0: nothing was ever committed there.
      if (epoch === 0n) return result({ epoch: epochs.current, revision: 0n });
      if (epoch === epochs.current) {
        epochs.see(namespace, revision);
        return result({ epoch, revision });
      }
      await epochs.readopt(namespace);
    }
    throw unavailable('the store changes its epoch again and again', 'not_applied');
  }
}

export function toEntry(key: string, stored: Buffer): Entry {
  const colon = stored.indexOf(COLON);
  return {
    key,
    revision: BigInt(stored.toString('latin1', 0, colon)),
    value: stored.subarray(colon + 1),
  };
}

/** "revision:n:", n bytes of fingerprint, the response. */
export function parseRequest(record: Buffer): RequestAnswer {
  const first = record.indexOf(COLON);
  const second = record.indexOf(COLON, first + 1);
  const end = second + 1 + Number(record.toString('latin1', first + 1, second));
  return {
    revision: BigInt(record.toString('latin1', 0, first)),
    fingerprint: record.subarray(second + 1, end),
    response: record.subarray(end),
  };
}

/** An entry of the log: id "revision-0", field "b" as commit.lua wrote it. */
export function toBatch(namespace: string, entry: Reply): ChangeBatch {
  const [id, fields] = scripts.list(entry);
  const reader = new NetstringReader(scripts.list(fields)[1] as Buffer);
  const epoch = BigInt(reader.text());
  const timeMs = Number(reader.text());
  const changes: ChangeBatch['changes'][number][] = [];
  const appends: ChangeBatch['appends'][number][] = [];
  while (!reader.done) {
    const kind = reader.letter();
    const name = reader.text();
    const value = reader.bytes();
    if (kind === 'p') changes.push({ key: name, value });
    else if (kind === 'd') changes.push({ key: name });
    else appends.push({ series: name, value, index: appends.length });
  }
  return { namespace, epoch, revision: revisionOfId(id), timeMs, changes, appends };
}

export function toSeriesEntry(entry: Reply): SeriesEntry {
  const [id, fields] = scripts.list(entry);
  const [, time, , value] = scripts.list(fields);
  const index = Number(scripts.text(id).split('-')[1]);
  return { revision: revisionOfId(id), index, timeMs: Number(scripts.text(time)), value: value as Buffer };
}

function revisionOfId(id: Reply | undefined): bigint {
  return BigInt(scripts.text(id).split('-')[0] ?? '0');
}
