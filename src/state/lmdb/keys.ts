/**
 * Where things lie in an environment: one tree, keys told apart by their first byte, numbers big-endian so that the
 * order of bytes is the order of numbers.
 *
 *   01                                      meta record
 *   02 <namespace>                          its number (u32)
 *   10 <ns u32> <key>                       entry
 *   20 <ns u32> <revision u64>              log batch; the last one of a namespace is never removed
 *   30 <ns u32> <len u16> <series> <revision u64> <index u32>   series entry
 *   40 <ns u32> <request id>                request record
 *   41 <expires ms u64> <ns u32> <request id>   when it ends
 *   50 <len u16> <namespace> <key>          live record
 *   60                                      probe, written to see whether the disk takes writes again
 */

export const META_KEY = Buffer.from([0x01]);
export const PROBE_KEY = Buffer.from([0x60]);
export const NAMESPACE_RANGE = { start: Buffer.from([0x02]), end: Buffer.from([0x03]) };
export const LIVE_RANGE = { start: Buffer.from([0x50]), end: Buffer.from([0x51]) };
export const EXPIRY_START = Buffer.from([0x41]);

const LAST_U64 = 0xffff_ffff_ffff_ffffn;

function numbered(kind: number, id: number, tailBytes: number): Buffer {
  const key = Buffer.allocUnsafe(5 + tailBytes);
  key[0] = kind;
  key.writeUInt32BE(id, 1);
  return key;
}

function named(kind: number, id: number, name: string): Buffer {
  const key = numbered(kind, id, Buffer.byteLength(name));
  key.write(name, 5, 'utf8');
  return key;
}

export const namespaceKey = (namespace: string): Buffer =>
  Buffer.concat([Buffer.from([0x02]), Buffer.from(namespace)]);
export const namespaceOfKey = (key: Buffer): string => key.toString('utf8', 1);

export const entryKey = (id: number, key: string): Buffer => named(0x10, id, key);
export const keyOfEntry = (key: Buffer): string => key.toString('utf8', 5);

/** Entries whose key starts with `prefix`, after `after`. */
export function entryRange(
  id: number,
  prefix: string,
  after: string | undefined,
): { start: Buffer; end: Buffer } {
  const first = entryKey(id, prefix);
  const beyond = after === undefined ? undefined : Buffer.concat([entryKey(id, after), Buffer.from([0])]);
  return { start: beyond && beyond.compare(first) > 0 ? beyond : first, end: following(first) };
}

/** The first key after every key that starts with `prefix`; its first byte is never 0xff. */
function following(prefix: Buffer): Buffer {
  let length = prefix.length;
  while (prefix[length - 1] === 0xff) length--;
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return end;
}

export function logKey(id: number, revision: bigint): Buffer {
  const key = numbered(0x20, id, 8);
  key.writeBigUInt64BE(revision, 5);
  return key;
}
export const revisionOfLogKey = (key: Buffer): bigint => key.readBigUInt64BE(5);
/** For reverse ranges `start` is above the last one. */
export const logEnd = (id: number): Buffer => logKey(id, LAST_U64);

function seriesPrefix(id: number, series: string): Buffer {
  const bytes = Buffer.byteLength(series);
  const key = numbered(0x30, id, 2 + bytes);
  key.writeUInt16BE(bytes, 5);
  key.write(series, 7, 'utf8');
  return key;
}

export function seriesKey(id: number, series: string, revision: bigint, index: number): Buffer {
  const place = Buffer.allocUnsafe(12);
  place.writeBigUInt64BE(revision, 0);
  place.writeUInt32BE(index, 8);
  return Buffer.concat([seriesPrefix(id, series), place]);
}
export const seriesStart = (id: number, series: string): Buffer => seriesKey(id, series, 0n, 0);
export const seriesEnd = (id: number, series: string): Buffer => seriesKey(id, series, LAST_U64, 0xffff_ffff);
export const placeOfSeriesKey = (key: Buffer): { revision: bigint; index: number } => ({
  revision: key.readBigUInt64BE(key.length - 12),
  index: key.readUInt32BE(key.length - 4),
});

export const requestKey = (id: number, requestId: string): Buffer => named(0x40, id, requestId);

export function expiryKey(expiresMs: number, id: number, requestId: string): Buffer {
  const key = Buffer.allocUnsafe(13 + Buffer.byteLength(requestId));
  key[0] = 0x41;
  key.writeBigUInt64BE(BigInt(Math.floor(expiresMs)), 1);
  key.writeUInt32BE(id, 9);
  key.write(requestId, 13, 'utf8');
  return key;
}
/** Above every request that ended before `nowMs`. */
export const expiryEnd = (nowMs: number): Buffer => expiryKey(nowMs, 0, '');
/** The key of the request record that an expiry key belongs to. */
export const requestOfExpiry = (key: Buffer): Buffer => Buffer.concat([Buffer.from([0x40]), key.subarray(9)]);

export function liveKey(namespace: string, key: string): Buffer {
  const bytes = Buffer.byteLength(namespace);
  const head = Buffer.allocUnsafe(3);
  head[0] = 0x50;
  head.writeUInt16BE(bytes, 1);
  return Buffer.concat([head, Buffer.from(namespace), Buffer.from(key)]);
}
export function namesOfLiveKey(key: Buffer): { namespace: string; key: string } {
  const end = 3 + key.readUInt16BE(1);
  return { namespace: key.toString('utf8', 3, end), key: key.toString('utf8', end) };
}
