import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { backUpStore, restoreStore } from '../../src/store-admin/commands.ts';
import { config, filling, fillStore, lmdb, scratch, seeded, withLmdb } from './support.ts';

/** The bytes of a backup of one small and one larger database. */
let sound: Buffer;

async function backup(directory: string): Promise<string> {
  await withLmdb(directory, (store) => fillStore(store, 11, 60));
  await withLmdb(directory, (store) => fillStore(store, 12, 5), 'system_db');
  const file = join(directory, 'store.orch');
  await backUpStore(lmdb(directory), file, filling());
  return file;
}

/** Restores these bytes into an empty place; nothing may appear there. */
async function refusal(bytes: Buffer): Promise<string> {
  const directory = await scratch();
  const file = join(directory, 'damaged.orch');
  await writeFile(file, bytes);
  const restored = restoreStore(file, lmdb(join(directory, 'target')), filling());
  const error = await restored.then(
    () => new Error('it was restored'),
    (caught: Error) => caught,
  );
  expect(await readdir(directory)).toEqual(['damaged.orch']);
  return error.message.replace(file, 'FILE');
}

describe('a backup file', () => {
  beforeAll(async () => {
    const { mkdtemp, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const directory = await mkdtemp(join(tmpdir(), 'orchestrator-admin-'));
    sound = await readFile(await backup(directory));
    await rm(directory, { recursive: true });
  });

  it('is for its owner alone, and nothing else is left beside it', async () => {
    const file = await backup(await scratch());
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await readdir(join(file, '..'))).sort()).toEqual(['agents_db', 'store.orch', 'system_db']);
  });

  it('says in its header what it holds', async () => {
    expect(sound.toString('latin1', 0, 8)).toBe('ORCHBKUP');
    expect(sound.readUInt32BE(8)).toBe(1);
    const header = JSON.parse(sound.toString('utf8', 21, 21 + sound.readUInt32BE(13)));
    expect(header).toMatchObject({
      created: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      databases: [
        { name: 'agents_db', kind: 'lmdb', epoch: expect.stringMatching(/^\d+$/) },
        { name: 'system_db', namespaces: expect.arrayContaining(['default']) },
      ],
    });
  });

  it('is refused wherever it was cut off, before anything is written', async () => {
    const random = seeded(5);
    const lengths = [0, 5, 11, 12, 20, 21, sound.length - 1, sound.length - 9];
    for (let round = 0; round < 12; round++) lengths.push(random(sound.length));
    for (const length of lengths) {
      expect(await refusal(sound.subarray(0, length))).toMatch(
        /^cannot read the backup FILE: it is (cut short at byte \d+|not a backup of a store)$/,
      );
    }
  });

  it('is refused wherever a bit is another, before anything is written', async () => {
    const random = seeded(6);
    const places = [12, 13, 17, 21, sound.length - 1];
    for (let round = 0; round < 25; round++) places.push(12 + random(sound.length - 12));
    for (const place of places) {
      const damaged = Buffer.from(sound);
      damaged[place] = (damaged[place] ?? 0) ^ (1 << random(8));
      expect(await refusal(damaged), `byte ${place}`).toMatch(
        /^cannot read the backup FILE: it is (damaged|cut short) at byte \d+$/,
      );
    }
  });

  it('is refused if frames are missing, though each of the others is sound', async () => {
    const frames: { at: number; end: number; type: string }[] = [];
    for (let at = 12; at < sound.length; at = frames.at(-1)?.end ?? 0) {
      frames.push({
        at,
        end: at + 9 + sound.readUInt32BE(at + 1),
        type: sound.toString('latin1', at, at + 1),
      });
    }
    expect(frames.map(({ type }) => type).join('')).toMatch(/^HDR+EDR+EZ$/);
    for (const { at, end } of frames.slice(0, -1)) {
      const lacking = Buffer.concat([sound.subarray(0, at), sound.subarray(end)]);
      expect(await refusal(lacking)).toMatch(/it is damaged at byte \d+$/);
    }
  });

  it('is refused if it is something else, of a newer format, or longer than it says', async () => {
    expect(await refusal(Buffer.from('# a text that is long enough to be one'))).toMatch(/not a backup/);
    const newer = Buffer.from(sound);
    newer.writeUInt32BE(2, 8);
    expect(await refusal(newer)).toMatch(/its format is 2, and this version knows up to 1/);
    expect(await refusal(Buffer.concat([sound, Buffer.from('x')]))).toMatch(/something follows its end/);
  });

  it('does not make a claim of a huge frame take memory', async () => {
    const huge = Buffer.from(sound);
    huge.writeUInt32BE(0xffff_ffff, 13);
    expect(await refusal(huge)).toMatch(/it is damaged at byte 12$/);
  });

  it('is not replaced unless told to, and stays when a new one fails', async () => {
    const directory = await scratch();
    const file = await backup(directory);
    const before = await readFile(file);
    await expect(backUpStore(lmdb(directory), file, filling())).rejects.toMatchObject({ reason: 'conflict' });
    const abort = new AbortController();
    const interrupted = filling({ force: true, signal: abort.signal, onProgress: () => abort.abort() });
    await expect(backUpStore(lmdb(directory), file, interrupted)).rejects.toMatchObject({
      reason: 'interrupted',
    });
    expect(await readFile(file)).toEqual(before);
    expect((await readdir(directory)).sort()).toEqual(['agents_db', 'store.orch', 'system_db']);
    await backUpStore(lmdb(directory), file, filling({ force: true }));
  });

  it('cannot be read where there is none', async () => {
    await expect(restoreStore('/nowhere/f', { store: 'lmdb:/nowhere', config }, filling())).rejects.toThrow(
      'cannot read the backup /nowhere/f: there is no such file',
    );
  });
});
