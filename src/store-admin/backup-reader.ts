import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { inflateRawSync } from 'node:zlib';
import type { TransferRecord, TransferSource } from '../state/transfer.ts';
import { decodeRecord } from '../state/transfer-codec.ts';
import {
  type BackupHeader,
  checkPreamble,
  FRAME_HEAD_BYTES,
  type Frame,
  MAX_RAW_BYTES,
  PREAMBLE_BYTES,
  readExactly,
  readFrame,
} from './backup-frames.ts';
import { StoreAdminError } from './errors.ts';

/** A backup file, which is looked through from its beginning to its end before any of it is given away. */
export class BackupReader {
  readonly path: string;
  readonly header: BackupHeader;
  readonly bytes: number;
  readonly #file: FileHandle;
  /** Where the records of each database begin. */
  readonly #databases: ReadonlyMap<string, number>;

  private constructor(path: string, file: FileHandle, checked: Checked) {
    this.path = path;
    this.#file = file;
    this.header = checked.header;
    this.bytes = checked.end;
    this.#databases = checked.databases;
  }

  /** @throws StoreAdminError if it is no backup, or damaged, or cut short */
  static async open(
    path: string,
    options: { onBytes?: (bytes: number) => void } = {},
  ): Promise<BackupReader> {
    let file: FileHandle | undefined;
    try {
      file = await open(path, 'r');
      return new BackupReader(path, file, await check(file, options.onBytes ?? (() => {})));
    } catch (error) {
      await file?.close();
      throw unreadable(path, error);
    }
  }

  get databases(): string[] {
    return [...this.#databases.keys()];
  }

  source(database: string): TransferSource {
    const about = this.header.databases.find(({ name }) => name === database);
    const at = this.#databases.get(database);
    if (!about || at === undefined) throw new StoreAdminError('failed', `${this.path} has no ${database}`);
    return {
      kind: 'file',
      identity: this.path,
      inUse: false,
      epoch: BigInt(about.epoch),
      namespaces: about.namespaces,
      read: () => this.#records(at),
      close: async () => {},
    };
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async *#records(at: number): AsyncIterable<readonly TransferRecord[]> {
    try {
      for (let place = at; ; ) {
        const frame = await readFrame(this.#file, place);
        if (frame.type !== 'R') return;
        yield recordsOf(frame);
        place += FRAME_HEAD_BYTES + frame.payload.length;
      }
    } catch (error) {
      throw unreadable(this.path, error);
    }
  }
}

interface Checked {
  header: BackupHeader;
  databases: Map<string, number>;
  end: number;
}

/** Reads the whole file: every checksum, every record, and the end mark. */
async function check(file: FileHandle, onBytes: (bytes: number) => void): Promise<Checked> {
  const { size } = await file.stat();
  const start = await readExactly(file, 0, Math.min(size, PREAMBLE_BYTES));
  checkPreamble(start);
  const hash = createHash('sha256').update(start);
  const databases = new Map<string, number>();
  let header: BackupHeader | undefined;
  let database: string | undefined;
  let [records, total] = [0, 0];
  for (let at = PREAMBLE_BYTES; ; ) {
    const frame = await readFrame(file, at);
    at += FRAME_HEAD_BYTES + frame.payload.length;
    onBytes(at);
    if (frame.type === 'Z') {
      const end = fields(frame);
      const whole = header !== undefined && database === undefined && databases.size > 0;
      if (!whole || end.records !== total || end.sha256 !== hash.digest('hex')) throw damaged(frame);
      if (at !== size) throw new Error(`it is damaged: something follows its end at byte ${at}`);
      if (!header || header.databases.some(({ name }) => !databases.has(name))) throw damaged(frame);
      return { header, databases, end: at };
    }
    hash.update(frame.head).update(frame.payload);
    if (frame.type === 'H' && !header) header = headerOf(frame);
    else if (frame.type === 'D' && header && database === undefined) {
      database = String(fields(frame).name);
      databases.set(database, at);
      records = 0;
    } else if (frame.type === 'R' && database !== undefined) records += recordsOf(frame).length;
    else if (frame.type === 'E' && database !== undefined && fields(frame).records === records) {
      total += records;
      database = undefined;
    } else throw damaged(frame);
  }
}

function recordsOf(frame: Frame): TransferRecord[] {
  try {
    const raw = inflateRawSync(frame.payload, { maxOutputLength: MAX_RAW_BYTES });
    const records: TransferRecord[] = [];
    for (let at = 0; at < raw.length; ) {
      const end = at + 4 + raw.readUInt32BE(at);
      if (end > raw.length) throw damaged(frame);
      records.push(decodeRecord(raw.subarray(at + 4, end)));
      at = end;
    }
    return records;
  } catch (error) {
    throw new Error(damaged(frame).message, { cause: error });
  }
}

function fields(frame: Frame): Record<string, unknown> {
  try {
    return JSON.parse(frame.payload.toString()) as Record<string, unknown>;
  } catch {
    throw damaged(frame);
  }
}

function headerOf(frame: Frame): BackupHeader {
  const header = fields(frame) as Partial<BackupHeader>;
  const sound =
    typeof header.created === 'string' &&
    typeof header.service === 'string' &&
    Array.isArray(header.databases) &&
    header.databases.every(
      ({ name, kind, epoch, namespaces }) =>
        typeof name === 'string' &&
        typeof kind === 'string' &&
        /^\d{1,20}$/.test(epoch) &&
        Array.isArray(namespaces),
    );
  if (!sound) throw damaged(frame);
  return header as BackupHeader;
}

const damaged = ({ at }: Frame): Error => new Error(`it is damaged at byte ${at}`);

function unreadable(path: string, error: unknown): StoreAdminError {
  if (error instanceof StoreAdminError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  const reason = code === 'ENOENT' ? 'there is no such file' : message;
  return new StoreAdminError('failed', `cannot read the backup ${path}: ${reason}`, { cause: error });
}
