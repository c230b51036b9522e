import { createHash } from 'node:crypto';
import { seal, unseal } from './sealed.ts';

const VERSION = 0x50;
const MAX_LENGTH = 1536;

/** Where a page ended, in a listing that must go on as it began. */
export interface PageToken {
  /** Which listing: "agents", "events"… */
  kind: string;
  /** Of everything that must be the same on the next page: namespace, filter. See `fingerprint`. */
  fingerprint: string;
  /** The key after which the next page begins; at most 512 bytes. */
  after: string;
}

export type DecodedPageToken = { kind: 'token'; after: string } | { kind: 'invalid'; description: string };

const NOT_OURS =
  'is not a page token that this service gave out for this method; leave it empty to begin anew';

/** An opaque text of at most 1,536 characters. */
export function encodePageToken({ kind, fingerprint, after }: PageToken): string {
  return seal(VERSION, Buffer.from([kind, fingerprint, after].join('\0')));
}

/** Reads a page token and compares it with the request that brings it. Never throws. */
export function decodePageToken(
  text: string,
  expected: { kind: string; fingerprint: string },
): DecodedPageToken {
  const parts = unseal(VERSION, text, MAX_LENGTH)?.toString('utf8').split('\0');
  const [kind, fingerprint, after] = parts ?? [];
  if (parts?.length !== 3 || kind !== expected.kind || after === undefined) {
    return { kind: 'invalid', description: NOT_OURS };
  }
  if (fingerprint !== expected.fingerprint) {
    return {
      kind: 'invalid',
      description: 'belongs to another namespace or filter; these must stay the same',
    };
  }
  return { kind: 'token', after };
}

/** A short text that is equal for equal parts. */
export function fingerprint(parts: readonly (string | number | readonly (string | number)[])[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 16);
}
