import { describe, expect, it } from 'vitest';
import { StoreOpenError } from '../../src/state/store.ts';
import { freePort } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { useClient, useRedis, useStore } from './redis-support.ts';
import {
  allChanges,
  bytes,
  expectSameContent,
  origin,
  put,
  RecordingFollower,
  revisionOf,
  text,
} from './support.ts';

async function refusal(url: string, options: Parameters<typeof useStore>[1] = {}): Promise<string> {
  const error = await useStore(url, options).then(
    () => undefined,
    (caught: unknown) => caught,
  );
  expect(error).toBeInstanceOf(StoreOpenError);
  const { message } = error as StoreOpenError;
  expect(message).not.toContain('\n');
  return message;
}

describe('a Redis that cannot be used is refused at start in one line', () => {
  it.each(['allkeys-lru', 'volatile-ttl'])('because it evicts keys (%s)', async (policy) => {
    const server = await useRedis({ args: ['--maxmemory-policy', policy] });
    expect(await refusal(server.url)).toBe(
      `Redis evicts keys when memory runs short (maxmemory-policy ${policy}): set maxmemory-policy to noeviction`,
    );
  });

  it('because nobody listens, without naming the password', async () => {
    const port = await freePort();
    const message = await refusal(`redis://me:s3cret@127.0.0.1:${port}`);
    expect(message).toContain(`cannot use Redis at 127.0.0.1:${port}`);
    expect(message).toContain('ECONNREFUSED');
    expect(message).not.toMatch(/s3cret|me:/);
  });

  it('because the password is wrong or missing, without naming it', async () => {
    const server = await useRedis({ args: ['--requirepass', 'right'] });
    const message = await refusal(`redis://:wr0ng@127.0.0.1:${server.port}`);
    expect(message).toContain('refuses the user or password');
    expect(message).not.toContain('wr0ng');
    expect(await refusal(server.url)).toContain('refuses the user or password');
    const store = await useStore(`redis://:right@127.0.0.1:${server.port}`);
    await put(store, 'n', 'k', 'v');
  });

  it('because it is a replica', async () => {
    const primary = await useRedis();
    const replica = await useRedis({ args: ['--replicaof', `127.0.0.1 ${primary.port}`] });
    expect(await refusal(replica.url)).toContain('is a replica of another');
  });

  it.each([
    ['not a url', 'is not a URL'],
    ['http://127.0.0.1', 'is not a URL'],
    ['redis://127.0.0.1/3', 'database number'],
    ['redis://:s3cret@127.0.0.1/?x=1', 'parameters'],
  ])('because of its URL: %s', async (url, reason) => {
    const message = await refusal(url);
    expect(message).toContain(reason);
    expect(message).not.toContain('s3cret');
  });

  it('because the key prefix would break the hash tags', async () => {
    expect(await refusal('redis://127.0.0.1:1', { keyPrefix: 'a{b}' })).toContain('redis.key_prefix');
  });
});

describe('the durability level', () => {
  it.each([
    ['off', 'process'],
    ['everysec', 'process'],
    ['always', 'disk'],
  ] as const)('with appendfsync %s is %s', async (appendfsync, durability) => {
    const server = await useRedis({ appendfsync });
    expect((await useStore(server.url)).status().durability).toBe(durability);
  });

  it('is said to be assumed where CONFIG is not permitted, and the policy is read from INFO', async () => {
    const server = await useRedis({ appendfsync: 'always', args: ['--rename-command', 'CONFIG', ''] });
    const { durability, detail } = (await useStore(server.url)).status();
    expect(durability).toBe('process');
    expect(detail).toContain('CONFIG GET is not permitted');
    const evicting = await useRedis({
      args: ['--rename-command', 'CONFIG', '', '--maxmemory-policy', 'allkeys-lru'],
    });
    expect(await refusal(evicting.url)).toContain('allkeys-lru');
  });
});

