import { execFileSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { ChangeBatch } from '../../../src/state/store.ts';
import { bytes, put, RecordingFollower } from '../../contract/support.ts';
import { gate, openStore, scratch, startChild } from './support.ts';

it('neither answers nor tells followers before the sync', async () => {
  let synced = gate();
  let syncs = 0;
  const store = await openStore(await scratch(), {
    onSync: () => {
      syncs++;
      return synced.opened;
    },
  });
  const follower = new RecordingFollower();
  await store.follow(follower);
  let answered = 0;
  const first = put(store, 'n', 'a', '1').then(() => answered++);
  while (syncs === 0) await new Promise((resolve) => setImmediate(resolve));
  const second = put(store, 'n', 'b', '2').then(() => answered++);
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect([answered, follower.batches.length, syncs]).toEqual([0, 0, 1]);
  const release = synced;
  synced = gate();
  release.open();
  await first;
  expect([answered, follower.batches.length]).toEqual([1, 1]);
  synced.open();
  await second;
  expect(follower.batches.map(({ revision }: ChangeBatch) => revision)).toEqual([1n, 2n]);
});

it('shares one sync among the commits of one turn, and among those that come while one is under way', async () => {
  let syncs = 0;
  const store = await openStore(await scratch(), {
    onSync: async () => {
      syncs++;
    },
  });
  await Promise.all(Array.from({ length: 500 }, (_, index) => put(store, 'n', `k${index}`, 'v')));
  expect(syncs).toBe(1);
  await Promise.all([
    ...Array.from({ length: 10 }, (_, index) => put(store, 'n', `l${index}`, 'v')),
    new Promise((resolve) => setImmediate(resolve)).then(() =>
      Promise.all(Array.from({ length: 300 }, (_, index) => put(store, 'n', `m${index}`, 'v'))),
    ),
  ]);
  expect(syncs).toBeLessThanOrEqual(3);
});

it('does not sync for a commit that is refused', async () => {
  const store = await openStore(await scratch());
  await put(store, 'n', 'a', '1');
  const outcome = await store.commit({
    namespace: 'n',
    checks: [{ key: 'a', revision: 9n }],
    puts: [{ key: 'b', value: bytes('x') }],
  });
  expect(outcome.kind).toBe('conflict');
  expect(await store.get('n', 'b')).toBeUndefined();
});

it('has every acknowledged commit after SIGKILL, round after round', { timeout: 60_000 }, async () => {
  const directory = await scratch();
  const acknowledged = new Map<string, bigint>();
  for (let round = 0; round < 5; round++) {
    const child = startChild(directory, 'commit');
    await child.line('ack');
    const target = 300 + round * 200;
    while (child.lines.length < target) await new Promise((resolve) => setTimeout(resolve, 2));
    await child.end('SIGKILL');
    for (const line of child.lines) {
      const [word, revision, key] = line.split(' ');
      if (word === 'ack' && key !== undefined) acknowledged.set(key, BigInt(revision ?? 0));
    }
    const store = await openStore(directory);
    const missing: string[] = [];
    for (const [key, revision] of acknowledged) {
      if ((await store.get('n', key))?.revision !== revision) missing.push(key);
    }
    expect(missing).toEqual([]);
    const { revision } = await store.position('n');
    const newest = await store.readSeries('n', 's', { limit: 1, reverse: true });
    expect(newest[0]?.revision, 'the series ends with the last commit').toBe(revision);
    await store.close();
  }
  expect(acknowledged.size).toBeGreaterThan(1_000);
});

const shim = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>
int fdatasync(int fd) {
  static int (*real)(int);
  const char *gate = getenv("SYNC_GATE");
  if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
  while (gate && access(gate, F_OK) == 0) usleep(1000);
  return real(fd);
}
`;

/** The C compiler, if this is Linux and has one. */
function compileShim(directory: string): string | undefined {
  const library = join(directory, 'gate.so');
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-x', 'c', '-o', library, '-'], { input: shim, stdio: 'pipe' });
  } catch {
    return undefined;
  }
  return process.platform === 'linux' && existsSync(library) ? library : undefined;
}

it('answers only after the fdatasync of the operating system', { timeout: 60_000 }, async (context) => {
  const directory = await scratch();
  const library = compileShim(directory);
  if (!library) return context.skip('needs Linux and a C compiler (cc)');
  const closed = join(directory, 'sync-gate');
  const data = join(directory, 'data');
  const child = startChild(data, 'commit', { LD_PRELOAD: library, SYNC_GATE: closed });
  await child.line('ack');
  writeFileSync(closed, '');
  // What was past the gate comes through; then nothing more does.
  let before = -1;
  while (before !== child.lines.length) {
    before = child.lines.length;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  expect(child.lines.length).toBe(before);
  await rm(closed);
  while (child.lines.length < before + 100) await new Promise((resolve) => setTimeout(resolve, 2));
  await child.end('SIGKILL');
});
