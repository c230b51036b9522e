import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { describe, expect, it } from 'vitest';
import { META_KEY } from '../../../src/state/lmdb/keys.ts';
import { FORMAT, writeMeta } from '../../../src/state/lmdb/meta.ts';
import { StoreOpenError } from '../../../src/state/store.ts';
import { put } from '../../contract/support.ts';
import { openStore, scratch } from './support.ts';

const binary = {
  encoding: 'binary',
  keyEncoding: 'binary',
  overlappingSync: false,
  noSubdir: false,
} as const;

async function foreign(
  directory: string,
  write: (tree: ReturnType<typeof open>) => Promise<unknown>,
): Promise<void> {
  const tree = open({ path: join(directory, 'agents_db'), ...binary });
  await write(tree);
  await tree.close();
}

async function refusal(directory: string): Promise<string> {
  const error = await openStore(directory).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(StoreOpenError);
  const { message } = error as Error;
  expect(message).not.toContain('\n');
  expect(message).toContain(directory);
  return message;
}

describe('opening', () => {
  it('gives a new store its epoch once: the seconds of its creation', async () => {
    const directory = await scratch();
    const clock = { wallMs: () => 1_700_000_123_456, monoMs: () => performance.now() };
    const first = await openStore(directory, { clock });
    expect(first.status().epoch).toBe(1_700_000_123n);
    await first.close();
    expect((await openStore(directory)).status().epoch).toBe(1_700_000_123n);
  });

  it('refuses a format that only a newer version knows', async () => {
    const directory = await scratch();
    await foreign(directory, (tree) => tree.put(META_KEY, writeMeta({ format: FORMAT + 1, epoch: '1' })));
    expect(await refusal(directory)).toContain(`its format is ${FORMAT + 1}`);
  });

  it('refuses an LMDB file of something else', async () => {
    const directory = await scratch();
    await foreign(directory, (tree) => tree.put(Buffer.from('theirs'), Buffer.from('data')));
    expect(await refusal(directory)).toContain('data of something else');
  });

  it('refuses a meta record that is none', async () => {
    const directory = await scratch();
    await foreign(directory, (tree) => tree.put(META_KEY, Buffer.from('{"format":')));
    expect(await refusal(directory)).toContain('data of something else');
  });

  it.each([
    ['random bytes', Buffer.from(Array.from({ length: 20_000 }, (_, index) => (index * 37) & 0xff))],
    ['a few bytes', Buffer.from('hello')],
    ['zeros', Buffer.alloc(16_384)],
  ])('refuses a data file of %s', async (_, content) => {
    const directory = await scratch();
    mkdirSync(join(directory, 'agents_db'));
    writeFileSync(join(directory, 'agents_db', 'data.mdb'), content);
    expect(await refusal(directory)).toContain('not an LMDB file');
  });

  it('refuses a data file that was cut short', async () => {
    const directory = await scratch();
    const store = await openStore(directory);
    for (let index = 0; index < 50; index++) await put(store, 'n', `k${index}`, 'x'.repeat(5_000));
    await store.close();
    truncateSync(join(directory, 'agents_db', 'data.mdb'), 16_384);
    expect(await refusal(directory)).toContain('cut short');
  });

  it('begins anew on an empty data file, as a crash at creation leaves it', async () => {
    const directory = await scratch();
    mkdirSync(join(directory, 'agents_db'));
    writeFileSync(join(directory, 'agents_db', 'data.mdb'), '');
    expect(await put(await openStore(directory), 'n', 'k', 'v')).toBe(1n);
  });

  it('refuses a path that is a file, or goes through one', async () => {
    const directory = await scratch();
    writeFileSync(join(directory, 'agents_db'), 'a file');
    expect(await refusal(directory)).toContain('a file, not a directory');
    const below = join(directory, 'agents_db', 'below');
    expect(await refusal(below)).toContain('a file, not a directory');
  });

  it('refuses a directory that takes no files', async () => {
    // Nobody, not even root, can make a directory there.
    expect(await refusal('/proc/self/orchestrator')).toMatch(/cannot be made there|permission denied/);
  });
});
