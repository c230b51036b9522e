import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { openLmdbSource, openLmdbTarget } from '../../src/state/lmdb/transfer.ts';
import { StoreOpenError } from '../../src/state/store.ts';
import type { TransferRecord, TransferTarget } from '../../src/state/transfer.ts';
import { backUpStore, copyStore, restoreStore, verifyStores } from '../../src/store-admin/commands.ts';
import { fill } from '../../src/store-admin/move.ts';
import { contentOf, filling, fillStore, lmdb, openLmdb, scratch, withLmdb } from './support.ts';

const bytes = (text: string) => new TextEncoder().encode(text);

async function filled(seed = 7): Promise<string> {
  const directory = await scratch();
  await withLmdb(directory, (store) => fillStore(store, seed));
  return directory;
}

describe('copying a store', () => {
  it('takes everything along: entries with their revisions, series, requests and live records', async () => {
    const [from, to] = [await filled(), await scratch()];
    await copyStore(lmdb(from), lmdb(to), filling());
    const before = await withLmdb(from, (store) => contentOf(store));
    expect(await withLmdb(to, (store) => contentOf(store))).toEqual(before);
    const { databases } = await verifyStores(lmdb(from), lmdb(to), filling());
    expect(databases.map(({ database, differences }) => [database, differences])).toEqual([
      ['agents_db', []],
    ]);
  });

  it('begins a higher store epoch, goes on with higher revisions, and refuses the cursors of before', async () => {
    const [from, to] = [await filled(), await scratch()];
    const old = await withLmdb(from, (store) => store.position('default'));
    const [moved] = await copyStore(lmdb(from), lmdb(to), filling());
    await withLmdb(to, async (store) => {
      expect(store.status().epoch).toBe(moved?.epoch);
      expect(store.status().epoch).toBeGreaterThan(old.epoch);
      expect(await store.changes('default', old, 10)).toEqual({ kind: 'epoch', epoch: moved?.epoch });
      const position = await store.position('default');
      expect(position.revision).toBe(old.revision + 1_000_000n);
      const { entries } = await store.scan('default', { prefix: '', limit: 1 });
      const [entry] = entries;
      if (!entry) throw new Error('no entry');
      // What was read before the move can be changed after it.
      const checks = [{ key: entry.key, revision: entry.revision }];
      const outcome = await store.commit({
        namespace: 'default',
        checks,
        puts: [{ ...entry, value: bytes('new') }],
      });
      expect(outcome).toMatchObject({ kind: 'committed', revision: position.revision + 1n });
      expect(await store.changes('default', position, 10)).toMatchObject({ kind: 'page', complete: true });
    });
  });

  it('begins an epoch above one that the target had, and above one that is said to have been used', async () => {
    const [from, to, third] = [await filled(), await scratch(), await scratch()];
    const [first] = await copyStore(lmdb(from), lmdb(to), filling({ minEpoch: 5_000_000_000n }));
    expect(first?.epoch).toBe(5_000_000_001n);
    const [second] = await copyStore(lmdb(from), lmdb(to), filling({ force: true }));
    expect(second?.epoch).toBe(5_000_000_002n);
    const [back] = await copyStore(lmdb(to), lmdb(third), filling());
    expect(back?.epoch).toBe(5_000_000_003n);
  });

  it('goes on answering repeated requests with the first answer', async () => {
    const [from, to] = [await scratch(), await scratch()];
    const request = { id: 'r', fingerprint: bytes('f'), response: bytes('first'), ttlMs: 60_000 };
    await withLmdb(from, (store) => store.commit({ namespace: 'n', request }));
    await copyStore(lmdb(from), lmdb(to), filling());
    const again = await withLmdb(to, (store) => store.commit({ namespace: 'n', request }));
    expect(again).toMatchObject({ kind: 'repeated', revision: 1n });
  });

  it('forgets requests when they would have been forgotten', async () => {
    const [from, to] = [await scratch(), await scratch()];
    const request = { id: 'r', fingerprint: bytes('f'), response: bytes('x'), ttlMs: 40 };
    await withLmdb(from, (store) => store.commit({ namespace: 'n', request }));
    await new Promise((resolve) => setTimeout(resolve, 50));
    await copyStore(lmdb(from), lmdb(to), filling());
    expect(await withLmdb(to, (store) => store.getRequest('n', 'r'))).toBeUndefined();
  });

  it('leaves a target alone that holds data, and replaces it when told to', async () => {
    const [from, to] = [await filled(1), await filled(2)];
    const before = await withLmdb(to, (store) => contentOf(store));
    await expect(copyStore(lmdb(from), lmdb(to), filling())).rejects.toMatchObject({
      reason: 'conflict',
      message: `agents_db in lmdb:${to} holds data: --force replaces it`,
    });
    expect(await withLmdb(to, (store) => contentOf(store))).toEqual(before);
    await copyStore(lmdb(from), lmdb(to), filling({ force: true }));
    const source = await withLmdb(from, (store) => contentOf(store));
    expect(await withLmdb(to, (store) => contentOf(store))).toEqual(source);
  });

  it('refuses a store that a service has open, a store as its own copy, and one that is not there', async () => {
    const [from, to] = [await filled(), await scratch()];
    const open = await openLmdb(from);
    await expect(copyStore(lmdb(from), lmdb(to), filling())).rejects.toThrow(/in use by process/);
    await open.close();
    await expect(copyStore(lmdb(from), lmdb(`${from}/.`), filling({ force: true }))).rejects.toMatchObject({
      reason: 'usage',
    });
    await expect(copyStore(lmdb(`${to}/none`), lmdb(from), filling())).rejects.toThrow(
      `there is no store in lmdb:${to}/none: looked for agents_db, system_db, monitoring_db`,
    );
    expect(existsSync(join(to, 'none'))).toBe(false);
  });

  it('copies the databases that are asked for', async () => {
    const [from, to] = [await filled(), await scratch()];
    const puts = [{ key: 'k', value: bytes('v') }];
    await withLmdb(from, (store) => store.commit({ namespace: 'n', puts }), 'other_db');
    const moved = await copyStore(lmdb(from), lmdb(to), filling({ databases: ['other_db'] }));
    expect(moved.map(({ database }) => database)).toEqual(['other_db']);
    expect(await withLmdb(to, (store) => store.get('n', 'k'), 'other_db')).toMatchObject({ revision: 1n });
    expect(existsSync(join(to, 'agents_db'))).toBe(false);
  });
});

