import type { Clock } from '../lib/clock.ts';
import { StoreFullError, StoreUnavailableError } from '../state/store.ts';
import {
  REVISION_LEAP,
  type TransferRecord,
  type TransferSource,
  type TransferTarget,
} from '../state/transfer.ts';
import { sizeOf } from '../state/transfer-codec.ts';
import { StoreAdminError } from './errors.ts';
import { addTo, compare, type Difference, newSummary, type Summary } from './summary.ts';

export interface Progress {
  database: string;
  doing: 'copying' | 'verifying' | 'reading';
  records: number;
  bytes: number;
}

/** What a run of a command has in common. */
export interface Run {
  clock: Clock;
  /** Fires on Ctrl-C. */
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
  beganMs: number;
}

export interface Job {
  database: string;
  source: TransferSource;
  target: TransferTarget;
  /** For people: without a password. */
  shown: string;
}

export interface Moved {
  database: string;
  sourceEpoch: bigint;
  /** The store epoch of the target from now on. */
  epoch: bigint;
  summary: Summary;
}

export interface FillOptions {
  run: Run;
  force: boolean;
  /** A store epoch that may have been used elsewhere. */
  minEpoch: bigint;
}

/**
 * Fills all targets from their sources and reads them back. Only when everything in all of them is as it was in the
 * source do they become stores: until then each is marked, and nobody can open it.
 * @throws StoreAdminError
 */
export async function fill(jobs: readonly Job[], options: FillOptions): Promise<Moved[]> {
  for (const job of jobs) refuseUnlessFree(job, options.force);
  const { run } = options;
  const moved: Moved[] = [];
  const begun: Job[] = [];
  try {
    const epochs = new Map<Job, bigint>();
    for (const job of jobs) {
      stopIf(run.signal);
      const epoch = epochFor(job, options);
      begun.push(job);
      await job.target.begin(epoch);
      epochs.set(job, epoch);
    }
    for (const job of jobs) {
      const { database, source, target } = job;
      const summary = await pass({ run, database, doing: 'copying' }, source.read(), (records) =>
        target.write(records),
      );
      const found = await pass({ run, database, doing: 'verifying' }, target.read());
      const options = { leap: REVISION_LEAP, nowMs: run.clock.wallMs(), live: true };
      const differences = compare(summary, found, options);
      if (differences.length > 0) throw notTheSame(job, differences);
      moved.push({ database, sourceEpoch: source.epoch, epoch: epochs.get(job) ?? 0n, summary });
    }
    for (const { target } of jobs) await target.complete();
    return moved;
  } catch (error) {
    throw explained(error, begun);
  }
}

/** Reads everything once, hands it to `take`, and returns what it was. */
export async function pass(
  about: { run: Run; database: string; doing: Progress['doing'] },
  pages: AsyncIterable<readonly TransferRecord[]>,
  take: (records: readonly TransferRecord[]) => Promise<void> = async () => {},
): Promise<Summary> {
  const { run, database, doing } = about;
  const summary = newSummary(run.beganMs);
  let bytes = 0;
  for await (const records of pages) {
    stopIf(run.signal);
    await take(records);
    addTo(summary, records);
    for (const record of records) bytes += sizeOf(record);
    run.onProgress({ database, doing, records: summary.records, bytes });
  }
  return summary;
}

export function stopIf(signal: AbortSignal): void {
  if (signal.aborted) throw new StoreAdminError('interrupted', 'interrupted');
}

/** Higher than all that were ever used in either, so that no fencing token or session epoch comes a second time. */
function epochFor({ source, target }: Job, { run, minEpoch }: FillOptions): bigint {
  const seconds = BigInt(Math.floor(run.clock.wallMs() / 1_000));
  return [source.epoch, target.epoch, minEpoch, seconds].reduce((a, b) => (a > b ? a : b)) + 1n;
}

function refuseUnlessFree({ database, source, target, shown }: Job, force: boolean): void {
  if (source.identity === target.identity) {
    throw new StoreAdminError('usage', `${database}: source and target are the same`);
  }
  if (target.state === 'empty' || force) return;
  const why =
    target.state === 'filled'
      ? 'holds data: --force replaces it'
      : 'holds a copy that was not completed: --force begins it anew';
  throw new StoreAdminError('conflict', `${database} in ${shown} ${why}`);
}

function notTheSame({ database, shown }: Job, differences: readonly Difference[]): StoreAdminError {
  const all = differences.map(({ namespace, what }) => `${namespace}: ${what}`);
  const more = all.length > 3 ? ` and ${all.length - 3} more` : '';
  return new StoreAdminError(
    'failed',
    `${database} in ${shown} is not what was read: ${all.slice(0, 3).join('; ')}${more}`,
  );
}

/** Says also in which state the targets are now. */
function explained(error: unknown, begun: readonly Job[]): unknown {
  const known =
    error instanceof StoreAdminError ||
    error instanceof StoreUnavailableError ||
    error instanceof StoreFullError;
  if (begun.length === 0) return known ? asAdminError(error) : error;
  const { reason, message } = asAdminError(error);
  const names = begun.map(({ database }) => database).join(', ');
  const state = `${names} in ${begun[0]?.shown} cannot be opened until a copy or restore with --force completes`;
  return new StoreAdminError(reason, `${message}; ${state}`, { cause: error });
}

export function asAdminError(error: unknown): StoreAdminError {
  if (error instanceof StoreAdminError) return error;
  const message = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  return new StoreAdminError('failed', message, { cause: error });
}
