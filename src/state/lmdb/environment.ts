import { join } from 'node:path';
import { open, type RootDatabase } from 'lmdb';
import { StoreOpenError, StoreUnavailableError } from '../store.ts';
import { isAlive, thisProcess } from './holder.ts';
import { META_KEY } from './keys.ts';
import { FORMAT, type Meta, readMeta, writeMeta } from './meta.ts';
import { preflight, reasonOf, syncDirectories } from './preflight.ts';

/** Address space set aside for the file, not memory; LMDB enlarges it when the file outgrows it. */
const DEFAULT_MAP_BYTES = 16 * 2 ** 30;

export type Tree = RootDatabase<Buffer, Buffer>;

export interface EnvironmentOptions {
  directory: string;
  database: string;
  wallMs: () => number;
  mapSizeBytes?: number | undefined;
  /** Whether one may be opened into which a transfer was not completed: only to fill it anew. */
  unfinished?: boolean;
}

/** One LMDB environment that this process, and no other, has open. */
export class Environment {
  readonly path: string;
  readonly epoch: bigint;
  readonly #options: EnvironmentOptions;
  #tree: Tree | undefined;

  private constructor(options: EnvironmentOptions, path: string, tree: Tree, epoch: bigint) {
    this.#options = options;
    this.path = path;
    this.#tree = tree;
    this.epoch = epoch;
  }

  /** Throws StoreOpenError. */
  static async open(options: EnvironmentOptions): Promise<Environment> {
    const path = join(options.directory, options.database);
    let tree: Tree | undefined;
    try {
      preflight(path);
      tree = openTree(path, options);
      const meta = claim(tree, options);
      syncDirectories(path);
      return new Environment(options, path, tree, BigInt(meta.epoch));
    } catch (error) {
      await tree?.close();
      throw new StoreOpenError(`cannot open the store in ${path}: ${reasonOf(error)}`, { cause: error });
    }
  }

  /** The open tree; throws StoreUnavailableError while there is none. */
  get tree(): Tree {
    if (this.#tree) return this.#tree;
    throw new StoreUnavailableError({
      message: 'the store is closed',
      outcome: 'not_applied',
      retryAfterMs: 1_000,
    });
  }

  /** Opens the files anew, as LMDB wants after a failed write. Throws if they cannot be. */
  async reopen(): Promise<void> {
    const old = this.#tree;
    this.#tree = undefined;
    await old?.close();
    preflight(this.path);
    this.#tree = openTree(this.path, this.#options);
  }

  /** Lets others open it, and closes the files. */
  async close(): Promise<void> {
    const tree = this.#tree;
    this.#tree = undefined;
    if (!tree) return;
    try {
      await tree.childTransaction(() => {
        const bytes = tree.get(META_KEY);
        if (!bytes) return;
        const { holder: _, ...meta } = readMeta(bytes);
        tree.putSync(META_KEY, writeMeta(meta));
      });
    } finally {
      await tree.close();
    }
  }
}

function openTree(path: string, options: EnvironmentOptions): Tree {
  return open<Buffer, Buffer>({
    path,
    noSubdir: false,
    encoding: 'binary',
    keyEncoding: 'binary',
    mapSize: options.mapSizeBytes ?? DEFAULT_MAP_BYTES,
    // Classic LMDB commits: the pages are written and synced (fdatasync), then the root is written with O_DSYNC, and
    // only then does anyone see the transaction. With overlapping syncs readers see it before it is on the disk.
    overlappingSync: false,
    // With it, a failed commit also rejects a promise that nobody can handle, which ends the process.
    eventTurnBatching: false,
  });
}

/** Creates or checks the meta record and writes us down as the holder: one transaction, serialised by LMDB's lock. */
function claim(tree: Tree, { wallMs, unfinished }: EnvironmentOptions): Meta {
  const held = tree.transactionSync(() => {
    const bytes = tree.get(META_KEY);
    if (!bytes && !isEmpty(tree)) throw new Error('it holds data of something else');
    const meta = bytes ? readMeta(bytes) : { format: FORMAT, epoch: String(Math.floor(wallMs() / 1000)) };
    if (meta.holder && isAlive(meta.holder)) return { by: meta.holder };
    if (meta.importing !== undefined && unfinished !== true)
      throw new Error(unfinishedReason(meta.importing));
    const claimed: Meta = { ...meta, holder: thisProcess() };
    tree.putSync(META_KEY, writeMeta(claimed));
    return { claimed };
  });
  if (held.by) {
    throw new Error(
      `it is in use by process ${held.by.pid}${held.by.pid === process.pid ? ' (this one)' : ''}`,
    );
  }
  return held.claimed;
}

/** Why a store cannot be opened into which a transfer was begun then. */
export const unfinishedReason = (begun: string): string =>
  `a copy or restore into it, begun ${begun}, was not completed: repeat it with --force`;

/** Opens the files to read them, while another process may have them open to write. */
export function openTreeToRead(path: string): Tree {
  return open<Buffer, Buffer>({
    path,
    noSubdir: false,
    encoding: 'binary',
    keyEncoding: 'binary',
    mapSize: DEFAULT_MAP_BYTES,
    readOnly: true,
    overlappingSync: false,
    eventTurnBatching: false,
  });
}

function isEmpty(tree: Tree): boolean {
  for (const _ of tree.getRange({ start: Buffer.from([0]), limit: 1, values: false } as never)) return false;
  return true;
}
