import type { TransferRecord } from './transfer.ts';

/** Bytes of a TransferRecord, for files. Big-endian; names are u16 length and UTF-8, values u32 length and bytes. */

const KINDS = ['namespace', 'entry', 'series', 'request', 'live'] as const;

/** Longest encoded record that is read. */
export const MAX_RECORD_BYTES = 64 << 20;

export function encodeRecord(record: TransferRecord): Buffer {
  const writer = new Writer(sizeOf(record));
  writer.u8(KINDS.indexOf(record.kind) + 1);
  writer.name(record.namespace);
  switch (record.kind) {
    case 'namespace':
      writer.u64(record.revision).f64(record.timeMs);
      break;
    case 'entry':
      writer.name(record.key).u64(record.revision).value(record.value);
      break;
    case 'series':
      writer
        .name(record.series)
        .u64(record.revision)
        .u32(record.index)
        .f64(record.timeMs)
        .value(record.value);
      break;
    case 'request':
      writer.name(record.id).u64(record.revision).f64(record.expiresMs);
      writer.value(record.fingerprint).value(record.response);
      break;
    case 'live':
      writer.name(record.key).u64(record.epoch).f64(record.sequence).value(record.value);
  }
  return writer.finish();
}

/** About the size in memory and on disk; never less than what encodeRecord needs. */
export function sizeOf(record: TransferRecord): number {
  // Three bytes a UTF-16 unit is the worst case of UTF-8.
  const common = 64 + 3 * record.namespace.length;
  switch (record.kind) {
    case 'namespace':
      return common;
    case 'entry':
    case 'live':
      return common + 3 * record.key.length + record.value.length;
    case 'series':
      return common + 3 * record.series.length + record.value.length;
    case 'request':
      return common + 3 * record.id.length + record.fingerprint.length + record.response.length;
  }
}

/** Throws an Error if the bytes are no record. Values are copies: the bytes may be used again. */
export function decodeRecord(bytes: Buffer): TransferRecord {
  const reader = new Reader(bytes);
  const kind = KINDS[reader.u8() - 1];
  const namespace = reader.name();
  const record = decodeFields(reader, kind, namespace);
  if (!reader.done) throw new Error('a record is longer than it should be');
  return record;
}

function decodeFields(
  reader: Reader,
  kind: TransferRecord['kind'] | undefined,
  namespace: string,
): TransferRecord {
  // Fields are read in the order in which they are written here.
  switch (kind) {
    case 'namespace':
      return { kind, namespace, revision: reader.u64(), timeMs: reader.f64() };
    case 'entry':
      return { kind, namespace, key: reader.name(), revision: reader.u64(), value: reader.value() };
    case 'series': {
      const series = reader.name();
      const place = { revision: reader.u64(), index: reader.u32() };
      return { kind, namespace, series, ...place, timeMs: reader.f64(), value: reader.value() };
    }
    case 'request': {
      const id = reader.name();
      const times = { revision: reader.u64(), expiresMs: reader.f64() };
      return { kind, namespace, id, ...times, fingerprint: reader.value(), response: reader.value() };
    }
    case 'live': {
      const key = reader.name();
      const place = { epoch: reader.u64(), sequence: reader.f64() };
      return { kind, namespace, key, ...place, value: reader.value() };
    }
    case undefined:
      throw new Error('a record is of an unknown kind');
  }
}

class Writer {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  u8(value: number): this {
    this.#at = this.#bytes.writeUInt8(value, this.#at);
    return this;
  }

  u32(value: number): this {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
    return this;
  }

  u64(value: bigint): this {
    this.#at = this.#bytes.writeBigUInt64BE(value, this.#at);
    return this;
  }

  f64(value: number): this {
    this.#at = this.#bytes.writeDoubleBE(value, this.#at);
    return this;
  }

  name(text: string): this {
    const length = this.#bytes.write(text, this.#at + 2, 'utf8');
    this.#bytes.writeUInt16BE(length, this.#at);
    this.#at += 2 + length;
    return this;
  }

  value(bytes: Uint8Array): this {
    this.u32(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }
}

/** Reads past the end throw a RangeError of Buffer, or here. */
class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#skip(1));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#skip(4));
  }

  u64(): bigint {
    return this.#bytes.readBigUInt64BE(this.#skip(8));
  }

  f64(): number {
    return this.#bytes.readDoubleBE(this.#skip(8));
  }

  name(): string {
    const start = this.#skip(2);
    const length = this.#bytes.readUInt16BE(start);
    return this.#bytes.toString('utf8', this.#skip(length), this.#at);
  }

  value(): Uint8Array {
    const length = this.u32();
    const start = this.#skip(length);
    return new Uint8Array(this.#bytes.subarray(start, this.#at));
  }

  #skip(length: number): number {
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new Error('a record is cut short');
    return start;
  }
}