describe('a copy that was not completed', () => {
  it('cannot be opened as a store, nor copied on, until one with --force is', async () => {
    const [from, to, third] = [await filled(), await scratch(), await scratch()];
    const abort = new AbortController();
    const interrupted = filling({ signal: abort.signal, onProgress: () => abort.abort() });
    await expect(copyStore(lmdb(from), lmdb(to), interrupted)).rejects.toMatchObject({
      reason: 'interrupted',
      message: expect.stringContaining('cannot be opened until a copy or restore with --force completes'),
    });
    await expect(openLmdb(to)).rejects.toThrow(StoreOpenError);
    await expect(openLmdb(to)).rejects.toThrow(/a copy or restore into it, begun .* was not completed/);
    await expect(copyStore(lmdb(to), lmdb(third), filling())).rejects.toThrow(/was not completed/);
    await expect(backUpStore(lmdb(to), join(third, 'f'), filling())).rejects.toThrow(/was not completed/);
    await expect(copyStore(lmdb(from), lmdb(to), filling())).rejects.toMatchObject({ reason: 'conflict' });
    await copyStore(lmdb(from), lmdb(to), filling({ force: true }));
    const source = await withLmdb(from, (store) => contentOf(store));
    expect(await withLmdb(to, (store) => contentOf(store))).toEqual(source);
  });

  it('is what is left of several databases as long as one of them is not there yet', async () => {
    const [from, to] = [await filled(), await scratch()];
    await withLmdb(from, (store) => fillStore(store, 3), 'system_db');
    const abort = new AbortController();
    const interrupted = filling({
      signal: abort.signal,
      onProgress: ({ database }) => database === 'system_db' && abort.abort(),
    });
    await expect(copyStore(lmdb(from), lmdb(to), interrupted)).rejects.toMatchObject({
      reason: 'interrupted',
    });
    await expect(openLmdb(to, 'agents_db')).rejects.toThrow(/was not completed/);
    await expect(openLmdb(to, 'system_db')).rejects.toThrow(/was not completed/);
  });

  const faults: [string, (record: TransferRecord) => TransferRecord[], RegExp][] = [
    ['loses an entry', (record) => (record.kind === 'entry' ? [] : [record]), /entries: \d+ and 0/],
    [
      'changes a value',
      (record) => [record.kind === 'series' ? { ...record, value: bytes('other') } : record],
      /series: \d+ each, with other content/,
    ],
    [
      'changes a revision',
      (record) => [record.kind === 'entry' ? { ...record, revision: record.revision + 1n } : record],
      /entries: \d+ each, with other content/,
    ],
    [
      'forgets requests',
      (record) => (record.kind === 'request' ? [] : [record]),
      /remembered requests: \d+ and 0/,
    ],
    [
      'falls back in revisions',
      (record) => [record.kind === 'namespace' ? { ...record, revision: 1n } : record],
      /last revision: \d+, and 1000001 instead of/,
    ],
    ['loses a namespace', (record) => (record.namespace === '}' ? [] : [record]), /}: is only in the first/],
  ];

  it.each(faults)(
    'is what a target that %s stays: it is found by reading it back',
    async (_, fault, message) => {
      const [from, to] = [await filled(), await scratch()];
      const place = { database: 'agents_db', clock: systemClock };
      const source = await openLmdbSource({ directory: from, ...place, exclusive: true });
      const target = await openLmdbTarget({ directory: to, ...place });
      const faulty: TransferTarget = {
        ...{ kind: target.kind, identity: target.identity, state: target.state, epoch: target.epoch },
        begin: (epoch) => target.begin(epoch),
        write: (records) => target.write(records.flatMap(fault)),
        read: () => target.read(),
        complete: () => target.complete(),
        close: () => target.close(),
      };
      const run = { clock: systemClock, ...filling(), beganMs: Date.now() };
      const job = { database: 'agents_db', source, target: faulty, shown: 'here' };
      await expect(fill([job], { run, force: false, minEpoch: 0n })).rejects.toThrow(message);
      await source.close();
      await target.close();
      await expect(openLmdb(to)).rejects.toThrow(/was not completed/);
    },
  );
});

