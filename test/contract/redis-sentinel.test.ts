import { describe, expect, it, onTestFinished } from 'vitest';
import { type Store, StoreOpenError, StoreUnavailableError } from '../../src/state/store.ts';
import { pause, until } from '../support/until.ts';
import { available, failure, useSentinels, useStore } from './redis-support.ts';
import { bytes, expectSameContent, put, RecordingFollower } from './support.ts';

/** Writers that remember what became of each write; `stop` them. */
function startWriters(stores: readonly Store[]) {
  const acknowledged = new Map<string, { place: string; epoch: bigint }>();
  const refused = new Set<string>();
  const places = new Map<string, string>();
  let running = true;
  let lastMs = performance.now();
  let longestGapMs = 0;
  const work = stores.map(async (store, writer) => {
    for (let index = 0; running; index++) {
      const key = `w${writer}/${index}`;
      try {
        const outcome = await store.commit({
          ...{ namespace: 'n', checks: [{ key, revision: 0n }], puts: [{ key, value: bytes('v') }] },
          appends: [{ series: 'all', value: bytes(key) }],
        });
        if (outcome.kind !== 'committed') throw new Error(`${key}: ${outcome.kind}`);
        const { epoch, revision } = outcome;
        const place = `${epoch}/${revision}`;
        if (places.has(place)) throw new Error(`${place} was given to ${places.get(place)} and to ${key}`);
        places.set(place, key);
        acknowledged.set(key, { place, epoch });
        longestGapMs = Math.max(longestGapMs, performance.now() - lastMs);
        lastMs = performance.now();
        await pause(5);
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        if (error.outcome === 'not_applied') refused.add(key);
        await pause(20);
      }
    }
  });
  return {
    ...{ acknowledged, refused },
    get longestGapMs() {
      return Math.round(longestGapMs);
    },
    stop: async () => {
      running = false;
      await Promise.all(work);
    },
  };
}

async function refusal(url: string, options: Parameters<typeof useStore>[1] = {}): Promise<string> {
  const error = await useStore(url, options).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(StoreOpenError);
  return (error as StoreOpenError).message;
}

async function expectKept(store: Store, { acknowledged, refused }: ReturnType<typeof startWriters>) {
  const { entries, more } = await store.scan('n', { prefix: 'w', limit: 10_000 });
  expect(more).toBe(false);
  const keys = new Set(entries.map(({ key }) => key));
  expect([...acknowledged.keys()].filter((key) => !keys.has(key))).toEqual([]);
  expect([...refused].filter((key) => keys.has(key))).toEqual([]);
  const appended: string[] = [];
  for (let after: { revision: bigint; index: number } | undefined; ; ) {
    const page = await store.readSeries('n', 'all', { limit: 1_000, ...(after ? { after } : {}) });
    const last = page.at(-1);
    if (!last) break;
    appended.push(...page.map(({ value }) => Buffer.from(value).toString()));
    after = last;
  }
  expect(appended.length, 'nothing was written twice').toBe(new Set(appended).size);
  expect([...acknowledged.keys()].filter((key) => !appended.includes(key))).toEqual([]);
}

