import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { openLmdbSource } from '../../src/state/lmdb/transfer.ts';
import { Content } from '../../src/state/redis/content.ts';
import { openRedisSource, openRedisTarget } from '../../src/state/redis/transfer.ts';
import { type RedisTransferOptions, withPlace } from '../../src/state/redis/transfer-place.ts';

import { type Store, StoreOpenError } from '../../src/state/store.ts';
import type { TransferRecord, TransferSource } from '../../src/state/transfer.ts';
import {
  backUpStore,
  copyStore,
  restoreStore,
  type StoreArgument,
  verifyStores,
} from '../../src/store-admin/commands.ts';
import { startChild } from '../state/lmdb/support.ts';
import { config, contentOf, filling, fillStore, lmdb, scratch, withLmdb } from '../store-admin/support.ts';
import { type RedisServer, startRedis } from '../support/redis-server.ts';
import { useClient } from './redis-support.ts';
import { openRedis, redisPlace, withRedis } from './transfer-support.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server.stop());

const encoded = (text: string) => new TextEncoder().encode(text);
const redis = (keyPrefix: string): StoreArgument => ({ store: server.url, config, keyPrefix });

/** What `redis(keyPrefix)` names, for opening it as a service does. */
const agentsIn = (keyPrefix: string): RedisTransferOptions => ({
  ...{ url: server.url, keyPrefix, database: 'agents_db', clock: systemClock },
});

async function readAll(source: TransferSource): Promise<TransferRecord[]> {
  const records: TransferRecord[] = [];
  for await (const chunk of source.read()) records.push(...chunk);
  await source.close();
  return records;
}

describe('a store on its way from LMDB through a file and Redis back to LMDB', () => {
  it('keeps everything, and its epochs and revisions only grow', async () => {
    const [first, last] = [await scratch(), await scratch()];
    const file = join(await scratch(), 'store.orch');
    const prefix = randomBytes(6).toString('hex');
    await withLmdb(first, (store) => fillStore(store, 21));
    const before = await withLmdb(first, async (store) => ({
      content: await contentOf(store),
      position: await store.position('default'),
    }));

    await backUpStore(lmdb(first), file, filling());
    const [inRedis] = await restoreStore(file, redis(prefix), filling());
    await withRedis(agentsIn(prefix), async (store) => {
      expect(await contentOf(store)).toEqual(before.content);
      expect(await store.position('default')).toEqual({
        epoch: inRedis?.epoch,
        revision: before.position.revision + 1_000_000n,
      });
      expect(await store.changes('default', before.position, 10)).toMatchObject({ kind: 'epoch' });
      const puts = [{ key: 'in Redis', value: encoded('x') }];
      expect(await store.commit({ namespace: 'default', puts })).toMatchObject({
        revision: before.position.revision + 1_000_001n,
      });
      await store.commit({ namespace: 'default', deletes: ['in Redis'] });
      expect(await contentOf(store)).toEqual(before.content);
    });

    const [back] = await copyStore(redis(prefix), lmdb(last), filling());
    await withLmdb(last, async (store) => {
      expect(await contentOf(store)).toEqual(before.content);
      expect((await store.position('default')).revision).toBe(before.position.revision + 2_000_002n);
    });
    const epochs = [before.position.epoch, inRedis?.epoch, back?.sourceEpoch, back?.epoch].map(Number);
    expect(epochs).toEqual([...epochs].sort((a, b) => a - b));
    expect(new Set([epochs[0], epochs[1], epochs[3]]).size).toBe(3);
    const { databases } = await verifyStores({ ...lmdb(''), store: file }, lmdb(last), filling());
    expect(databases.flatMap(({ differences }) => differences)).toEqual([]);
  });

  it('keeps to the moment when remembered requests are forgotten', async () => {
    const directory = await scratch();
    const prefix = randomBytes(6).toString('hex');
    const request = { id: 'r:1', fingerprint: encoded('f'), response: encoded('x'), ttlMs: 5_000_000 };
    await withLmdb(directory, (store) => store.commit({ namespace: 'n', request }));
    const place = { directory, database: 'agents_db', clock: systemClock };
    const [, before] = await readAll(await openLmdbSource({ ...place, exclusive: false }));
    await copyStore(lmdb(directory), redis(prefix), filling());
    const [, after] = await readAll(await openRedisSource(agentsIn(prefix)));
    if (before?.kind !== 'request' || after?.kind !== 'request') throw new Error('no request');
    expect(after.expiresMs).toBe(before.expiresMs);
    expect(Buffer.from(after.response)).toEqual(Buffer.from(before.response));
    expect(await useClient(server).pttl(`${prefix}:agents_db:{n}:request:r:1`)).toBeGreaterThan(4_900_000);
  });
});

