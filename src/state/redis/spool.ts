import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHUNK_BYTES, type TransferRecord } from '../transfer.ts';
import { decodeRecord, encodeRecord } from '../transfer-codec.ts';

/** Records put aside in a file without a name in the directory for temporary files: it goes with the process. */
export class Spool {
  readonly #file: FileHandle;
  #end = 0;

  private constructor(file: FileHandle) {
    this.#file = file;
  }

  static async open(): Promise<Spool> {
    const directory = await mkdtemp(join(tmpdir(), 'orchestrator-spool-'));
    try {
      return new Spool(await open(join(directory, 'records'), 'wx+', 0o600));
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  async write(records: readonly TransferRecord[]): Promise<void> {
    const parts: Buffer[] = [];
    for (const record of records) {
      const bytes = encodeRecord(record);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      parts.push(length, bytes);
    }
    const bytes = Buffer.concat(parts);
    await this.#file.write(bytes, 0, bytes.length, this.#end);
    this.#end += bytes.length;
  }

  async *read(): AsyncIterable<readonly TransferRecord[]> {
    let rest = Buffer.alloc(0);
    for (let position = 0; position < this.#end; ) {
      const block = Buffer.alloc(Math.min(CHUNK_BYTES, this.#end - position));
      const { bytesRead } = await this.#file.read(block, 0, block.length, position);
      if (bytesRead === 0) throw new Error('the file for temporary data was cut short');
      position += bytesRead;
      rest = Buffer.concat([rest, block.subarray(0, bytesRead)]);
      const records: TransferRecord[] = [];
      let at = 0;
      while (rest.length - at >= 4) {
        const end = at + 4 + rest.readUInt32BE(at);
        if (end > rest.length) break;
        records.push(decodeRecord(rest.subarray(at + 4, end)));
        at = end;
      }
      rest = rest.subarray(at);
      if (records.length > 0) yield records;
    }
    if (rest.length > 0) throw new Error('the file for temporary data was cut short');
  }

  async close(): Promise<void> {
    await this.#file.close();
  }
}
