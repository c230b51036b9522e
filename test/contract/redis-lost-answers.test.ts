import { describe, expect, it } from 'vitest';
import { until, within } from '../support/until.ts';
import { available, failure, useClient, useProxy, useRedis, useStore } from './redis-support.ts';
import { bytes, put, revisionOf, text } from './support.ts';

describe('an answer that is lost', () => {
  it('of a commit that was made is found by its id: one effect, acknowledged', async () => {
    const server = await useRedis();
    const proxy = await useProxy(server);
    const database = 'lost';
    const store = await useStore(proxy.url, { database });
    const direct = await useStore(server.url, { database });
    await put(store, 'n', 'a', '1');
    proxy.swallowAnswers(true);
    const commit = store.commit({
      namespace: 'n',
      checks: [{ key: 'b', revision: 0n }],
      puts: [{ key: 'b', value: bytes('2') }],
    });
    await until(() => direct.get('n', 'b'), Boolean);
    proxy.cut();
    proxy.swallowAnswers(false);
    expect(revisionOf(await commit)).toBe(2n);
    expect((await store.position('n')).revision).toBe(2n);
  });

  it('of a commit that never arrived is settled: not applied, also when it arrives later', async () => {
    const server = await useRedis();
    const proxy = await useProxy(server);
    const store = await useStore(proxy.url);
    await put(store, 'n', 'a', '1');
    proxy.holdRequests(true);
    const caught = proxy.caught();
    const commit = failure(store.commit({ namespace: 'n', puts: [{ key: 'b', value: bytes('2') }] }));
    await caught;
    proxy.cut({ keepUpstream: true });
    proxy.holdRequests(false);
    expect((await commit).outcome).toBe('not_applied');
    proxy.releaseOrphans();
    await put(store, 'n', 'c', '3');
    await until(
      () => store.scan('n', { prefix: '', limit: 9 }),
      ({ entries }) => entries.length >= 2,
    );
    await put(store, 'n', 'd', '4');
    const { entries, position } = await store.scan('n', { prefix: '', limit: 9 });
    expect(entries.map(({ key }) => key)).toEqual(['a', 'c', 'd']);
    expect(position.revision).toBe(3n);
  });

  it('while Redis stays away is an unknown outcome', async () => {
    const server = await useRedis();
    const proxy = await useProxy(server);
    const store = await useStore(proxy.url);
    await put(store, 'n', 'a', '1');
    proxy.swallowAnswers(true);
    const outcome = await within(
      failure(store.commit({ namespace: 'n', puts: [{ key: 'b', value: bytes('2') }] })),
      3_000,
      'giving up',
    );
    expect(outcome.outcome).toBe('unknown');
    proxy.cut();
    proxy.swallowAnswers(false);
    await available(store);
  });

  it('of a repeated request is found as well', async () => {
    const server = await useRedis();
    const proxy = await useProxy(server);
    const store = await useStore(proxy.url);
    const request = { id: 'r', fingerprint: bytes('f'), response: bytes('first'), ttlMs: 60_000 };
    await store.commit({ namespace: 'n', request });
    const other = useClient(server);
    const done = async () => (await other.keys('*:done:*')).length;
    const before = await done();
    proxy.swallowAnswers(true);
    const repeat = store.commit({ namespace: 'n', request });
    await until(done, (count) => count > before);
    proxy.cut();
    proxy.swallowAnswers(false);
    const outcome = await repeat;
    expect(outcome.kind === 'repeated' && text(outcome.response)).toBe('first');
  });
});
