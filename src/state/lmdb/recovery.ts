import { type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from '../../lib/logger.ts';
import { StoreFullError, StoreUnavailableError } from '../store.ts';
import type { Environment } from './environment.ts';
import { PROBE_KEY } from './keys.ts';
import { DATA_FILE, reasonOf } from './preflight.ts';

const PROBE_BYTES = 256 << 10;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5_000;
/** No space, quota used up, file size limit, map full: the errno values of Linux, and LMDB's. */
const FULL_CODES: readonly unknown[] = [28, 122, 27, -30792, 'ENOSPC', 'EDQUOT', 'EFBIG'];

export interface WriteFailure {
  /** One line for operators. */
  detail: string;
  full: boolean;
}

/** What went wrong with a transaction. LMDB says "I/O error" where a full disk cut a write short, so the disk is asked. */
export async function explain(error: unknown, path: string): Promise<WriteFailure> {
  const { commitError } = error as { commitError?: Promise<never> };
  const cause: unknown = commitError ? await commitError.catch((inner: unknown) => inner) : error;
  const probe = FULL_CODES.includes((cause as { code?: unknown }).code)
    ? cause
    : ((await tryDisk(path)) ?? cause);
  const full = FULL_CODES.includes((probe as { code?: unknown }).code);
  return { full, detail: full ? 'the disk is full' : `a write failed: ${reasonOf(cause)}` };
}

/** Tries whether the disk takes more, and whether the data may grow; resolves with the error if not. */
async function tryDisk(path: string): Promise<unknown> {
  return (await tryWrite(path)) ?? (await tryGrow(join(path, DATA_FILE)));
}

/**
 * Lengthens the data file and takes that back: a limit on a file's size is not seen beside it. Nobody writes meanwhile
 * (the writer has failed and waits for recovery), and LMDB reads nothing past its last page.
 */
async function tryGrow(file: string): Promise<unknown> {
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'r+');
    const { size } = await handle.stat();
    await handle.truncate(size + PROBE_BYTES);
    await handle.truncate(size);
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await handle?.close().catch(() => {});
  }
}

/** Writes and syncs a small file beside the data. */
async function tryWrite(path: string): Promise<unknown> {
  const file = join(path, 'probe.tmp');
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'w');
    await handle.writeFile(Buffer.alloc(PROBE_BYTES));
    await handle.sync();
    return undefined;
  } catch (error) {
    return error;
  } finally {
    await handle?.close().catch(() => {});
    await rm(file, { force: true }).catch(() => {});
  }
}

/** What callers get: those whose commit was tried, and those who come while the store recovers. */
export function errorsOf({ full, detail }: WriteFailure, cause: unknown): { tried: Error; waiting: Error } {
  if (full) {
    const error = new StoreFullError(`${detail}; nothing was stored`, { cause });
    return { tried: error, waiting: error };
  }
  const common = { message: detail, retryAfterMs: 1_000, cause };
  return {
    tried: new StoreUnavailableError({ ...common, outcome: 'unknown' }),
    waiting: new StoreUnavailableError({ ...common, outcome: 'not_applied' }),
  };
}

export interface RecoverOptions {
  environment: Environment;
  log: Logger;
  /** Called when the files are open again: reads work from then on. */
  onReopened: () => void;
  signal: AbortSignal;
}

/** Opens the files anew and tries, more and more seldom, until the disk takes a write. Ends early when aborted. */
export async function recover(options: RecoverOptions): Promise<void> {
  const { environment, signal, log } = options;
  let stale = true;
  for (let delayMs = FIRST_RETRY_MS; !signal.aborted; delayMs = Math.min(delayMs * 2, LAST_RETRY_MS)) {
    try {
      if (stale) {
        await environment.reopen();
        options.onReopened();
        stale = false;
      }
      await sleep(delayMs, signal);
      if (signal.aborted) return;
      // A plain file first: lmdb-js prints every failed commit.
      if ((await tryDisk(environment.path)) !== undefined) continue;
      const { tree } = environment;
      await tree.childTransaction(() => tree.putSync(PROBE_KEY, Buffer.from('ok')));
      return;
    } catch (error) {
      stale = true;
      log.debug({ reason: reasonOf(error) }, 'the store does not take writes yet');
      await sleep(delayMs, signal);
    }
  }
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
    if (signal.aborted) done();
  });
}
