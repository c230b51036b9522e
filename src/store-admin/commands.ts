import { systemClock } from '../lib/clock.ts';
import { CloseStack } from '../lib/close-stack.ts';
import { packageVersion } from '../lib/version.ts';
import { BackupReader } from './backup-reader.ts';
import { BackupWriter } from './backup-writer.ts';
import { StoreAdminError } from './errors.ts';
import { asAdminError, fill, type Job, type Moved, type Progress, pass, type Run, stopIf } from './move.ts';
import { existing, isSame, isStore, openSource, openTarget, placeOf, type StoreArgument } from './places.ts';
import { compare, type Difference, newSummary, type Summary } from './summary.ts';

export { StoreAdminError } from './errors.ts';
export type { Moved, Progress } from './move.ts';
export { isStore, type StoreArgument } from './places.ts';
export type { Difference, NamespaceSummary, Summary } from './summary.ts';

export interface CommandOptions {
  /** Names of logical databases; absent: those of the configuration that are there. */
  databases?: readonly string[] | undefined;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
  /** Something the operator should know, in one line. */
  onNotice: (text: string) => void;
}

export interface FillingOptions extends CommandOptions {
  /** Replace what the target holds. */
  force: boolean;
  /** The highest store epoch that may have been used elsewhere; 0n: none is known. */
  minEpoch: bigint;
}

/** From one store to another. An LMDB store must not be open in a service. @throws StoreAdminError */
export function copyStore(from: StoreArgument, to: StoreArgument, options: FillingOptions): Promise<Moved[]> {
  return guarded(async (run, closing) => {
    const places = await existing(from, options.databases);
    const jobs: Job[] = [];
    for (const place of places) {
      if (isSame(place, placeOf(to, place.database))) {
        throw new StoreAdminError('usage', `${place.database}: source and target are the same`);
      }
      const source = await openSource(place, { exclusive: true });
      closing.push('source', () => source.close());
      if (source.inUse)
        options.onNotice(`a service uses ${place.database}: what it writes from now on is not copied`);
      jobs.push(await openJob({ database: place.database, source, to, closing }));
    }
    return fill(jobs, { ...options, run });
  }, options);
}

/** From a file into a store. The whole file is checked before anything is written. @throws StoreAdminError */
export function restoreStore(path: string, to: StoreArgument, options: FillingOptions): Promise<Moved[]> {
  return guarded(async (run, closing) => {
    const backup = await openBackup(path, run);
    closing.push('backup', () => backup.close());
    const jobs: Job[] = [];
    for (const database of options.databases ?? backup.databases) {
      jobs.push(await openJob({ database, source: backup.source(database), to, closing }));
    }
    return fill(jobs, { ...options, run });
  }, options);
}

export interface BackedUp {
  bytes: number;
  databases: { database: string; epoch: bigint; summary: Summary }[];
}

/** From a store, which may be in use, into a file, which is then read again. @throws StoreAdminError */
export function backUpStore(
  from: StoreArgument,
  path: string,
  options: CommandOptions & { force: boolean },
): Promise<BackedUp> {
  return guarded(async (run, closing) => {
    const places = await existing(from, options.databases);
    const sources = [];
    for (const { database, ...place } of places) {
      const source = await openSource({ database, ...place }, { exclusive: false });
      closing.push('source', () => source.close());
      sources.push({ database, source });
    }
    const writer = await BackupWriter.create(path, options);
    closing.push('file', () => writer.discard());
    await writer.header({
      created: new Date(run.beganMs).toISOString(),
      service: packageVersion(),
      databases: sources.map(({ database, source: { kind, epoch, namespaces } }) => {
        return { name: database, kind, epoch: String(epoch), namespaces: [...namespaces] };
      }),
    });
    const databases: BackedUp['databases'] = [];
    for (const { database, source } of sources) {
      await writer.beginDatabase(database);
      const summary = await pass({ run, database, doing: 'copying' }, source.read(), (records) =>
        writer.write(records),
      );
      await writer.endDatabase();
      databases.push({ database, epoch: source.epoch, summary });
    }
    await writer.end();
    const bytes = await readAgain(writer.partial, databases, run);
    stopIf(run.signal);
    await writer.publish();
    return { bytes, databases };
  }, options);
}