describe('Redis before 7, which does not say when a key expires', () => {
  it('tells remembered requests and their end to within a moment', async () => {
    const place = redisPlace(server);
    const request = { id: 'r', fingerprint: encoded('f'), response: encoded('x'), ttlMs: 60_000 };
    await withRedis(place, (store) => store.commit({ namespace: 'n', request }));
    const read = (hasExpireTime: boolean) =>
      withPlace(place, async ({ connection, keys }) => {
        const records: TransferRecord[] = [];
        const content = new Content({ connection, keys, namespaces: ['n'], hasExpireTime });
        for await (const chunk of content.read()) records.push(...chunk);
        connection.close();
        return records.flatMap((record) => (record.kind === 'request' ? [record] : []));
      });
    const [exact, rough] = [await read(true), await read(false)];
    expect(rough).toHaveLength(1);
    expect(Math.abs((rough[0]?.expiresMs ?? 0) - (exact[0]?.expiresMs ?? 0))).toBeLessThan(1_000);
    expect(rough).toEqual([{ ...exact[0], expiresMs: rough[0]?.expiresMs }]);
  });
});

describe('a database in Redis as a target', () => {
  async function halfFilled(place: RedisTransferOptions): Promise<void> {
    const target = await openRedisTarget(place);
    await target.begin(4_000_000_000n);
    await target.write([
      { kind: 'namespace', namespace: 'n', revision: 5n, timeMs: 1 },
      { kind: 'entry', namespace: 'n', key: 'k', revision: 5n, value: encoded('v') },
    ]);
    await target.close();
  }

  it('cannot be opened, read or filled while a copy into it is not complete', async () => {
    const place = redisPlace(server);
    await halfFilled(place);
    await expect(openRedis(place)).rejects.toThrow(StoreOpenError);
    await expect(openRedis(place)).rejects.toThrow(
      /a copy or restore into this store in Redis, begun .* was not/,
    );
    await expect(openRedisSource(place)).rejects.toThrow(/was not completed/);
    const again = await openRedisTarget(place);
    expect([again.state, again.epoch]).toEqual(['unfinished', 4_000_000_000n]);
    await again.begin(4_000_000_001n);
    await again.complete();
    await again.close();
    expect(await withRedis(place, (store) => store.namespaces())).toEqual([]);
  });

  it('takes no commit of a service that was connected before', async () => {
    const place = redisPlace(server);
    const store = await openRedis(place);
    onTestFinished(() => store.close());
    await store.commit({ namespace: 'n', puts: [{ key: 'k', value: encoded('old') }] });
    // As if the service had been away for the moment in which the target was opened.
    const { keyPrefix, database } = place;
    const client = useClient(server);
    await client.del(`${keyPrefix}:${database}:{n}:meta`, `${keyPrefix}:${database}:{n}:data`);
    await client.hset(`${keyPrefix}:${database}:{*}:store`, {
      epoch: '4000000000',
      run: '',
      importing: 'now',
    });
    const commit = store.commit({ namespace: 'n', puts: [{ key: 'k', value: encoded('late') }] });
    await expect(commit).rejects.toMatchObject({ outcome: 'not_applied' });
    expect(await client.exists(`${keyPrefix}:${database}:{n}:data`)).toBe(0);
  });

  it('is refused while a service uses it, also with --force', async () => {
    const [directory, prefix] = [await scratch(), randomBytes(6).toString('hex')];
    await withLmdb(directory, (store) => fillStore(store, 3, 20));
    await withRedis(agentsIn(prefix), async (store) => {
      await store.commit({ namespace: 'n', puts: [{ key: 'k', value: encoded('v') }] });
      const copied = copyStore(lmdb(directory), redis(prefix), filling({ force: true }));
      await expect(copied).rejects.toThrow(
        /a service uses the store agents_db in Redis at .*: stop it first/,
      );
      expect((await store.get('n', 'k'))?.revision).toBe(1n);
    });
  });

  it('loses all that it held, and nothing of other databases', async () => {
    const [directory, prefix] = [await scratch(), randomBytes(6).toString('hex')];
    await withLmdb(directory, (store) => fillStore(store, 4, 50));
    const beside = { ...agentsIn(prefix), database: 'agents_db_2' };
    for (const place of [agentsIn(prefix), beside]) await withRedis(place, (store) => fillStore(store, 5));
    const untouched = await withRedis(beside, (store) => contentOf(store));
    await expect(copyStore(lmdb(directory), redis(prefix), filling())).rejects.toMatchObject({
      reason: 'conflict',
    });
    await copyStore(lmdb(directory), redis(prefix), filling({ force: true }));
    const source = await withLmdb(directory, (store) => contentOf(store));
    expect(await withRedis(agentsIn(prefix), (store) => contentOf(store))).toEqual(source);
    expect(await withRedis(beside, (store) => contentOf(store))).toEqual(untouched);
  });

  it('is not filled from itself under another name', async () => {
    const prefix = randomBytes(6).toString('hex');
    await withRedis(agentsIn(prefix), (store) => fillStore(store, 6, 20));
    const before = await withRedis(agentsIn(prefix), (store) => contentOf(store));
    const alias: StoreArgument = { ...redis(prefix), store: `redis://localhost:${server.port}` };
    await expect(copyStore(alias, redis(prefix), filling({ force: true }))).rejects.toMatchObject({
      reason: 'usage',
      message: 'agents_db: source and target are the same',
    });
    expect(await withRedis(agentsIn(prefix), (store) => contentOf(store))).toEqual(before);
  });
});