describe('scripts and keys', () => {
  it('touch one slot each: everything works on a cluster node, which refuses anything else', async () => {
    const server = await useRedis({ args: ['--cluster-enabled', 'yes'] });
    const client = useClient(server);
    await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await until(
      () => client.call('CLUSTER', 'INFO'),
      (info) => String(info).includes('cluster_state:ok'),
    );
    await expect(client.mget('a', 'b')).rejects.toThrow('CROSSSLOT');
    const store = await useStore(server.url, { logMaxBytes: 4_096 });
    const follower = new RecordingFollower();
    await store.follow(follower);
    for (const namespace of ['a', 'b{}', '{x}y', '%']) {
      for (let index = 0; index < 20; index++) {
        await store.commit({
          namespace,
          checks: [{ key: '{other}', revision: 0n }],
          puts: [{ key: `{${index}}`, value: bytes('x'.repeat(200)) }],
          deletes: ['{gone}'],
          appends: [
            { series: '{s}', value: bytes('e') },
            { series: 't', value: bytes('e') },
          ],
          request: { id: `{r}${index}`, fingerprint: bytes('f'), response: bytes('r'), ttlMs: 60_000 },
        });
      }
      await store.putLive([{ namespace, key: '{a}', epoch: 1n, sequence: 1, value: bytes('x') }]);
      expect(await store.scanLive(namespace)).toHaveLength(1);
      expect(await store.getRequest(namespace, '{r}1')).toBeDefined();
      expect(await store.readSeries(namespace, '{s}', { limit: 5 })).toHaveLength(5);
      expect(await store.trimSeries(namespace, '{s}', 8e12, 5)).toBe(5);
      await follower.until(() => follower.revisions.get(namespace) === 20n);
      await expectSameContent(store, namespace, follower);
    }
    expect((await store.namespaces()).sort()).toEqual(['%', 'a', 'b{}', '{x}y']);
    const tags = (await client.keys('*')).map((key) => /^test:\w+:\{([^{}]+)\}:\w+/.exec(key)?.[1]);
    expect(new Set(tags)).toEqual(new Set(['*', 'a', 'b%7b%7d', '%7bx%7dy', '%25']));
  });

  it('are sent by text when Redis has forgotten them', async () => {
    const server = await useRedis();
    const store = await useStore(server.url);
    const client = useClient(server);
    await put(store, 'n', 'a', '1');
    await client.script('FLUSH');
    const puts = await Promise.all(
      Array.from({ length: 20 }, (_, index) => put(store, 'n', `k${index}`, 'v')),
    );
    expect(puts.map(Number).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, index) => index + 2),
    );
    await client.script('FLUSH');
    expect((await store.scan('n', { prefix: '', limit: 100 })).entries).toHaveLength(21);
  });

  it('send all commits of one turn of the event loop in one piece', async () => {
    const server = await useRedis();
    const store = await useStore(server.url);
    const client = useClient(server);
    await put(store, 'n', 'a', '1');
    const reads = async () =>
      Number(/total_reads_processed:(\d+)/.exec(await client.info('stats'))?.[1] ?? Number.NaN);
    const before = await reads();
    await Promise.all(Array.from({ length: 100 }, (_, index) => put(store, 'n', `k${index}`, 'v')));
    expect((await reads()) - before, 'reads of Redis from its sockets').toBeLessThan(20);
  });
});

describe('big numbers', () => {
  it('stay exact up to the last revision, and the end is refused', async () => {
    const server = await useRedis();
    const database = 'big';
    const store = await useStore(server.url, { database, minEpoch: 90_000_000_000_000n });
    const client = useClient(server);
    expect(store.status().epoch).toBe(90_000_000_000_001n);
    await put(store, 'n', 'a', '1');
    const start = 99_999_999_999_000n;
    await client.hset(`test:${database}:{n}:meta`, 'revision', `${start}`, 'floor', `${start}`);
    await client.del(`test:${database}:{n}:log`);
    const follower = new RecordingFollower();
    await store.follow(follower);
    let last = start;
    for (let index = 0; index < 999; index++) {
      const outcome = await store.commit({
        namespace: 'n',
        checks: index === 0 ? [] : [{ key: 'k', revision: last }],
        puts: [{ key: 'k', value: bytes(`${index}`) }],
        appends: [{ series: 's', value: bytes(`${index}`) }],
      });
      expect(revisionOf(outcome)).toBe(last + 1n);
      last += 1n;
    }
    expect(last).toBe(99_999_999_999_999n);
    expect((await store.get('n', 'k'))?.revision).toBe(last);
    const log = await allChanges(store, 'n', await origin(store, 'n', start));
    expect(log.map(({ revision }) => revision)).toEqual(log.map((_, index) => start + BigInt(index) + 1n));
    expect(log.at(-1)?.epoch).toBe(90_000_000_000_001n);
    const series = await store.readSeries('n', 's', { limit: 1, reverse: true });
    expect([series[0]?.revision, text(series[0]?.value)]).toEqual([last, '998']);
    await follower.until(() => follower.revisions.get('n') === last);
    await expectSameContent(store, 'n', follower);
    await expect(put(store, 'n', 'k', 'more')).rejects.toMatchObject({ outcome: 'not_applied' });
    expect((await store.get('n', 'k'))?.revision).toBe(last);
  });
});