export interface Verified {
  /** A difference without a namespace is one of the whole database. */
  databases: { database: string; a: Summary; b: Summary; differences: Difference[] }[];
}

/** Whether two stores or files hold the same. Both may be in use; then they hardly will. @throws StoreAdminError */
export function verifyStores(a: StoreArgument, b: StoreArgument, options: CommandOptions): Promise<Verified> {
  return guarded(async (run, closing) => {
    const [first, second] = [
      await openSide(a, options, run, closing),
      await openSide(b, options, run, closing),
    ];
    const names = [...new Set([...first.names, ...second.names])];
    const databases: Verified['databases'] = [];
    for (const database of names) {
      const lacking = [first, second].findIndex((side) => !side.names.includes(database));
      if (lacking >= 0) {
        const empty = newSummary(run.beganMs);
        const what = `is only in the ${lacking === 1 ? 'first' : 'second'}`;
        databases.push({ database, a: empty, b: empty, differences: [{ namespace: '', what }] });
        continue;
      }
      const sides: Summary[] = [];
      for (const { open } of [first, second]) {
        const source = await open(database);
        closing.push('source', () => source.close());
        if (source.inUse) options.onNotice(`a service uses ${database}: it may change while it is compared`);
        sides.push(await pass({ run, database, doing: 'reading' }, source.read()));
      }
      const [of, and] = sides;
      if (!of || !and) continue;
      const differences = compare(of, and, { nowMs: run.clock.wallMs(), live: true });
      databases.push({ database, a: of, b: and, differences });
    }
    return { databases };
  }, options);
}

async function openSide(argument: StoreArgument, options: CommandOptions, run: Run, closing: CloseStack) {
  if (isStore(argument.store)) {
    const names = (await existing(argument, options.databases)).map(({ database }) => database);
    const open = (name: string) => openSource(placeOf(argument, name), { exclusive: false });
    return { names, open };
  }
  const backup = await openBackup(argument.store, run);
  closing.push('backup', () => backup.close());
  const names = options.databases ?? backup.databases;
  return { names, open: async (name: string) => backup.source(name) };
}

async function openJob(options: {
  database: string;
  source: Job['source'];
  to: StoreArgument;
  closing: CloseStack;
}): Promise<Job> {
  const { database, source, to, closing } = options;
  const place = placeOf(to, database);
  const target = await openTarget(place);
  closing.push('target', () => target.close());
  return { database, source, target, shown: place.shown };
}

function openBackup(path: string, run: Run): Promise<BackupReader> {
  return BackupReader.open(path, {
    onBytes: (bytes) => {
      stopIf(run.signal);
      run.onProgress({ database: path, doing: 'reading', records: 0, bytes });
    },
  });
}

/** Returns the size of the file. */
async function readAgain(path: string, written: BackedUp['databases'], run: Run): Promise<number> {
  const backup = await openBackup(path, run);
  try {
    for (const { database, summary } of written) {
      const found = await pass({ run, database, doing: 'verifying' }, backup.source(database).read());
      const [difference] = compare(summary, found, { leap: 0n, nowMs: run.clock.wallMs(), live: true });
      if (!difference) continue;
      const { namespace, what } = difference;
      throw new StoreAdminError(
        'failed',
        `the file is not what was read of ${database}: ${namespace}: ${what}`,
      );
    }
    return backup.bytes;
  } finally {
    await backup.close();
  }
}

/** Releases everything in the end; every error becomes a StoreAdminError. */
async function guarded<T>(
  work: (run: Run, closing: CloseStack) => Promise<T>,
  { signal, onProgress, onNotice }: CommandOptions,
): Promise<T> {
  const closing = new CloseStack();
  try {
    return await work({ clock: systemClock, signal, onProgress, beganMs: systemClock.wallMs() }, closing);
  } catch (error) {
    throw asAdminError(error);
  } finally {
    await closing.close((name, error) =>
      onNotice(`the ${name} was not closed: ${asAdminError(error).message}`),
    );
  }
}
