import type { FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { MAX_RECORD_BYTES } from '../state/transfer-codec.ts';

/**
 * A backup file: 8 bytes of magic, the version of the format (u32), then frames of type (1 byte), length of the
 * payload (u32), its CRC-32 (u32), and the payload. Numbers are big-endian.
 *
 *   H  header, JSON: when and by what it was made; databases with kind, store epoch and namespaces. Once, first.
 *   D  a database begins, JSON: its name
 *   R  records, deflated: each its length (u32) and what transfer-codec.ts makes of it
 *   E  a database ends, JSON: how many records it has
 *   Z  the end, JSON: how many records all have, and the SHA-256 of everything before this frame. Nothing follows.
 */
export const MAGIC = Buffer.from('ORCHBKUP', 'latin1');
export const FORMAT_VERSION = 1;
export const PREAMBLE_BYTES = MAGIC.length + 4;

export type FrameType = 'H' | 'D' | 'R' | 'E' | 'Z';

export interface Frame {
  type: FrameType;
  payload: Buffer;
  /** Where it begins in the file. */
  at: number;
  /** Everything of it, for the hash. */
  head: Buffer;
}

export interface BackupHeader {
  /** ISO 8601. */
  created: string;
  service: string;
  databases: { name: string; kind: string; epoch: string; namespaces: string[] }[];
}

export const FRAME_HEAD_BYTES = 9;
/** Records of a frame before they are deflated: one large record and what was before it. */
export const MAX_RAW_BYTES = MAX_RECORD_BYTES + (4 << 20);
const MAX_FRAME_BYTES = MAX_RAW_BYTES + (1 << 20);

export function preamble(): Buffer {
  const version = Buffer.alloc(4);
  version.writeUInt32BE(FORMAT_VERSION);
  return Buffer.concat([MAGIC, version]);
}

export function encodeFrame(type: FrameType, payload: Buffer): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.write(type, 0, 'latin1');
  head.writeUInt32BE(payload.length, 1);
  head.writeUInt32BE(crc32(payload), 5);
  return Buffer.concat([head, payload]);
}

/** Throws an Error that says why this is no backup that can be read. */
export function checkPreamble(bytes: Buffer): void {
  if (bytes.length < PREAMBLE_BYTES || !bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw new Error('it is not a backup of a store');
  }
  const version = bytes.readUInt32BE(MAGIC.length);
  if (version > FORMAT_VERSION) {
    throw new Error(
      `its format is ${version}, and this version knows up to ${FORMAT_VERSION}: it was written by a newer one`,
    );
  }
}

/** Reads the frame at `at`; throws an Error that says where the file is damaged. */
export async function readFrame(file: FileHandle, at: number): Promise<Frame> {
  const head = await readExactly(file, at, FRAME_HEAD_BYTES);
  const type = head.toString('latin1', 0, 1);
  const length = head.readUInt32BE(1);
  if (!isFrameType(type) || length > MAX_FRAME_BYTES) throw new Error(`it is damaged at byte ${at}`);
  const payload = await readExactly(file, at + FRAME_HEAD_BYTES, length);
  if (crc32(payload) !== head.readUInt32BE(5)) throw new Error(`it is damaged at byte ${at}`);
  return { type, payload, at, head };
}

export async function readExactly(file: FileHandle, at: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  for (let got = 0; got < length; ) {
    const { bytesRead } = await file.read(bytes, got, length - got, at + got);
    if (bytesRead === 0) throw new Error(`it is cut short at byte ${at + got}`);
    got += bytesRead;
  }
  return bytes;
}

function isFrameType(type: string): type is FrameType {
  return 'HDREZ'.includes(type);
}