/** Every commit writes its number to ten keys that lie far apart, takes one key away, and appends the number. */
async function writeNumbered(store: Store, until: AbortSignal): Promise<number> {
  let number = 0;
  while (!until.aborted) {
    number++;
    const value = encoded(String(number));
    const puts = Array.from({ length: 10 }, (_, at) => ({ key: `${at}/counter`, value }));
    await store.commit({
      ...{ namespace: 'n', puts: [...puts, { key: `5/mark-${number}`, value }] },
      ...{ deletes: [`5/mark-${number - 1}`], appends: [{ series: 'numbers', value }] },
      request: { id: `r${number}`, fingerprint: value, response: value, ttlMs: 60_000 },
    });
  }
  return number;
}

/** Whether the records are one moment of what `writeNumbered` does; returns how many commits there were. */
function expectOneMoment(records: readonly TransferRecord[], before: bigint): number {
  const text = (value: Uint8Array) => Number(new TextDecoder().decode(value));
  const [head] = records;
  if (head?.kind !== 'namespace') throw new Error('the first record is that of the namespace');
  const commits = Number(head.revision - before);
  const counters = records.filter((record) => record.kind === 'entry' && record.key.endsWith('/counter'));
  expect(counters).toHaveLength(10);
  for (const record of counters) {
    expect(record).toMatchObject({ revision: head.revision });
    if (record.kind === 'entry') expect(text(record.value)).toBe(commits);
  }
  const marks = records.flatMap((record) =>
    record.kind === 'entry' && record.key.startsWith('5/mark') ? [record.key] : [],
  );
  expect(marks).toEqual([`5/mark-${commits}`]);
  const numbers = records.flatMap((record) => (record.kind === 'series' ? [text(record.value)] : []));
  expect(numbers).toEqual(Array.from({ length: commits }, (_, at) => at + 1));
  const requests = records.flatMap((record) => (record.kind === 'request' ? [record.id] : []));
  expect(new Set(requests).size).toBe(commits);
  expect(requests).toHaveLength(commits);
  return commits;
}

describe('a store that is written to while it is read', () => {
  it('gives one moment of each namespace in Redis', async () => {
    const place = redisPlace(server);
    const store = await openRedis(place);
    onTestFinished(() => store.close());
    // Many pages lie between the keys that are changed all the time.
    for (let page = 0; page < 10; page++) {
      const puts = Array.from({ length: 400 }, (_, at) => ({
        ...{ key: `${page}/still-${at}`, value: new Uint8Array(randomBytes(300)) },
      }));
      await store.commit({ namespace: 'n', puts });
    }
    const stop = new AbortController();
    const writing = writeNumbered(store, stop.signal);
    const found: number[] = [];
    for (let round = 0; round < 4; round++) {
      const source = await openRedisSource(place);
      expect(source.inUse).toBe(true);
      const records = await readAll(source);
      found.push(expectOneMoment(records, 10n));
      expect(records.filter((record) => record.kind === 'entry')).toHaveLength(4_000 + 11);
    }
    stop.abort();
    const commits = await writing;
    expect(found).toEqual([...found].sort((a, b) => a - b));
    // It was written to between and during the reads, or this shows nothing.
    expect(new Set(found).size).toBe(4);
    expect(commits).toBeGreaterThan(found[0] ?? 0);
  });

  it('gives one moment of LMDB, read beside the process that has it open, which goes on', async () => {
    const directory = await scratch();
    const child = startChild(directory, 'commit');
    await child.line('ack 2500 ');
    const place = { directory, database: 'agents_db', clock: systemClock };
    let last = 0n;
    for (let round = 0; round < 3; round++) {
      const source = await openLmdbSource({ ...place, exclusive: false });
      expect(source.inUse).toBe(true);
      const records: TransferRecord[] = [];
      for await (const chunk of source.read()) {
        records.push(...chunk);
        // The child commits between any two chunks.
        await child.line(`ack ${child.lines.length + 100} `);
      }
      await source.close();
      const [head] = records;
      if (head?.kind !== 'namespace') throw new Error('the first record is that of the namespace');
      // Each commit of the child puts one key of its own and appends it.
      const revisions = (kind: string) =>
        records
          .flatMap((record) => (record.kind === kind && 'revision' in record ? [record.revision] : []))
          .sort((a, b) => Number(a - b));
      const all = Array.from({ length: Number(head.revision) }, (_, at) => BigInt(at + 1));
      expect(revisions('entry')).toEqual(all);
      expect(revisions('series')).toEqual(all);
      expect(head.revision).toBeGreaterThan(last);
      last = head.revision;
    }
    await child.line(`ack ${last + 50n} `);
    await child.end('SIGKILL');
    expect(await withLmdb(directory, (store) => store.position('n'))).toMatchObject({
      revision: expect.toSatisfy((revision: bigint) => revision >= last),
    });
  });
});
