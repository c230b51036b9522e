import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** How to start a redis-server. */
export interface RedisBinary {
  command: string;
  env: NodeJS.ProcessEnv;
}

const checkout = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');
const cache = join(checkout, '.cache', 'redis');
const installed = join(cache, 'root');

/** One on PATH, else the one that an earlier run put into `.cache/redis`. */
export function findRedis(): RedisBinary | undefined {
  for (const directory of (process.env.PATH ?? '').split(':')) {
    const command = join(directory, 'redis-server');
    if (directory !== '' && isExecutable(command)) return { command, env: process.env };
  }
  const command = join(installed, 'usr', 'bin', 'redis-server');
  if (!isExecutable(command)) return undefined;
  const binary = { command, env: { ...process.env, LD_LIBRARY_PATH: libraryPath(installed) } };
  // A cache that came from another machine may not run here.
  return spawnSync(command, ['--version'], { env: binary.env }).status === 0 ? binary : undefined;
}

/**
 * Finds a redis-server or fetches one with apt, unpacked into `.cache/redis`: no root rights, no service, nothing
 * changed on the system. Throws with what a person can do when neither works.
 */
export function installRedis(): RedisBinary {
  const found = findRedis();
  if (found) return found;
  const reason = fetchWithApt();
  const binary = reason === undefined ? findRedis() : undefined;
  if (binary) return binary;
  throw new Error(
    `these tests need redis-server 6.2 or later, which is not on PATH, and ${reason ?? 'the fetched one does not run'}. ` +
      'Install Redis (Debian: apt-get install redis-server; macOS: brew install redis) and run them again.',
  );
}

/** Returns why it did not work. */
function fetchWithApt(): string | undefined {
  for (const tool of ['apt-get', 'dpkg']) {
    if (spawnSync(tool, ['--version']).error) return `it cannot be fetched because ${tool} is missing`;
  }
  mkdirSync(cache, { recursive: true });
  // Several test runs may do this at once: each works in a directory of its own, the last step is one rename.
  const work = mkdtempSync(join(cache, 'fetch-'));
  try {
    const debs = download(work);
    if (typeof debs === 'string') return debs;
    const root = join(work, 'root');
    for (const deb of debs) {
      const unpacked = spawnSync('dpkg', ['-x', deb, root], { encoding: 'utf8', timeout: 60_000 });
      if (unpacked.status !== 0) return `dpkg could not unpack ${deb}: ${lastLine(unpacked.stderr)}`;
    }
    rmSync(installed, { recursive: true, force: true });
    renameSync(root, installed);
    return undefined;
  } catch (error) {
    // Somebody else's rename came first.
    return existsSync(installed) ? undefined : `fetching it failed: ${String(error)}`;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** The packages that redis-server needs beyond those of the system, or why they cannot be had. */
function download(work: string): string[] | string {
  const archives = join(work, 'cache', 'archives');
  mkdirSync(join(work, 'state', 'lists', 'partial'), { recursive: true });
  mkdirSync(join(archives, 'partial'), { recursive: true });
  const apt = (args: string[], timeoutMs: number) =>
    spawnSync(
      'apt-get',
      [
        ...['-o', `Dir::State=${join(work, 'state')}`, '-o', 'Dir::State::status=/var/lib/dpkg/status'],
        ...['-o', `Dir::Cache=${join(work, 'cache')}`, '-o', 'Debug::NoLocking=1'],
        // As root apt would fetch as a user who may not write here.
        ...['-o', 'APT::Sandbox::User=root', '-o', 'Acquire::Retries=2', '-o', 'Acquire::http::Timeout=20'],
        ...['-qq', '-y', ...args],
      ],
      { encoding: 'utf8', timeout: timeoutMs, env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' } },
    );
  const updated = apt(['update'], 120_000);
  if (updated.status !== 0) return `apt-get update failed: ${lastLine(updated.stderr)}`;
  const fetched = apt(['--no-install-recommends', '--download-only', 'install', 'redis-server'], 180_000);
  if (fetched.status !== 0) return `apt-get could not download it: ${lastLine(fetched.stderr)}`;
  const debs = readdirSync(archives).filter((name) => name.endsWith('.deb'));
  return debs.length > 0 ? debs.map((name) => join(archives, name)) : 'apt-get downloaded nothing';
}

function libraryPath(root: string): string {
  const lib = join(root, 'usr', 'lib');
  const architectures = existsSync(lib) ? readdirSync(lib).map((name) => join(lib, name)) : [];
  return [lib, ...architectures, process.env.LD_LIBRARY_PATH].filter(Boolean).join(':');
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function lastLine(output: string | null): string {
  return output?.trim().split('\n').at(-1) ?? 'timed out';
}
