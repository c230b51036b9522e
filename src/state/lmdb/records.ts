import type { Append, Change, ChangeBatch, LiveRecord } from '../store.ts';

/** A byte string of its own, independent of the buffer it lies in being a `Buffer`. */
const view = (bytes: Buffer, start: number, end = bytes.length): Uint8Array =>
  new Uint8Array(bytes.buffer, bytes.byteOffset + start, end - start);

/** Encodes into one buffer that grows and is used again; LMDB copies what it is given before `put` returns. */
export class RecordWriter {
  #buffer = Buffer.allocUnsafeSlow(64 << 10);
  #length = 0;

  /** Starts a record. */
  start(): this {
    this.#length = 0;
    return this;
  }

  u8(value: number): this {
    const at = this.#reserve(1);
    this.#buffer[at] = value;
    return this;
  }

  u32(value: number): this {
    const at = this.#reserve(4);
    this.#buffer.writeUInt32BE(value, at);
    return this;
  }

  u64(value: bigint): this {
    const at = this.#reserve(8);
    this.#buffer.writeBigUInt64BE(value, at);
    return this;
  }

  f64(value: number): this {
    const at = this.#reserve(8);
    this.#buffer.writeDoubleBE(value, at);
    return this;
  }

  /** UTF-8 of at most 64 KiB, after its length. */
  name(text: string): this {
    const bytes = Buffer.byteLength(text);
    const at = this.#reserve(2 + bytes);
    this.#buffer.writeUInt16BE(bytes, at);
    this.#buffer.write(text, at + 2, 'utf8');
    return this;
  }

  /** Bytes up to the end of the record. */
  rest(bytes: Uint8Array): this {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
    return this;
  }

  /** Bytes after their length; absent ones are told from empty ones. */
  optional(bytes: Uint8Array | undefined): this {
    this.u32(bytes === undefined ? ABSENT : bytes.length);
    return bytes === undefined ? this : this.rest(bytes);
  }

  /** The record, valid until the next one is started. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  /** May replace the buffer: call it before touching that. */
  #reserve(bytes: number): number {
    const at = this.#length;
    this.#length = at + bytes;
    if (this.#length > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(this.#length)));
      this.#buffer.copy(larger, 0, 0, at);
      this.#buffer = larger;
    }
    return at;
  }

  /** Gives back what a very large record took. */
  shrink(): void {
    if (this.#buffer.length > 1 << 20) this.#buffer = Buffer.allocUnsafeSlow(64 << 10);
  }
}

const ABSENT = 0xffff_ffff;

class RecordReader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes;
    this.#at = at;
  }

  u32(): number {
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  name(): string {
    const length = this.#bytes.readUInt16BE(this.#at);
    this.#at += 2 + length;
    return this.#bytes.toString('utf8', this.#at - length, this.#at);
  }

  optional(): Uint8Array | undefined {
    const length = this.u32();
    if (length === ABSENT) return undefined;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new Error('a stored batch is cut short');
    return view(this.#bytes, this.#at - length, this.#at);
  }
}

// Entry: revision u64, value.

export const writeEntry = (writer: RecordWriter, revision: bigint, value: Uint8Array): Buffer =>
  writer.start().u64(revision).rest(value).finish();
export const revisionOfEntry = (bytes: Buffer): bigint => bytes.readBigUInt64BE(0);
export const valueOfEntry = (bytes: Buffer): Uint8Array => view(bytes, 8);

// Log batch: time f64, bytes of the log up to its end u64, counts u32 u32, changes, appends.

/** What trimming needs to know of a batch. */
export interface BatchHead {
  timeMs: number;
  /** Bytes of all batches of the namespace since its first, including this one: the log's size is a difference. */
  totalBytes: number;
}

const BATCH_HEAD_BYTES = 24;

export interface BatchContent {
  timeMs: number;
  changes: readonly Change[];
  appends: readonly Append[];
}

/** Returns the record and the new `totalBytes`. */
export function writeBatch(
  writer: RecordWriter,
  batch: BatchContent,
  bytesBefore: number,
): { record: Buffer; totalBytes: number } {
  writer.start().f64(batch.timeMs).f64(0).u32(batch.changes.length).u32(batch.appends.length);
  for (const { key, value } of batch.changes) writer.name(key).optional(value);
  for (const { series, value } of batch.appends) writer.name(series).optional(value);
  const record = writer.finish();
  const totalBytes = bytesBefore + record.length;
  record.writeDoubleBE(totalBytes, 8);
  return { record, totalBytes };
}

export const readBatchHead = (bytes: Buffer): BatchHead => ({
  timeMs: bytes.readDoubleBE(0),
  totalBytes: bytes.readDoubleBE(8),
});

export function readBatch(bytes: Buffer, namespace: string, epoch: bigint, revision: bigint): ChangeBatch {
  const changes: Change[] = [];
  const appends: (Append & { index: number })[] = [];
  const reader = new RecordReader(bytes, BATCH_HEAD_BYTES);
  const changeCount = bytes.readUInt32BE(16);
  const appendCount = bytes.readUInt32BE(20);
  for (let index = 0; index < changeCount; index++) {
    const key = reader.name();
    const value = reader.optional();
    changes.push(value === undefined ? { key } : { key, value });
  }
  for (let index = 0; index < appendCount; index++) {
    const series = reader.name();
    appends.push({ series, value: reader.optional() ?? new Uint8Array(0), index });
  }
  return { namespace, epoch, revision, timeMs: readBatchHead(bytes).timeMs, changes, appends };
}

// Series entry: time f64, value.

export const writeSeriesEntry = (writer: RecordWriter, timeMs: number, value: Uint8Array): Buffer =>
  writer.start().f64(timeMs).rest(value).finish();
export const timeOfSeriesEntry = (bytes: Buffer): number => bytes.readDoubleBE(0);
export const valueOfSeriesEntry = (bytes: Buffer): Uint8Array => view(bytes, 8);

// Request record: expiry f64, revision u64, length of the fingerprint u32, fingerprint, response.

export interface StoredRequest {
  expiresMs: number;
  revision: bigint;
  fingerprint: Uint8Array;
  response: Uint8Array;
}

export const writeRequest = (writer: RecordWriter, request: StoredRequest): Buffer =>
  writer
    .start()
    .f64(request.expiresMs)
    .u64(request.revision)
    .optional(request.fingerprint)
    .rest(request.response)
    .finish();

export function readRequest(bytes: Buffer): StoredRequest {
  const end = 20 + bytes.readUInt32BE(16);
  return {
    expiresMs: bytes.readDoubleBE(0),
    revision: bytes.readBigUInt64BE(8),
    fingerprint: view(bytes, 20, end),
    response: view(bytes, end),
  };
}

// Live record: epoch u64, sequence f64, value.

export const writeLive = (
  writer: RecordWriter,
  record: Pick<LiveRecord, 'epoch' | 'sequence'> & { value: Uint8Array },
): Buffer => writer.start().u64(record.epoch).f64(record.sequence).rest(record.value).finish();
export const readLive = (bytes: Buffer): { epoch: bigint; sequence: number; value: Uint8Array } => ({
  epoch: bytes.readBigUInt64BE(0),
  sequence: bytes.readDoubleBE(8),
  value: view(bytes, 16),
});
