import { CHUNK_BYTES, CHUNK_RECORDS, type TransferRecord } from '../transfer.ts';
import { sizeOf } from '../transfer-codec.ts';
import type { Command, Connection, Reply } from './connection.ts';
import type { Keys } from './keys.ts';
import { parseStored } from './live.ts';
import { parseRequest, toBatch, toEntry, toSeriesEntry } from './reader.ts';
import * as scripts from './scripts.ts';
import { SeenSet } from './seen-set.ts';
import { Spool } from './spool.ts';

export interface ContentOptions {
  connection: Connection;
  keys: Keys;
  namespaces: readonly string[];
  /** Redis 7 and later says when a key expires; before, only how long it still lives. */
  hasExpireTime: boolean;
}

type EntryRecord = Extract<TransferRecord, { kind: 'entry' }>;

interface Cut {
  revision: bigint;
  records: AsyncIterable<readonly TransferRecord[]>;
  release: () => Promise<void>;
}

const LOG_PAGE = 256;
const REQUEST_PAGE = 200;
const MAX_ATTEMPTS = 5;

/** Everything that a database in Redis holds, also while it is written to. */
export class Content {
  readonly #options: ContentOptions;
  /** The revision up to which each namespace is read. */
  readonly #cuts = new Map<string, bigint>();
  readonly #pageLimit = new PageLimit();

  constructor(options: ContentOptions) {
    this.#options = options;
  }

  async *read(): AsyncIterable<readonly TransferRecord[]> {
    for (const namespace of this.#options.namespaces) yield* this.#readEntries(namespace);
    const series: { namespace: string; name: string }[] = [];
    const live = new Set<string>();
    const requests: { key: string; namespace: string; id: string }[] = [];
    const seen = new SeenSet();
    for await (const keys of scanKeys(this.#options.connection, this.#options.keys.pattern)) {
      for (const key of keys) {
        const parsed = this.#options.keys.parse(key);
        if (parsed === undefined || !seen.add(key)) continue;
        const { namespace, kind, name } = parsed;
        if (kind === 'live') live.add(namespace);
        else if (kind === 'series') series.push({ namespace, name });
        else if (kind === 'request') requests.push({ key, namespace, id: name });
      }
      while (requests.length > 0) yield await this.#readRequests(requests.splice(0, REQUEST_PAGE));
    }
    for (const { namespace, name } of series) yield* this.#readSeries(namespace, name);
    for (const namespace of live) yield* this.#readLive(namespace);
  }

  async *#readEntries(namespace: string): AsyncIterable<readonly TransferRecord[]> {
    const { connection, keys } = this.#options;
    const [time] = scripts.list(await connection.call('hmget', keys.of(namespace).meta, 'time'));
    const cut = await this.#cut(namespace);
    this.#cuts.set(namespace, cut.revision);
    try {
      const timeMs = Number(scripts.text(time) || '0');
      yield [{ kind: 'namespace', namespace, revision: cut.revision, timeMs }];
      yield* cut.records;
    } finally {
      await cut.release();
    }
  }

  async #cut(namespace: string): Promise<Cut> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const cut = await this.#tryToCut(namespace);
      if (cut) return cut;
    }
    throw new Error(`namespace ${namespace} changes faster than it can be read`);
  }

  /**
   * Pages of different moments are put aside, and what the log says to have changed from the first to the last of
   * them takes their place. The log holds ten minutes or 64 MiB: undefined if that was not enough.
   */
  async #tryToCut(namespace: string): Promise<Cut | undefined> {
    const first = await this.#page(namespace, undefined);
    const nothing = async (): Promise<void> => {};
    if (!first.more) {
      return { revision: first.revision, records: once(first.records), release: nothing };
    }
    const spool = await Spool.open();
    try {
      let page = first;
      await spool.write(page.records);
      while (page.more) {
        page = await this.#page(namespace, page.records.at(-1)?.key);
        if (page.epoch !== first.epoch) return await closed(spool);
        await spool.write(page.records);
      }
      const { epoch, revision } = page;
      const changed = await this.#changed(namespace, { epoch, from: first.revision, to: revision });
      if (!changed) return await closed(spool);
      return { revision, records: merge(spool, changed), release: () => spool.close() };
    } catch (error) {
      await spool.close();
      throw error;
    }
  }

  async #page(namespace: string, after: string | undefined) {
    const { connection, keys } = this.#options;
    const range = { from: after === undefined ? '-' : `(${after}`, to: '+', limit: this.#pageLimit.next };
    const found = await scripts.scan(connection, { keys: keys.of(namespace), ...range });
    const records: EntryRecord[] = [];
    for (let at = 0; at + 1 < found.items.length; at += 2) {
      const entry = toEntry(scripts.text(found.items[at]), found.items[at + 1] as Buffer);
      records.push({ kind: 'entry', namespace, ...entry });
    }
    this.#pageLimit.learn(records);
    return { epoch: found.epoch, revision: found.revision, more: found.more, records };
  }

  /** The last state of what was changed after `from` up to `to`, undefined for what was deleted. */
  async #changed(
    namespace: string,
    range: { epoch: bigint; from: bigint; to: bigint },
  ): Promise<Map<string, EntryRecord | undefined> | undefined> {
    const { connection, keys } = this.#options;
    const { log, meta } = keys.of(namespace);
    const changed = new Map<string, EntryRecord | undefined>();
    for (let revision = range.from; revision < range.to; ) {
      const bounds = [`${revision + 1n}-0`, `${range.to}-0`] as const;
      // First the log, then what it belongs to: so a log that was cut or began anew in between is noticed.
      const [page, state] = await sendAll(connection, [
        ['xrange', log, ...bounds, 'COUNT', LOG_PAGE],
        ['hmget', meta, 'epoch', 'floor'],
      ]);
      const [epoch, floor] = scripts.list(state).map(scripts.number);
      const batches = scripts.list(page).map((entry) => toBatch(namespace, entry));
      if (epoch !== range.epoch || (floor ?? 0n) > revision || batches.length === 0) return undefined;
      for (const batch of batches) {
        for (const { key, value } of batch.changes) {
          const place = { kind: 'entry', namespace, key, revision: batch.revision } as const;
          changed.set(key, value && { ...place, value });
        }
        revision = batch.revision;
      }
    }
    return changed;
  }

  async #readRequests(
    found: readonly { key: string; namespace: string; id: string }[],
  ): Promise<TransferRecord[]> {
    const { connection, hasExpireTime } = this.#options;
    const replies = await sendAll(connection, [
      ...found.flatMap(({ key }): Command[] => [
        ['get', key],
        [hasExpireTime ? 'pexpiretime' : 'pttl', key],
      ]),
      ['time'],
    ]);
    const [seconds, micros] = scripts.list(replies.at(-1)).map((reply) => Number(scripts.text(reply)));
    const nowMs = hasExpireTime ? 0 : (seconds ?? 0) * 1_000 + Math.floor((micros ?? 0) / 1_000);
    return found.flatMap(({ namespace, id }, index): TransferRecord[] => {
      const [record, expires] = [replies[2 * index], Number(replies[2 * index + 1])];
      // It expired in between.
      if (!Buffer.isBuffer(record) || !(expires > 0)) return [];
      const request = { kind: 'request', namespace, id, expiresMs: nowMs + expires } as const;
      const answer = parseRequest(record);
      return this.#isWithin(namespace, answer.revision) ? [{ ...request, ...answer }] : [];
    });
  }

  async *#readSeries(namespace: string, series: string): AsyncIterable<readonly TransferRecord[]> {
    const cut = this.#cuts.get(namespace);
    if (cut === undefined) return;
    const key = this.#options.keys.series(namespace, series);
    for (let start = '-'; ; ) {
      const limit = this.#pageLimit.next;
      const range = [start, String(cut), 'COUNT', limit] as const;
      const entries = scripts.list(await this.#options.connection.call('xrange', key, ...range));
      const records = entries.map((entry): TransferRecord => {
        return { kind: 'series', namespace, series, ...toSeriesEntry(entry) };
      });
      const last = records.at(-1);
      if (last?.kind !== 'series') return;
      this.#pageLimit.learn(records);
      yield records;
      if (records.length < limit) return;
      start = `(${last.revision}-${last.index}`;
    }
  }

  async *#readLive(namespace: string): AsyncIterable<readonly TransferRecord[]> {
    const { connection, keys } = this.#options;
    const seen = new SeenSet();
    let cursor = '0';
    do {
      const reply = await connection.call('hscan', keys.of(namespace).live, cursor, 'COUNT', 500);
      const [next, items] = scripts.list(reply);
      const fields = scripts.list(items);
      const records: TransferRecord[] = [];
      for (let at = 0; at + 1 < fields.length; at += 2) {
        const { value, ...record } = parseStored(
          namespace,
          scripts.text(fields[at]),
          fields[at + 1] as Buffer,
        );
        if (value !== undefined && seen.add(record.key)) records.push({ kind: 'live', ...record, value });
      }
      yield records;
      cursor = scripts.text(next);
    } while (cursor !== '0');
  }

  /** Whether the cut of its namespace holds this revision. */
  #isWithin(namespace: string, revision: bigint): boolean {
    const cut = this.#cuts.get(namespace);
    return cut !== undefined && revision <= cut;
  }
}

