import { realpathSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { StoreOpenError } from '../store.ts';
import {
  REVISION_LEAP,
  type TargetState,
  type TransferRecord,
  type TransferSource,
  type TransferTarget,
} from '../transfer.ts';
import { sizeOf } from '../transfer-codec.ts';
import { Content } from './content.ts';
import { Environment, openTreeToRead, type Tree, unfinishedReason } from './environment.ts';
import { isAlive, thisProcess } from './holder.ts';
import {
  entryKey,
  expiryKey,
  liveKey,
  logKey,
  META_KEY,
  namespaceKey,
  requestKey,
  seriesKey,
} from './keys.ts';
import { FORMAT, type Meta, readMeta, writeMeta } from './meta.ts';
import { preflightToRead, reasonOf } from './preflight.ts';
import {
  RecordWriter,
  writeBatch,
  writeEntry,
  writeLive,
  writeRequest,
  writeSeriesEntry,
} from './records.ts';

export interface LmdbTransferOptions {
  directory: string;
  database: string;
  clock: Clock;
}

export interface LmdbSourceOptions extends LmdbTransferOptions {
  /** Keep every service from having it open meanwhile; else it is read beside one, and nothing is written to it. */
  exclusive: boolean;
}

/** Written in one transaction, and so with one sync. */
const TRANSACTION_BYTES = 8 << 20;

/** Whether there is a database with that name in the directory. */
export function hasLmdbDatabase({ directory, database }: { directory: string; database: string }): boolean {
  try {
    preflightToRead(join(directory, database));
    return true;
  } catch (error) {
    // A damaged or closed one is there as well: opening it says what is wrong.
    return error instanceof Error && error.message !== 'there is no store';
  }
}

/** @throws StoreOpenError */
export async function openLmdbSource(options: LmdbSourceOptions): Promise<TransferSource> {
  const path = join(options.directory, options.database);
  let release: (() => Promise<void>) | undefined;
  try {
    preflightToRead(path);
    let tree: Tree;
    if (options.exclusive) {
      const environment = await Environment.open({ ...options, wallMs: options.clock.wallMs });
      release = () => environment.close();
      tree = environment.tree;
    } else {
      tree = openTreeToRead(path);
      release = () => tree.close();
    }
    const meta = metaOf(tree);
    if (meta.importing !== undefined) throw new Error(unfinishedReason(meta.importing));
    const content = new Content(tree);
    const close = release;
    return {
      kind: 'lmdb',
      identity: realpathSync(path),
      inUse: !options.exclusive && meta.holder !== undefined && isAlive(meta.holder),
      epoch: BigInt(meta.epoch),
      namespaces: content.namespaces,
      read: () => content.read(),
      close: () => {
        content.close();
        return close();
      },
    };
  } catch (error) {
    await release?.();
    if (error instanceof StoreOpenError) throw error;
    throw new StoreOpenError(`cannot open the store in ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Opens, or makes, a database to fill it. @throws StoreOpenError */
export async function openLmdbTarget(options: LmdbTransferOptions): Promise<TransferTarget> {
  const environment = await Environment.open({
    ...options,
    wallMs: options.clock.wallMs,
    unfinished: true,
  });
  return new LmdbTarget(environment, options.clock);
}

class LmdbTarget implements TransferTarget {
  readonly kind = 'lmdb';
  readonly identity: string;
  readonly state: TargetState;
  readonly epoch: bigint;
  readonly #environment: Environment;
  readonly #clock: Clock;
  readonly #writer = new RecordWriter();
  readonly #ids = new Map<string, number>();
  #waiting: TransferRecord[] = [];
  #waitingBytes = 0;

  constructor(environment: Environment, clock: Clock) {
    const { tree } = environment;
    const { importing } = metaOf(tree);
    this.#environment = environment;
    this.#clock = clock;
    this.identity = realpathSync(environment.path);
    this.state = importing !== undefined ? 'unfinished' : hasContent(tree) ? 'filled' : 'empty';
    this.epoch = environment.epoch;
  }

  async begin(epoch: bigint): Promise<void> {
    const { tree } = this.#environment;
    const importing = new Date(this.#clock.wallMs()).toISOString();
    // In one transaction: there is no moment in which it is emptied and not marked.
    await tree.childTransaction(() => {
      tree.clearSync();
      putMeta(tree, { format: FORMAT, epoch: String(epoch), holder: thisProcess(), importing });
    });
  }

  async write(records: readonly TransferRecord[]): Promise<void> {
    for (const record of records) {
      this.#waiting.push(record);
      this.#waitingBytes += sizeOf(record);
    }
    if (this.#waitingBytes >= TRANSACTION_BYTES) await this.#flush();
  }

  async *read(): AsyncIterable<readonly TransferRecord[]> {
    await this.#flush();
    const content = new Content(this.#environment.tree);
    try {
      yield* content.read();
    } finally {
      content.close();
    }
  }

  async complete(): Promise<void> {
    await this.#flush();
    const { tree } = this.#environment;
    await tree.childTransaction(() => {
      const { importing: _, ...meta } = metaOf(tree);
      putMeta(tree, meta);
    });
  }

  close(): Promise<void> {
    return this.#environment.close();
  }

  async #flush(): Promise<void> {
    const records = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    if (records.length === 0) return;
    const nowMs = this.#clock.wallMs();
    await this.#environment.tree.childTransaction(() => {
      for (const record of records) this.#put(record, nowMs);
    });
    this.#writer.shrink();
  }

  #put(record: TransferRecord, nowMs: number): void {
    const { tree } = this.#environment;
    switch (record.kind) {
      case 'namespace':
        this.#putNamespace(record.namespace, record.revision + REVISION_LEAP, record.timeMs);
        break;
      case 'entry': {
        const place = entryKey(this.#idOf(record.namespace), record.key);
        tree.putSync(place, writeEntry(this.#writer, record.revision, record.value));
        break;
      }
      case 'series': {
        const id = this.#idOf(record.namespace);
        const place = seriesKey(id, record.series, record.revision, record.index);
        tree.putSync(place, writeSeriesEntry(this.#writer, record.timeMs, record.value));
        break;
      }
      case 'request': {
        if (record.expiresMs <= nowMs) break;
        const id = this.#idOf(record.namespace);
        tree.putSync(requestKey(id, record.id), writeRequest(this.#writer, record));
        tree.putSync(expiryKey(record.expiresMs, id, record.id), Buffer.alloc(0));
        break;
      }
      case 'live':
        tree.putSync(liveKey(record.namespace, record.key), writeLive(this.#writer, record));
    }
  }

  /** The log is what a namespace's last revision is read from: it begins with one commit that changed nothing. */
  #putNamespace(namespace: string, revision: bigint, timeMs: number): void {
    const { tree } = this.#environment;
    const id = this.#ids.size + 1;
    this.#ids.set(namespace, id);
    const number = Buffer.alloc(4);
    number.writeUInt32BE(id);
    tree.putSync(namespaceKey(namespace), number);
    const { record } = writeBatch(this.#writer, { timeMs, changes: [], appends: [] }, 0);
    tree.putSync(logKey(id, revision), record);
  }

  #idOf(namespace: string): number {
    const id = this.#ids.get(namespace);
    if (id === undefined) throw new Error('a record comes before its namespace');
    return id;
  }
}

function metaOf(tree: Tree): Meta {
  const bytes = tree.get(META_KEY);
  if (!bytes) throw new Error('it holds data of something else');
  return readMeta(bytes);
}

const putMeta = (tree: Tree, meta: Meta): void => tree.putSync(META_KEY, writeMeta(meta));

/** Whether there is anything beside the meta record and the probe. */
function hasContent(tree: Tree): boolean {
  const range = { start: Buffer.from([0x02]), end: Buffer.from([0x60]), limit: 1 };
  for (const _ of tree.getKeys(range)) return true;
  return false;
}
