import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLogger } from '../../../src/lib/logger.ts';
import { openLmdbStore } from '../../../src/state/lmdb/lmdb-store.ts';
import type { LmdbStoreOptions } from '../../../src/state/lmdb/options.ts';
import type { Store } from '../../../src/state/store.ts';

const script = fileURLToPath(new URL('./child.mjs', import.meta.url));
const built = fileURLToPath(new URL('../../../dist/src/state/lmdb/lmdb-store.js', import.meta.url));

/** A directory that is removed when the test ends. */
export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'orchestrator-lmdb-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Opens a store that is closed when the test ends. */
export async function openStore(directory: string, options: Partial<LmdbStoreOptions> = {}): Promise<Store> {
  const common = { directory, database: 'agents_db', clock: systemClock, log: silentLogger };
  const store = await openLmdbStore({ ...common, ...options });
  onTestFinished(() => store.close());
  return store;
}

export interface ChildStore {
  lines: string[];
  /** Resolves with the first line that starts so; rejects if the process ends before. */
  line: (start: string) => Promise<string>;
  /** Sends a signal and waits for the end. */
  end: (signal: NodeJS.Signals) => Promise<void>;
}

/** Starts `child.mjs`, which is killed when the test ends. */
export function startChild(
  directory: string,
  mode: 'hold' | 'commit',
  env: NodeJS.ProcessEnv = {},
): ChildStore {
  if (!existsSync(built)) throw new Error('the store is not built: run npm run build');
  const child: ChildProcess = spawn(process.execPath, [script, directory, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...env },
  });
  const lines: string[] = [];
  const looks = new Set<() => void>();
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      resolve();
      for (const look of [...looks]) look();
    });
  });
  if (child.stdout) {
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      for (const look of [...looks]) look();
    });
  }
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await ended;
  };
  onTestFinished(() => end('SIGKILL'));
  const line = (start: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const found = lines.find((candidate) => candidate.startsWith(start));
        if (found === undefined && child.exitCode === null && child.signalCode === null) return;
        looks.delete(look);
        if (found === undefined) reject(new Error(`the child ended without "${start}": ${lines.slice(-3)}`));
        else resolve(found);
      };
      looks.add(look);
      look();
    });
  return { lines, line, end };
}

/** A promise with its resolver. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