describe('Redis with Sentinels', () => {
  it.each(['SIGKILL', 'SIGSTOP'] as const)(
    'whose primary gets %s keeps every acknowledged write, none twice, no revision again',
    async (signal) => {
      const fleet = await useSentinels({ redis: { appendfsync: 'always' } });
      await fleet.settled(2);
      const options = { database: 'failover', minReplicas: 1, waitTimeoutMs: 500 };
      const stores = [await useStore(fleet.url, options), await useStore(fleet.url, options)];
      const [a, b] = stores as [Store, Store];
      const old = await fleet.master();
      expect(a.status()).toMatchObject({ durability: 'replicated', available: true });
      expect(a.status().detail).toBe(
        `main at 127.0.0.1:${old.port}: Redis syncs each write, and 1 of its replicas have it (WAIT); 2 replicas are connected`,
      );
      const follower = new RecordingFollower();
      await b.follow(follower);
      const writers = startWriters([...stores, ...stores]);
      const { acknowledged } = writers;
      const enough = (more: number) => {
        const so = acknowledged.size;
        return until(
          () => acknowledged.size,
          (size) => size >= so + more,
          { timeoutMs: 30_000, what: 'acknowledged writes' },
        );
      };
      await enough(100);
      const before = a.status().epoch;
      const so = await a.now();
      const killedMs = performance.now();
      await old.kill(signal);
      const next = await fleet.failedOver(old);
      const namedMs = Math.round(performance.now() - killedMs);
      await until(
        () => stores.every((store) => store.status().epoch > before && store.status().available),
        Boolean,
      );
      const movedMs = Math.round(performance.now() - killedMs) - namedMs;
      await enough(100);
      // The old primary is back, and believes for a moment that it still is one.
      if (signal === 'SIGKILL') await old.restart();
      else await old.kill('SIGCONT');
      await enough(100);
      await fleet.settled(2);
      await enough(50);
      await writers.stop();
      expect(a.status().epoch).toBe(b.status().epoch);
      expect(a.status().detail).toContain(`127.0.0.1:${next.port}`);
      const epochs = new Set([...acknowledged.values()].map(({ epoch }) => epoch));
      expect([...epochs].sort()).toEqual([before, a.status().epoch]);
      expect(await a.now()).toBeGreaterThan(so);
      await expectKept(a, writers);
      await follower.until(() => (follower.content.get('n')?.size ?? 0) >= acknowledged.size);
      expect(follower.faults).toEqual([]);
      await expectSameContent(b, 'n', follower);
      expect(movedMs, 'announcements are followed, not waited for').toBeLessThan(2_000);
      expect(writers.longestGapMs).toBeLessThan(15_000);
    },
  );

  it('finds the primary as long as one Sentinel answers, and goes on without any', async () => {
    const fleet = await useSentinels({ servers: 1 });
    const [first, second, third] = fleet.sentinels;
    await first?.kill('SIGKILL');
    await second?.kill('SIGSTOP');
    const store = await useStore(fleet.url);
    await put(store, 'n', 'a', '1');
    await third?.kill('SIGKILL');
    await pause(1_500);
    await put(store, 'n', 'b', '2');
    const message = await refusal(fleet.url);
    expect(message).toMatch(/^cannot use Redis at main \(Sentinels 127.0.0.1:\d+, .*: no Sentinel answers: /);
    await first?.restart();
    await available(await useStore(fleet.url));
    await second?.kill('SIGCONT');
  });

  it('that want a password get theirs, which is not that of Redis, and it is never told', async () => {
    const fleet = await useSentinels({ servers: 1, password: 'pw-redis', sentinelPassword: 'pw-sentinel' });
    const store = await useStore(fleet.url, { sentinelPassword: 'pw-sentinel' });
    await put(store, 'n', 'a', '1');
    expect(JSON.stringify(store.status(), String)).not.toContain('pw-');
    for (const sentinelPassword of ['', 'pw-wrong']) {
      const message = await refusal(fleet.url, { sentinelPassword });
      expect(message).toMatch(
        /the Sentinels refuse redis.sentinel_user or redis.sentinel_password, or want them$/,
      );
      expect(message).not.toContain('pw-');
    }
    const message = await refusal(fleet.url.replace('pw-redis', 'pw-wrong'), {
      sentinelPassword: 'pw-sentinel',
    });
    expect(message).toMatch(/refuses the user or password of the URL$/);
  });

  it('that do not know the name say so at once', async () => {
    const fleet = await useSentinels({ servers: 1 });
    expect(await refusal(fleet.url.replace('/main', '/other'))).toMatch(
      /: the Sentinels know no primary named other$/,
    );
  });

  it('tells what an acknowledgement is worth, and when none can be given for want of replicas', async () => {
    const fleet = await useSentinels({ servers: 2, redis: { appendfsync: 'always' } });
    await fleet.settled(1);
    const alone = await useStore(fleet.url);
    expect(alone.status()).toMatchObject({ durability: 'process' });
    expect(alone.status().detail).toContain('may promote a replica that lacks the last writes');
    const store = await useStore(fleet.url, { minReplicas: 1, waitTimeoutMs: 100 });
    expect(store.status().durability).toBe('replicated');
    await fleet.servers[1]?.kill('SIGKILL');
    await until(
      () => store.status().detail,
      (detail) => detail.includes('only 0 replicas are connected, so that no commit can be acknowledged'),
    );
    expect(await failure(store.commit({ namespace: 'n' }))).toMatchObject({ outcome: 'unknown' });
  });

  it('may promote a replica that lags: its epoch is new and nothing of it is issued again', async () => {
    const fleet = await useSentinels({ servers: 2 });
    await fleet.settled(1);
    const store = await useStore(fleet.url);
    const issued = new Set<string>();
    const issue = async (key: string): Promise<void> => {
      const outcome = await store.commit({ namespace: 'n', puts: [{ key, value: bytes('v') }] });
      if (outcome.kind !== 'committed') throw new Error(outcome.kind);
      const place = `${outcome.epoch}/${outcome.revision}`;
      expect(issued.has(place), place).toBe(false);
      issued.add(place);
    };
    for (let index = 0; index < 20; index++) await issue(`kept${index}`);
    const [primary, replica] = [fleet.servers[0], fleet.servers[1]];
    if (!primary || !replica) throw new Error('two servers');
    const client = fleet.client(primary);
    // WAIT counts from the caller's own last write: what came before that is at the replica, too.
    await client.call('set', 'kept', '1');
    await until(
      () => client.call('wait', '1', '1000'),
      (copies) => copies === 1,
    );
    // What the primary sends it from now on stays unread in its socket's buffers… and goes with them.
    await replica.kill('SIGSTOP');
    await issue('lost');
    await client.call('client', 'kill', 'type', 'replica');
    for (let index = 0; index < 20; index++) await issue(`lost${index}`);
    const before = store.status().epoch;
    await primary.kill('SIGKILL');
    client.disconnect();
    await replica.kill('SIGCONT');
    await fleet.failedOver(primary);
    await until(() => store.status().epoch > before && store.status().available, Boolean);
    expect(await store.get('n', 'kept19')).toBeDefined();
    expect(await store.get('n', 'lost19')).toBeUndefined();
    for (let index = 0; index < 40; index++) await issue(`new${index}`);
  });

  it('leaves a primary that was replaced alone, even if the last Sentinel that answers slept through it', async () => {
    const fleet = await useSentinels();
    await fleet.settled(2);
    const store = await useStore(fleet.url, { database: 'asleep' });
    await put(store, 'n', 'before', '1');
    const [old, sleeper] = [await fleet.master(), fleet.sentinels[2]];
    if (!sleeper) throw new Error('three Sentinels');
    await sleeper.kill('SIGSTOP');
    await old.kill('SIGSTOP');
    const next = await fleet.failedOver(old);
    await until(() => store.status().detail.includes(`:${next.port}:`), Boolean);
    for (const sentinel of fleet.sentinels) if (sentinel !== sleeper) await sentinel.kill('SIGKILL');
    await old.kill('SIGCONT');
    await sleeper.kill('SIGCONT');
    const client = fleet.client(old);
    onTestFinished(() => client.disconnect());
    expect(await client.info('replication')).toContain('role:master');
    for (let index = 0; index < 30; index++) {
      await put(store, 'n', `after${index}`, '2');
      await pause(100);
    }
    expect(await client.hkeys('test:asleep:{n}:data')).toEqual(['before']);
    expect(store.status().detail).toContain(`:${next.port}:`);
  });

  it('is told apart by min-replicas-to-write when it is cut off: nothing is applied there', async () => {
    const args = ['--min-replicas-to-write', '1', '--min-replicas-max-lag', '10'];
    const fleet = await useSentinels({ servers: 2, redis: { args } });
    await fleet.settled(1);
    const store = await useStore(fleet.url);
    await put(store, 'n', 'a', '1');
    await fleet.servers[1]?.kill('SIGKILL');
    const error = await failure(store.commit({ namespace: 'n', puts: [{ key: 'b', value: bytes('2') }] }));
    expect(error.message).toContain('NOREPLICAS');
    expect(error.outcome).toBe('not_applied');
    expect(await store.get('n', 'b')).toBeUndefined();
    expect(await store.get('n', 'a')).toBeDefined();
  });
});
