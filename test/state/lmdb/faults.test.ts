import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Environment } from '../../../src/state/lmdb/environment.ts';
import { GroupWriter } from '../../../src/state/lmdb/group-writer.ts';
import { type Store, StoreFullError, StoreUnavailableError } from '../../../src/state/store.ts';
import { bytes, eventually, expectSameContent, put, RecordingFollower } from '../../contract/support.ts';
import { gate, openStore, scratch } from './support.ts';

const system = (code: string): Error => Object.assign(new Error(`${code}: from the test`), { code });
const caught = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );
const untilAvailable = (store: Store) => eventually(async () => store.status().available || undefined);

it('leaves nothing of a group in which one job throws', async () => {
  const environment = await Environment.open({ directory: await scratch(), database: 'd', wallMs: Date.now });
  onTestFinished(() => environment.close());
  const failures: unknown[] = [];
  const writer = new GroupWriter({
    tree: () => environment.tree,
    onStored: () => {},
    onSync: undefined,
    onFailure: async (error) => {
      failures.push(error);
      return { tried: new Error('tried'), waiting: new Error('waiting'), recovered: Promise.resolve() };
    },
  });
  const first = writer.run(1, () => environment.tree.putSync(Buffer.from('first'), Buffer.from('x')));
  const second = writer.run(1, () => {
    throw system('EXAMPLE');
  });
  expect(await Promise.all([caught(first), caught(second)])).toEqual([
    new Error('tried'),
    new Error('tried'),
  ]);
  expect(failures).toHaveLength(1);
  expect(environment.tree.get(Buffer.from('first'))).toBeUndefined();
  await writer.run(1, () => environment.tree.putSync(Buffer.from('later'), Buffer.from('x')));
  expect(environment.tree.get(Buffer.from('later'))).toBeDefined();
});

it('reports an unknown outcome when a sync fails, refuses writes and goes on reading until it has recovered', async () => {
  let fail = false;
  const store = await openStore(await scratch(), {
    onSync: async () => {
      if (fail) throw system('EIO');
    },
  });
  const follower = new RecordingFollower();
  await store.follow(follower);
  await put(store, 'n', 'a', '1');
  fail = true;
  const error = await caught(put(store, 'n', 'b', '2'));
  expect(error).toBeInstanceOf(StoreUnavailableError);
  expect((error as StoreUnavailableError).outcome).toBe('unknown');
  expect(store.status()).toMatchObject({
    available: false,
    detail: expect.stringContaining('a write failed'),
  });
  const refused = await caught(put(store, 'n', 'c', '3'));
  expect((refused as StoreUnavailableError).outcome).toBe('not_applied');
  expect(await eventually(async () => store.get('n', 'a').catch(() => undefined))).toBeDefined();
  fail = false;
  await untilAvailable(store);
  await put(store, 'n', 'd', '4');
  // The commit of unknown outcome was stored after all: followers have heard of it, in its place.
  await expectSameContent(store, 'n', follower);
  expect(follower.batches.map(({ changes }) => changes[0]?.key)).toEqual(['a', 'b', 'd']);
});

it('says that the disk is full, whichever way the system says so', async () => {
  let code: string | undefined = 'ENOSPC';
  const store = await openStore(await scratch(), {
    onSync: async () => {
      if (code) throw system(code);
    },
  });
  expect(await caught(put(store, 'n', 'a', '1'))).toBeInstanceOf(StoreFullError);
  expect(await caught(put(store, 'n', 'a', '1'))).toBeInstanceOf(StoreFullError);
  expect(store.status().detail).toBe('the disk is full');
  code = undefined;
  await untilAvailable(store);
  await put(store, 'n', 'b', '1');
});

it('refuses more writes than may wait, and loses none of those it took', async () => {
  const held = gate();
  const store = await openStore(await scratch(), { onSync: () => held.opened });
  const commits = Array.from({ length: 12_000 }, (_, index) => caught(put(store, 'n', `k${index}`, 'v')));
  held.open();
  const errors = (await Promise.all(commits)).filter((error) => error !== undefined);
  expect(errors.length).toBeGreaterThan(0);
  for (const error of errors) expect(error).toMatchObject({ outcome: 'not_applied' });
  expect((await store.position('n')).revision).toBe(BigInt(12_000 - errors.length));
});

it('closes while it recovers', async () => {
  const store = await openStore(await scratch(), {
    onSync: async () => {
      throw system('EIO');
    },
  });
  await caught(put(store, 'n', 'a', '1'));
  await store.close();
  expect(store.status().available).toBe(false);
});

/** A file system of 3 MiB, if this process may mount one. */
function smallDisk(directory: string): string | undefined {
  const disk = join(directory, 'disk');
  mkdirSync(disk);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk], { stdio: 'pipe' });
  } catch {
    return undefined;
  }
  onTestFinished(() => {
    execFileSync('umount', ['-l', disk]);
  });
  return disk;
}

it('on a disk that is really full acknowledges nothing that is not there, and recovers with space', async (context) => {
  const disk = smallDisk(await scratch());
  if (!disk) return context.skip('needs the right to mount a tmpfs (root on Linux)');
  const ballast = join(disk, 'ballast');
  writeFileSync(ballast, Buffer.alloc(1 << 20));
  const store = await openStore(disk, { directory: disk });
  const acknowledged: string[] = [];
  let error: unknown;
  for (let index = 0; error === undefined && index < 1_000; index++) {
    const key = `k${index}`;
    error = await caught(store.commit({ namespace: 'n', puts: [{ key, value: bytes('x'.repeat(10_000)) }] }));
    if (error === undefined) acknowledged.push(key);
  }
  expect(error).toBeInstanceOf(StoreFullError);
  expect(statfsSync(disk).bsize).toBeGreaterThan(0);
  expect(acknowledged.length).toBeGreaterThan(10);
  const keys = async () =>
    (await store.scan('n', { prefix: '', limit: 10_000 })).entries.map(({ key }) => key);
  expect((await eventually(async () => keys().catch(() => undefined))).sort()).toEqual(
    [...acknowledged].sort(),
  );
  rmSync(ballast);
  await untilAvailable(store);
  await put(store, 'n', 'after', 'x');
  await store.close();
  const again = await openStore(disk, { directory: disk });
  expect((await again.scan('n', { prefix: '', limit: 10_000 })).entries).toHaveLength(
    acknowledged.length + 1,
  );
  expect((await again.position('n')).revision).toBe(BigInt(acknowledged.length + 1));
  await again.close();
});
