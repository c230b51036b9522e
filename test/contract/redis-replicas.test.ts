import { describe, expect, it } from 'vitest';
import { type Store, type StoreStatus, StoreUnavailableError } from '../../src/state/store.ts';
import { until } from '../support/until.ts';
import { failure, useClient, useProxy, useRedis, useStore } from './redis-support.ts';
import { bytes, expectSameContent, put, RecordingFollower, revisionOf } from './support.ts';

/** A new replica gets its copy at once. */
const PROMPT = ['--repl-diskless-sync-delay', '0'];

/** A primary and a replica of it behind proxies: `front` is what stores connect to, `between` what replicates. */
async function usePair() {
  const primary = await useRedis({ args: PROMPT });
  const between = await useProxy(primary);
  const replica = await useRedis({
    args: ['--replicaof', `127.0.0.1 ${between.port}`, ...PROMPT],
  });
  const front = await useProxy(primary);
  const clients = { primary: useClient(primary), replica: useClient(replica) };
  const linked = () =>
    until(
      () => clients.replica.info('replication'),
      (info) => info.includes('master_link_status:up'),
      { what: 'replication' },
    );
  await linked();
  return {
    ...{ primary, replica, front, between, clients, linked },
    /** The stores' connections go to the replica, which is a primary now. */
    promote: async () => {
      await primary.kill('SIGKILL');
      await clients.replica.replicaof('NO', 'ONE');
      front.target(replica.port);
      front.cut();
    },
  };
}

/** Resolves when the replica has everything. WAIT goes by where the log was at its client's last command. */
async function replicated({ clients }: Awaited<ReturnType<typeof usePair>>): Promise<void> {
  await clients.primary.set('marker', '1');
  expect(await clients.primary.wait(1, 5_000)).toBe(1);
}

describe('a promoted replica that lagged behind', () => {
  it('begins a new epoch, in which no revision is given out twice and stale checks fail', async () => {
    const pair = await usePair();
    const database = 'promoted';
    const [a, b] = [
      await useStore(pair.front.url, { database }),
      await useStore(pair.front.url, { database }),
    ];
    const follower = new RecordingFollower();
    await b.follow(follower);
    const issued = new Map<string, string>();
    const issue = async (store: Store, key: string, value: string) => {
      const outcome = await store.commit({ namespace: 'n', puts: [{ key, value: bytes(value) }] });
      if (outcome.kind !== 'committed') throw new Error(outcome.kind);
      const place = `${outcome.epoch}/${outcome.revision}`;
      expect(issued.has(place), `${place} was issued before`).toBe(false);
      issued.set(place, value);
      return outcome;
    };
    for (let index = 0; index < 20; index++) await issue(a, `kept${index}`, `${index}`);
    await replicated(pair);
    pair.between.swallowAnswers(true);
    let lost = await issue(b, 'shared', 'lost');
    for (let index = 0; index < 20; index++) lost = await issue(b, 'shared', `lost ${index}`);
    await follower.until(() => follower.revisions.get('n') === lost.revision);
    await pair.promote();
    // The first to come is one that has seen nothing of what is lost.
    await issue(await useStore(pair.replica.url, { database }), 'fresh', 'x');
    const moved = ({ available, epoch }: StoreStatus) => available && epoch > lost.epoch;
    await until(() => moved(a.status()) && moved(b.status()), Boolean);
    // A number made from the lost epoch may have been given out there, even if what it was made for is still as it was.
    const kept = await b.get('n', 'kept0');
    const checks = [{ key: 'kept0', revision: kept?.revision ?? 0n }];
    const late = b.commit({ namespace: 'n', epoch: lost.epoch, checks });
    await expect(late).rejects.toMatchObject({ name: 'StoreUnavailableError', outcome: 'not_applied' });
    const stale = () => b.commit({ namespace: 'n', checks: [{ key: 'shared', revision: lost.revision }] });
    for (let index = 0; index < 40; index++) {
      await issue(index % 2 ? a : b, 'shared', `other ${index}`);
      // What was read before the failover must not match what has come in its place.
      expect((await stale()).kind).toBe('conflict');
    }
    const now = await issue(a, 'shared', 'other');
    expect(now.epoch).toBeGreaterThan(lost.epoch);
    expect(a.status().epoch).toBe(b.status().epoch);
    expect(new Set([...issued.keys()].map((place) => place.split('/')[0])).size).toBe(2);
    expect(await stale()).toEqual({ kind: 'conflict', key: 'shared', revision: now.revision });
    await follower.until(() => follower.revisions.get('n') === now.revision);
    expect(follower.snapshots).toContain('n');
    await expectSameContent(b, 'n', follower);
    expect(await a.changes('n', { epoch: lost.epoch, revision: lost.revision }, 10)).toEqual({
      kind: 'epoch',
      epoch: now.epoch,
    });
  });

  it('is noticed even when the same server was a replica for a moment', async () => {
    const pair = await usePair();
    const store = await useStore(pair.front.url);
    await put(store, 'n', 'a', '1');
    await replicated(pair);
    pair.between.swallowAnswers(true);
    await put(store, 'n', 'lost', '2');
    const before = store.status().epoch;
    await pair.clients.replica.replicaof('NO', 'ONE');
    // The primary follows its former replica, and so loses what that one does not have.
    await pair.clients.primary.replicaof('127.0.0.1', pair.replica.port);
    await until(
      () => pair.clients.primary.info('replication'),
      (info) => info.includes('master_link_status:up'),
    );
    await until(
      () => store.status().available,
      (up) => !up,
    );
    expect(store.status().detail).toContain('replica');
    await expect(store.commit({ namespace: 'n' })).rejects.toMatchObject({ outcome: 'not_applied' });
    await pair.clients.primary.replicaof('NO', 'ONE');
    await until(() => store.status().available, Boolean);
    expect(store.status().epoch).toBeGreaterThan(before);
    expect(await store.get('n', 'lost')).toBeUndefined();
    expect(await put(store, 'n', 'b', '3')).toBeGreaterThan(2n);
  });
});