/** So many records are asked for at a time that an answer is of about CHUNK_BYTES. */
class PageLimit {
  next = 100;

  learn(records: readonly TransferRecord[]): void {
    if (records.length === 0) return;
    const average = records.reduce((sum, record) => sum + sizeOf(record), 0) / records.length;
    this.next = Math.max(1, Math.min(CHUNK_RECORDS, Math.floor(CHUNK_BYTES / average)));
  }
}

/** Pages of names of keys; one may come more than once. */
export async function* scanKeys(connection: Connection, pattern: string): AsyncIterable<readonly string[]> {
  let cursor = '0';
  do {
    const reply = await connection.call('scan', cursor, 'MATCH', pattern, 'COUNT', 1_000);
    const [next, keys] = scripts.list(reply);
    yield scripts.list(keys).map(scripts.text);
    cursor = scripts.text(next);
  } while (cursor !== '0');
}

/** Sends commands in one piece; throws what Redis refused any of them for. */
export async function sendAll(connection: Connection, commands: readonly Command[]): Promise<Reply[]> {
  const replies = await connection.send(commands);
  return replies.map((reply) => {
    if (reply instanceof Error) throw reply;
    return reply;
  });
}

async function* once(records: readonly TransferRecord[]): AsyncIterable<readonly TransferRecord[]> {
  if (records.length > 0) yield records;
}

/** What was put aside, except what changed since; and that as it is now. */
async function* merge(
  spool: Spool,
  changed: ReadonlyMap<string, EntryRecord | undefined>,
): AsyncIterable<readonly TransferRecord[]> {
  for await (const records of spool.read()) {
    yield records.filter((record) => record.kind !== 'entry' || !changed.has(record.key));
  }
  let chunk: EntryRecord[] = [];
  for (const record of changed.values()) {
    if (record) chunk.push(record);
    if (chunk.length < CHUNK_RECORDS) continue;
    yield chunk;
    chunk = [];
  }
  if (chunk.length > 0) yield chunk;
}

async function closed(spool: Spool): Promise<undefined> {
  await spool.close();
  return undefined;
}