describe('restoring a backup', () => {
  it('gives what was backed up, in a higher epoch than anything since', async () => {
    const [from, to] = [await filled(), await scratch()];
    const file = join(await scratch(), 'store.orch');
    await backUpStore(lmdb(from), file, filling());
    const before = await withLmdb(from, (store) => contentOf(store));
    const lost = await withLmdb(from, async (store) => {
      await store.commit({ namespace: 'default', puts: [{ key: 'later', value: bytes('lost') }] });
      return store.position('default');
    });
    await restoreStore(file, lmdb(from), filling({ force: true }));
    await restoreStore(file, lmdb(to), filling());
    for (const directory of [from, to]) {
      await withLmdb(directory, async (store) => {
        expect(await contentOf(store)).toEqual(before);
        const position = await store.position('default');
        expect(position.epoch).toBeGreaterThan(lost.epoch);
        expect(position.revision).toBeGreaterThan(lost.revision);
      });
    }
  });

  it('says what is different from a store that went on', async () => {
    const from = await filled();
    const file = join(await scratch(), 'store.orch');
    await backUpStore(lmdb(from), file, filling());
    await withLmdb(from, async (store) => {
      await store.commit({ namespace: 'default', appends: [{ series: 'events', value: bytes('new') }] });
      await store.commit({ namespace: 'new', puts: [{ key: 'k', value: bytes('v') }] });
    });
    const { databases } = await verifyStores({ ...lmdb(''), store: file }, lmdb(from), filling());
    expect(databases[0]?.differences).toEqual([
      { namespace: 'default', what: expect.stringMatching(/^series: \d+ and \d+$/) },
      { namespace: 'new', what: 'is only in the second' },
    ]);
  });
});
