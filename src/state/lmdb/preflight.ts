import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** What LMDB calls its file of data within an environment's directory. */
export const DATA_FILE = 'data.mdb';

const MAGIC = 0xbeefc0de;
const META_PAGES = 2;
const SMALLEST_PAGE = 4_096;
// Offsets in a meta page, from LMDB's MDB_page header (24 bytes) and MDB_meta.
const AT = { magic: 24, pageSize: 48, freeRoot: 88, mainRoot: 136, txnId: 152 };
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/**
 * Makes the directory and looks at what is in it, before LMDB does: lmdb-js crashes on a file that is not LMDB's, and
 * a root page beyond the end of a cut file is a bus error. Throws an Error with a short reason.
 */
export function preflight(path: string): void {
  try {
    makeDirectory(path);
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new Error(reasonOf(error));
  }
  checkFile(join(path, DATA_FILE), constants.R_OK | constants.W_OK);
}

/** The same for reading alone: nothing is made. Throws an Error with a short reason, also when there is no data. */
export function preflightToRead(path: string): void {
  if (!checkFile(join(path, DATA_FILE), constants.R_OK)) throw new Error('there is no store');
}

/** Returns whether there is one with something in it. */
function checkFile(file: string, access: number): boolean {
  let descriptor: number;
  try {
    accessSync(file, access);
    descriptor = openSync(file, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw new Error(`${DATA_FILE}: ${reasonOf(error)}`);
  }
  try {
    const { size } = statSync(file);
    checkHeader(descriptor, size);
    return size > 0;
  } finally {
    closeSync(descriptor);
  }
}

/** Node's own recursive mkdir never returns where a directory exists that takes no others, such as /proc. */
function makeDirectory(path: string): void {
  if (existsSync(path)) {
    if (!statSync(path).isDirectory()) throw Object.assign(new Error(), { code: 'EEXIST' });
    return;
  }
  const parent = dirname(path);
  if (parent !== path) makeDirectory(parent);
  mkdirSync(path);
}

/** Makes the names of new files and directories as durable as their content; LMDB leaves that to its caller. */
export function syncDirectories(path: string): void {
  for (const directory of [path, dirname(path), dirname(dirname(path))]) {
    try {
      const descriptor = openSync(directory, 'r');
      try {
        fsyncSync(descriptor);
      } finally {
        closeSync(descriptor);
      }
    } catch {
      // Not every system syncs directories, and the upper ones may be closed to us.
    }
  }
}

function checkHeader(descriptor: number, size: number): void {
  // A crash while the file was made leaves it empty: LMDB begins again.
  if (size === 0) return;
  const head = Buffer.alloc(AT.txnId + 8);
  let pageSize = SMALLEST_PAGE;
  let newest: { txnId: bigint; roots: bigint[] } | undefined;
  for (let page = 0; page < META_PAGES; page++) {
    const read = readSync(descriptor, head, 0, head.length, page * pageSize);
    if (read < head.length || head.readUInt32LE(AT.magic) !== MAGIC)
      throw new Error(`${DATA_FILE} is not an LMDB file`);
    if (page === 0) pageSize = Math.max(SMALLEST_PAGE, head.readUInt32LE(AT.pageSize));
    const txnId = head.readBigUInt64LE(AT.txnId);
    if (!newest || txnId > newest.txnId) {
      newest = { txnId, roots: [head.readBigUInt64LE(AT.freeRoot), head.readBigUInt64LE(AT.mainRoot)] };
    }
  }
  for (const root of newest?.roots ?? []) {
    if (root !== NO_PAGE && (root + 1n) * BigInt(pageSize) > BigInt(size))
      throw new Error(`${DATA_FILE} is cut short`);
  }
}

const REASONS: Record<string, string> = {
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EROFS: 'the file system is read-only',
  ENOENT: 'a directory cannot be made there',
  ENOTDIR: 'a part of the path is a file',
  EEXIST: 'it is a file, not a directory',
  ENOSPC: 'no space is left on the device',
  EDQUOT: 'the disk quota is used up',
};

/** A system error in a few words, without a path or stack. */
export function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (
    (typeof code === 'string' && REASONS[code]) ||
    (message ?? String(error)).split('\n')[0] ||
    'unknown error'
  );
}
