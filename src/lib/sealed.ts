import { crc32 } from 'node:zlib';

const HEADER_BYTES = 5;

/**
 * Opaque text for something that a client gives back later: base64url of a version byte, a checksum and a body.
 * The checksum finds damage and mix-ups; it keeps nobody from making one up, so the body is still untrusted.
 */
export function seal(version: number, body: Uint8Array): string {
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes[0] = version;
  bytes.writeUInt32BE(checksum(version, body), 1);
  bytes.set(body, HEADER_BYTES);
  return bytes.toString('base64url');
}

/** The body, or undefined if `text` was not made by `seal` with this version, or is longer than `maxLength`. */
export function unseal(version: number, text: string, maxLength: number): Buffer | undefined {
  if (text.length > maxLength) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  // Buffer skips what is not base64url; only the canonical spelling is accepted.
  if (bytes.length < HEADER_BYTES || bytes.toString('base64url') !== text) return undefined;
  const body = bytes.subarray(HEADER_BYTES);
  if (bytes[0] !== version || bytes.readUInt32BE(1) !== checksum(version, body)) return undefined;
  return body;
}

function checksum(version: number, body: Uint8Array): number {
  return crc32(body, version);
}
