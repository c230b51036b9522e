import { readdir, readFile, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';

/** What this process takes of its machine, and what it may; undefined: cannot be known on this system. */
export interface HostReading {
  nodeVersion: string;
  openFiles: number | undefined;
  maxFiles: number | undefined;
  memoryBytes: number;
  maxMemoryBytes: number | undefined;
}

/** The disk that a directory is on. */
export interface DiskReading {
  path: string;
  freeBytes: number;
  totalBytes: number;
  /** By the files directly in the directory. */
  usedBytes: number;
}

export async function readHost(): Promise<HostReading> {
  const [openFiles, maxFiles] = await Promise.all([countOpenFiles(), readFileLimit()]);
  const constrained = process.constrainedMemory();
  return {
    nodeVersion: process.version,
    openFiles,
    maxFiles,
    memoryBytes: process.memoryUsage.rss(),
    // Without a limit libuv answers 0, or more than any machine has.
    maxMemoryBytes: constrained > 0 && constrained < 2 ** 50 ? constrained : undefined,
  };
}

/** Those directories that can be looked at. */
export async function readDisks(directories: readonly string[]): Promise<DiskReading[]> {
  const readings = await Promise.all(
    directories.map(async (path): Promise<DiskReading[]> => {
      try {
        const { bavail, blocks, bsize } = await statfs(path);
        return [
          { path, freeBytes: bavail * bsize, totalBytes: blocks * bsize, usedBytes: await sizeOf(path) },
        ];
      } catch {
        return [];
      }
    }),
  );
  return readings.flat();
}

async function sizeOf(path: string): Promise<number> {
  const names = await readdir(path);
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(path, name)).then(
        // What is allocated, not the length: the files of an embedded store have holes.
        ({ blocks }) => blocks * 512,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** Linux and macOS name the open files of a process in a directory. */
async function countOpenFiles(): Promise<number | undefined> {
  for (const path of ['/proc/self/fd', '/dev/fd']) {
    const names = await readdir(path).catch(() => undefined);
    if (names !== undefined) return names.length;
  }
  return undefined;
}

async function readFileLimit(): Promise<number | undefined> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => undefined);
  return limits === undefined ? undefined : parseFileLimit(limits);
}

/** The soft limit of open files in what /proc/self/limits says; undefined: there is none. */
export function parseFileLimit(limits: string): number | undefined {
  const found = /^Max open files\s+(\d+)/m.exec(limits);
  return found?.[1] === undefined ? undefined : Number(found[1]);
}
