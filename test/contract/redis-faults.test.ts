import { describe, expect, it } from 'vitest';
import { StoreFullError, StoreUnavailableError } from '../../src/state/store.ts';
import { pause, until, within } from '../support/until.ts';
import { available, failure, useClient, useProxy, useRedis, useStore } from './redis-support.ts';
import {
  allChanges,
  bytes,
  expectSameContent,
  origin,
  put,
  RecordingFollower,
  revisionOf,
} from './support.ts';

describe('Redis that is killed', () => {
  it.each([1, 2, 3])('has every acknowledged commit when it is back (round %i)', async () => {
    const server = await useRedis({ appendfsync: 'always' });
    const store = await useStore(server.url);
    expect(store.status().durability).toBe('disk');
    const follower = new RecordingFollower();
    await store.follow(follower);
    const acknowledged = new Set<string>();
    const refused = new Set<string>();
    let stop = false;
    const writers = Array.from({ length: 8 }, async (_, writer) => {
      for (let index = 0; !stop; index++) {
        const key = `w${writer}/${index}`;
        try {
          revisionOf(await store.commit({ namespace: 'n', puts: [{ key, value: bytes('v') }] }));
          acknowledged.add(key);
        } catch (error) {
          expect(error).toBeInstanceOf(StoreUnavailableError);
          if ((error as StoreUnavailableError).outcome === 'not_applied') refused.add(key);
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    });
    await until(
      () => acknowledged.size,
      (size) => size > 100,
    );
    const before = store.status().epoch;
    await server.kill('SIGKILL');
    await until(
      () => store.status().available,
      (up) => !up,
    );
    await server.restart();
    await available(store);
    const so = acknowledged.size;
    await until(
      () => acknowledged.size,
      (size) => size > so + 20,
    );
    stop = true;
    await Promise.all(writers);
    expect(store.status().epoch).toBeGreaterThan(before);
    const { entries } = await store.scan('n', { prefix: '', limit: 10_000 });
    const keys = new Set(entries.map(({ key }) => key));
    expect([...acknowledged].filter((key) => !keys.has(key))).toEqual([]);
    expect([...refused].filter((key) => keys.has(key))).toEqual([]);
    await follower.until(() => follower.content.get('n')?.size === entries.length);
    expect(follower.snapshots.filter((name) => name === 'n').length).toBeGreaterThanOrEqual(1);
    expect(follower.faults).toEqual([]);
  });

  it('and comes back empty begins a higher epoch than any before, and followers hear that all is gone', async () => {
    const server = await useRedis();
    const store = await useStore(server.url, { minEpoch: 9_000_000_000n });
    expect(store.status().durability).toBe('process');
    const follower = new RecordingFollower();
    await store.follow(follower);
    await put(store, 'n', 'k', 'v');
    await follower.until(() => follower.revisions.get('n') === 1n);
    const before = store.status().epoch;
    expect(before).toBe(9_000_000_001n);
    await server.restart();
    await follower.until(() => follower.content.get('n')?.size === 0);
    expect(store.status().epoch).toBeGreaterThan(before);
    const revision = await put(store, 'n', 'k', 'again');
    await follower.until(() => follower.revisions.get('n') === revision);
    expect(revision, 'revisions that others may have read are not given out again').toBeGreaterThan(1n);
    await expectSameContent(store, 'n', follower);
  });
});

describe('Redis that is emptied', () => {
  it('is noticed without a commit, and a commit right after it goes to the new epoch', async () => {
    const server = await useRedis();
    const store = await useStore(server.url);
    const other = useClient(server);
    await put(store, 'n', 'k', 'v');
    const first = store.status().epoch;
    await other.flushall();
    const outcome = await store.commit({ namespace: 'n', puts: [{ key: 'l', value: bytes('w') }] });
    expect(outcome.kind === 'committed' && outcome.epoch).toBeGreaterThan(first);
    expect((await store.scan('n', { prefix: '', limit: 9 })).entries.map(({ key }) => key)).toEqual(['l']);
    const second = store.status().epoch;
    await other.flushall();
    await until(
      () => store.status().epoch,
      (epoch) => epoch > second,
    );
  });
});

describe('Redis that is another server all of a sudden', () => {
  it('is in a new epoch, even if it came to the same number by itself', async () => {
    const [one, two] = [await useRedis(), await useRedis()];
    const proxy = await useProxy(one);
    const options = { database: 'swapped', minEpoch: 8_000_000_000n };
    const store = await useStore(proxy.url, options);
    const stranger = await useStore(two.url, options);
    expect(store.status().epoch).toBe(stranger.status().epoch);
    await put(store, 'n', 'k', 'of the one');
    await put(stranger, 'n', 'k', 'of the other');
    const before = await store.position('n');
    proxy.target(two.port);
    proxy.cut();
    await until(
      () => store.status(),
      ({ available, epoch }) => available && epoch > before.epoch,
    );
    expect(await store.changes('n', before, 10)).toMatchObject({ kind: 'epoch' });
    await put(stranger, 'n', 'l', 'v');
    expect(stranger.status().epoch).toBe(store.status().epoch);
  });
});

describe('Redis that hangs', () => {
  it('makes calls fail in bounded time, and everything goes on by itself afterwards', async () => {
    const server = await useRedis();
    const store = await useStore(server.url);
    const follower = new RecordingFollower();
    await store.follow(follower);
    await put(store, 'n', 'a', '1');
    const { epoch } = store.status();
    await server.kill('SIGSTOP');
    const began = performance.now();
    const attempts = await within(
      Promise.all([
        failure(store.commit({ namespace: 'n', puts: [{ key: 'b', value: bytes('2') }] })),
        failure(store.get('n', 'a')),
        failure(store.scan('n', { prefix: '', limit: 1 })),
        failure(store.putLive([{ namespace: 'n', key: 'a', epoch: 1n, sequence: 1 }])),
      ]),
      3_000,
      'failing',
    );
    expect(performance.now() - began).toBeLessThan(2_500);
    expect(attempts[0]?.outcome).toBe('unknown');
    expect(attempts[1]?.outcome).toBe('not_applied');
    for (const { retryAfterMs } of attempts) expect(retryAfterMs).toBeGreaterThan(0);
    expect(store.status()).toMatchObject({ available: false });
    const quick = performance.now();
    expect((await failure(store.commit({ namespace: 'n' }))).outcome).toBe('not_applied');
    expect(performance.now() - quick, 'once it is known, calls fail at once').toBeLessThan(100);
    await server.kill('SIGCONT');
    await available(store);
    expect(store.status().epoch, 'it is the same server with all its data').toBe(epoch);
    const last = await put(store, 'n', 'c', '3');
    await follower.until(() => follower.revisions.get('n') === last);
    await expectSameContent(store, 'n', follower);
  });
});

describe('followers', () => {
  it('miss and repeat nothing when their connections break amid commits', async () => {
    const server = await useRedis();
    const proxy = await useProxy(server);
    const database = 'followed';
    const store = await useStore(proxy.url, { database });
    const writer = await useStore(server.url, { database });
    const follower = new RecordingFollower();
    await store.follow(follower);
    let last = 0n;
    for (let index = 0; index < 299; index++) {
      if (index % 60 === 59) proxy.cut();
      last = await put(writer, 'n', `k${index % 11}`, `${index}`);
    }
    await follower.until(() => follower.revisions.get('n') === last);
    // The last one as well, when nothing is being read: no later news tells of it.
    await pause(500);
    proxy.cut();
    last = await put(writer, 'n', 'last', 'v');
    await follower.until(() => follower.revisions.get('n') === last);
    await expectSameContent(store, 'n', follower);
    expect(follower.snapshots.length, 'the position was kept').toBe(0);
    expect(follower.batches).toHaveLength(300);
  });

  it('get a snapshot when the log went on without them', async () => {
    const server = await useRedis();
    const proxy = await useProxy(server);
    const options = { database: 'outrun', logMaxBytes: 4_096 };
    const store = await useStore(proxy.url, options);
    const writer = await useStore(server.url, options);
    const follower = new RecordingFollower();
    await store.follow(follower);
    await put(writer, 'n', 'k', '0');
    await follower.until(() => follower.revisions.get('n') === 1n);
    proxy.holdRequests(true);
    proxy.swallowAnswers(true);
    proxy.cut();
    let last = 0n;
    for (let index = 0; index < 200; index++) last = await put(writer, 'n', `k${index}`, 'x'.repeat(100));
    proxy.cut();
    proxy.holdRequests(false);
    proxy.swallowAnswers(false);
    await follower.until(() => follower.revisions.get('n') === last);
    expect(follower.snapshots).toEqual(['n']);
    await expectSameContent(store, 'n', follower);
  });

  it('hear of a commit within milliseconds', async () => {
    const server = await useRedis();
    const database = 'latency';
    const [store, writer] = [
      await useStore(server.url, { database }),
      await useStore(server.url, { database }),
    ];
    const follower = new RecordingFollower();
    await store.follow(follower);
    const times: number[] = [];
    for (let index = 0; index < 100; index++) {
      const began = performance.now();
      const revision = await put(writer, 'n', 'k', `${index}`);
      await follower.until(() => follower.revisions.get('n') === revision);
      times.push(performance.now() - began);
    }
    times.sort((a, b) => a - b);
    expect(times[50]).toBeLessThan(20);
  });
});

describe('Redis out of memory', () => {
  it('takes no commit and keeps what it acknowledged, with log and entries alike', async () => {
    const server = await useRedis({ args: ['--maxmemory', '6mb', '--maxmemory-policy', 'noeviction'] });
    const store = await useStore(server.url);
    const value = bytes('x'.repeat(50_000));
    let stored = 0;
    const fill = async () => {
      for (;;) {
        const key = `k${stored}`;
        await store.commit({
          namespace: 'n',
          puts: [{ key, value }],
          deletes: ['none'],
          appends: [{ series: 's', value: bytes('event') }],
        });
        stored++;
      }
    };
    await expect(fill()).rejects.toThrow(StoreFullError);
    expect(stored).toBeGreaterThan(3);
    const { entries, position } = await store.scan('n', { prefix: '', limit: 1_000 });
    expect(entries).toHaveLength(stored);
    expect(position.revision).toBe(BigInt(stored));
    const log = await allChanges(store, 'n', await origin(store, 'n'));
    expect(log.at(-1)?.revision).toBe(position.revision);
    expect(await store.readSeries('n', 's', { limit: 1_000 })).toHaveLength(stored);
    const other = useClient(server);
    // Redis may have freed a few buffers since the last refusal.
    await other.config('SET', 'maxmemory', '1mb');
    const live = { namespace: 'n', key: 'a', epoch: 1n, sequence: 1, value: bytes('x') };
    expect((await failure(store.putLive([live]))).outcome).toBe('not_applied');
    await other.config('SET', 'maxmemory', '0');
    await put(store, 'n', 'more', 'v');
  });
});
