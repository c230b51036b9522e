import type { Transaction } from 'lmdb';
import { CHUNK_BYTES, CHUNK_RECORDS, type TransferRecord } from '../transfer.ts';
import type { Tree } from './environment.ts';
import {
  keyOfEntry,
  LIVE_RANGE,
  logEnd,
  logKey,
  NAMESPACE_RANGE,
  namesOfLiveKey,
  namespaceOfKey,
  placeOfSeriesKey,
  revisionOfLogKey,
} from './keys.ts';
import {
  readBatchHead,
  readLive,
  readRequest,
  revisionOfEntry,
  timeOfSeriesEntry,
  valueOfEntry,
  valueOfSeriesEntry,
} from './records.ts';

interface Range {
  start: Buffer;
  end: Buffer;
}

/** All keys whose first byte is `kind`. */
const rangeOf = (kind: number): Range => ({ start: Buffer.from([kind]), end: Buffer.from([kind + 1]) });
const ENTRIES = rangeOf(0x10);
const SERIES = rangeOf(0x30);
const REQUESTS = rangeOf(0x40);

/**
 * Everything in an environment as one read transaction sees it, whatever is written meanwhile. While that is open,
 * LMDB does not use freed pages again: a store that is written to grows.
 */
export class Content {
  readonly namespaces: readonly string[];
  readonly #tree: Tree;
  readonly #transaction: Transaction;
  /** Names by their number, of those that were committed to. */
  readonly #names = new Map<number, string>();
  readonly #heads: TransferRecord[] = [];

  constructor(tree: Tree) {
    this.#tree = tree;
    tree.resetReadTxn();
    this.#transaction = tree.useReadTransaction();
    for (const { key, value } of tree.getRange({ ...NAMESPACE_RANGE, transaction: this.#transaction })) {
      this.#addHead(namespaceOfKey(key), value.readUInt32BE(0));
    }
    this.namespaces = [...this.#names.values()];
  }

  async *read(): AsyncIterable<readonly TransferRecord[]> {
    yield this.#heads;
    yield* this.#pages(ENTRIES, (key, bytes) => {
      const namespace = this.#namespaceOf(key);
      const value = valueOfEntry(bytes);
      return { kind: 'entry', namespace, key: keyOfEntry(key), revision: revisionOfEntry(bytes), value };
    });
    yield* this.#pages(SERIES, (key, bytes) => {
      const namespace = this.#namespaceOf(key);
      const series = key.toString('utf8', 7, 7 + key.readUInt16BE(5));
      const entry = { timeMs: timeOfSeriesEntry(bytes), value: valueOfSeriesEntry(bytes) };
      return { kind: 'series', namespace, series, ...placeOfSeriesKey(key), ...entry };
    });
    yield* this.#pages(REQUESTS, (key, bytes) => {
      const namespace = this.#namespaceOf(key);
      return { kind: 'request', namespace, id: keyOfEntry(key), ...readRequest(bytes) };
    });
    yield* this.#pages(LIVE_RANGE, (key, bytes) => ({
      kind: 'live',
      ...namesOfLiveKey(key),
      ...readLive(bytes),
    }));
  }

  close(): void {
    this.#transaction.done();
  }

  /** Chunks of what `decode` makes of a range. Each is read in one go: no cursor stays open in between. */
  async *#pages(
    range: Range,
    decode: (key: Buffer, bytes: Buffer) => TransferRecord,
  ): AsyncIterable<readonly TransferRecord[]> {
    let start: Buffer | undefined = range.start;
    while (start) {
      const records: TransferRecord[] = [];
      let bytes = 0;
      let last: Buffer | undefined;
      const bounds = { start, end: range.end, limit: CHUNK_RECORDS, transaction: this.#transaction };
      for (const { key, value } of this.#tree.getRange(bounds)) {
        records.push(decode(key, value));
        last = key;
        bytes += key.length + value.length;
        if (bytes >= CHUNK_BYTES) break;
      }
      if (records.length > 0) yield records;
      start = last && Buffer.concat([last, Buffer.from([0])]);
    }
  }

  #addHead(namespace: string, id: number): void {
    const bounds = { start: logEnd(id), end: logKey(id, 0n), reverse: true, limit: 1 };
    for (const { key, value } of this.#tree.getRange({ ...bounds, transaction: this.#transaction })) {
      const { timeMs } = readBatchHead(value);
      this.#heads.push({ kind: 'namespace', namespace, revision: revisionOfLogKey(key), timeMs });
      this.#names.set(id, namespace);
    }
  }

  #namespaceOf(key: Buffer): string {
    const name = this.#names.get(key.readUInt32BE(1));
    if (name === undefined) throw new Error('the store holds something of a namespace that it does not have');
    return name;
  }
}
