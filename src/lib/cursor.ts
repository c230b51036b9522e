import { seal, unseal } from './sealed.ts';

const VERSION = 0x43;
const MAX_LENGTH = 256;
const FIXED_BYTES = 16;
const MAX_REVISION = 2n ** 63n - 1n;

/** A place in the change log of a namespace. */
export interface Cursor {
  namespace: string;
  /** The store's epoch: 0 to 2^63-1, as is the revision. */
  epoch: bigint;
  /** Everything up to this revision was seen. */
  revision: bigint;
}

export type DecodedCursor = { kind: 'cursor'; cursor: Cursor } | { kind: 'invalid'; description: string };

/** An opaque text of at most 256 characters; `namespace` has at most 63 bytes. */
export function encodeCursor({ namespace, epoch, revision }: Cursor): string {
  const name = Buffer.from(namespace);
  const body = Buffer.alloc(FIXED_BYTES + name.length);
  body.writeBigInt64BE(epoch, 0);
  body.writeBigInt64BE(revision, 8);
  body.set(name, FIXED_BYTES);
  return seal(VERSION, body);
}

/** Reads a cursor of `namespace`. Never throws. */
export function decodeCursor(text: string, namespace: string): DecodedCursor {
  const body = unseal(VERSION, text, MAX_LENGTH);
  if (body === undefined || body.length < FIXED_BYTES) {
    return {
      kind: 'invalid',
      description: 'is not a cursor that this service gave out; leave it empty to begin anew',
    };
  }
  const epoch = body.readBigInt64BE(0);
  const revision = body.readBigInt64BE(8);
  if (epoch < 0n || revision < 0n || epoch > MAX_REVISION || revision > MAX_REVISION) {
    return {
      kind: 'invalid',
      description: 'is not a cursor that this service gave out; leave it empty to begin anew',
    };
  }
  if (body.toString('utf8', FIXED_BYTES) !== namespace) {
    return { kind: 'invalid', description: 'is a cursor of another namespace' };
  }
  return { kind: 'cursor', cursor: { namespace, epoch, revision } };
}