describe('several stores that recover at once', () => {
  it('agree on one new epoch, whichever epochs they had seen', async () => {
    const server = await useRedis({ appendfsync: 'always' });
    const database = 'together';
    const stores = await Promise.all(
      [0n, 0n, 7_000_000_000n, 0n].map((minEpoch) => useStore(server.url, { database, minEpoch })),
    );
    await until(
      () => new Set(stores.map((store) => store.status().epoch)),
      (epochs) => epochs.size === 1,
    );
    expect(stores[0]?.status().epoch).toBe(7_000_000_001n);
    await Promise.all(stores.map((store, index) => put(store, 'n', `k${index}`, 'v')));
    for (let round = 2n; round <= 4n; round++) {
      await server.restart();
      // All at once, over and over, as soon as they can.
      const commits = stores.map(async (store, index) => {
        for (;;) {
          try {
            return await store.commit({
              namespace: 'n',
              puts: [{ key: `k${index}`, value: bytes(`${round}`) }],
            });
          } catch (error) {
            expect(error).toBeInstanceOf(StoreUnavailableError);
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
      });
      const outcomes = await Promise.all(commits);
      const epoch = 7_000_000_000n + round;
      expect(outcomes.map((outcome) => outcome.kind === 'committed' && outcome.epoch)).toEqual(
        stores.map(() => epoch),
      );
      expect(new Set(outcomes.map(revisionOf)).size).toBe(stores.length);
      for (const store of stores) expect(store.status().epoch).toBe(epoch);
    }
  });
});

describe('commits that replicas must have', () => {
  it('are acknowledged when they do, and of unknown outcome when they do not', async () => {
    const primary = await useRedis({ appendfsync: 'always', args: PROMPT });
    const between = await useProxy(primary);
    const replica = await useRedis({
      args: ['--replicaof', `127.0.0.1 ${between.port}`, ...PROMPT],
    });
    const client = useClient(replica);
    await until(
      () => client.info('replication'),
      (info) => info.includes('master_link_status:up'),
    );
    const database = 'waits';
    const store = await useStore(primary.url, { database, minReplicas: 1, waitTimeoutMs: 1_500 });
    expect(store.status().durability).toBe('replicated');
    const outcomes = await Promise.all(
      Array.from({ length: 50 }, (_, index) => put(store, 'n', `k${index}`, 'v')),
    );
    expect(new Set(outcomes).size).toBe(50);
    const request = { id: 'r', fingerprint: bytes('f'), response: bytes('x'), ttlMs: 60_000 };
    between.swallowAnswers(true);
    const unsure = store.commit({ namespace: 'n', puts: [{ key: 'short', value: bytes('v') }], request });
    await expect(unsure).rejects.toMatchObject({ name: 'StoreUnavailableError', outcome: 'unknown' });
    // The first answer is not acknowledged by way of a repetition either, as long as no replica has it.
    const other = await useStore(primary.url, { database, minReplicas: 1, waitTimeoutMs: 1_500 });
    const repeated = other.commit({ namespace: 'n', request });
    await expect(repeated).rejects.toMatchObject({ name: 'StoreUnavailableError', outcome: 'unknown' });
    const read = other.getRequest('n', 'r');
    await expect(read).rejects.toMatchObject({ name: 'StoreUnavailableError', outcome: 'unknown' });
    const conflict = await store.commit({ namespace: 'n', checks: [{ key: 'k0', revision: 999n }] });
    expect(conflict.kind, 'a conflict acknowledges nothing').toBe('conflict');
    between.cut();
    between.swallowAnswers(false);
    await until(
      () => client.info('replication'),
      (info) => info.includes('master_link_status:up'),
    );
    expect((await store.commit({ namespace: 'n', request })).kind).toBe('repeated');
    expect(Buffer.from((await other.getRequest('n', 'r'))?.response ?? [])).toEqual(Buffer.from('x'));
    expect(await other.getRequest('n', 'never')).toBeUndefined();
    await put(store, 'n', 'again', 'v');
  });

  it('may wait for longer than another answer may take: what is sent behind a WAIT does not give the connection up', async () => {
    const primary = await useRedis();
    // Heartbeats come once a second and may take 300 ms: without a replica some are sent behind each of these.
    const store = await useStore(primary.url, {
      minReplicas: 1,
      waitTimeoutMs: 1_200,
      commandTimeoutMs: 300,
    });
    const { sinceMs } = store.status();
    for (const key of ['a', 'b', 'c']) {
      const { message, outcome } = await failure(put(store, 'n', key, 'v'));
      expect({ message, outcome }).toEqual({
        message: '0 of 1 replicas of Redis have the commit',
        outcome: 'unknown',
      });
    }
    expect(store.status()).toMatchObject({ available: true, sinceMs });
  });
});
