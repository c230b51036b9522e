import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { ChangeBatch, Position } from '../../src/state/store.ts';
import { type View, Views } from '../../src/state/views.ts';
import { MemoryStore } from '../support/memory-store.ts';

const NAMESPACE = 'n';
const never = new AbortController().signal;
const HOUR = 3_600_000;

async function setUp(options: { watchBuffer?: number; views?: View[] } = {}) {
  const store = new MemoryStore();
  const views = new Views({ store, views: options.views ?? [], watchBuffer: options.watchBuffer ?? 10_000 });
  await views.start();
  const put = async (key = 'k', namespace = NAMESPACE): Promise<void> => {
    await store.commit({ namespace, puts: [{ key, value: new Uint8Array() }] });
  };
  const origin = (revision = 0n): Position => ({ epoch: store.data.epoch, revision });
  return { store, views, put, origin };
}

const reasonOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no error',
    (error: { reason?: unknown }) => error.reason,
  );

/** What a watcher sees, until it has seen `last` or an error. */
async function watch(
  feed: AsyncGenerator<ChangeBatch | 'synced' | 'tick'>,
  last: bigint,
): Promise<(bigint | 'synced')[]> {
  const seen: (bigint | 'synced')[] = [];
  for await (const event of feed) {
    if (event === 'tick') continue;
    seen.push(event === 'synced' ? event : event.revision);
    if (seen.includes(last) && seen.includes('synced')) break;
  }
  return seen;
}

describe('following a namespace', () => {
  it('has no gap and no repetition where the log ends and memory begins, whatever comes in between', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.integer({ min: 0, max: 600 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 30 }),
        fc.boolean(),
        async (scheduler, before, share, during, lagging) => {
          const { store, views, put, origin } = await setUp();
          for (let index = 0; index < before; index += 1) await put();
          const from = BigInt(Math.floor(before * share));
          const total = BigInt(before + during);
          // Reads of the log are answered at random moments between the commits and the pulls of the watcher.
          const changes = store.changes.bind(store);
          store.changes = (...args) => scheduler.schedule(changes(...args), 'read the log');
          store.faults.lagging = lagging;
          const seen: (bigint | 'synced')[] = [];
          const reading = (async () => {
            for await (const event of views.follow(NAMESPACE, origin(from), never, HOUR)) {
              if (event === 'tick') continue;
              seen.push(event === 'synced' ? event : event.revision);
              if (seen.includes('synced') && (seen.at(-1) === total || seen.includes(total))) return;
              await scheduler.schedule(Promise.resolve(), 'pull');
            }
          })();
          const writing = (async () => {
            for (let index = 0; index < during; index += 1) {
              await scheduler.schedule(Promise.resolve(), 'commit');
              await put();
              if (lagging && index % 3 === 0) store.catchUp(2);
            }
            store.catchUp();
          })();
          await scheduler.waitFor(Promise.all([reading, writing]));
          const revisions = seen.filter((event) => event !== 'synced');
          expect(revisions).toEqual(
            Array.from({ length: Number(total - from) }, (_, index) => from + BigInt(index) + 1n),
          );
          expect(seen.filter((event) => event === 'synced')).toHaveLength(1);
          views.stop();
        },
      ),
      { numRuns: 60 },
    );
  });

  it('says that it is synced when nothing was missed, also in a namespace that does not exist yet', async () => {
    const { views, put, origin } = await setUp();
    const feed = views.follow('new', origin(), never, HOUR);
    expect((await feed.next()).value).toBe('synced');
    const next = feed.next();
    await put('k', 'new');
    expect((await next).value).toMatchObject({ namespace: 'new', revision: 1n });
    await feed.return();
  });

  it('passes on commits of its own namespace only', async () => {
    const { views, put, origin } = await setUp();
    const feed = views.follow(NAMESPACE, origin(), never, HOUR);
    await feed.next();
    await put('k', 'other');
    await put('k');
    expect((await feed.next()).value).toMatchObject({ namespace: NAMESPACE, revision: 1n });
    await feed.return();
  });

  it.each([
    ['a cursor older than the log', 2n, 0n, ErrorReason.CURSOR_COMPACTED],
    ['a cursor of another epoch', 0n, 1n, ErrorReason.CURSOR_EPOCH],
    ['a cursor ahead of the store', 99n, 0n, ErrorReason.CURSOR_EPOCH],
  ])('refuses %s', async (_, revision, epochs, reason) => {
    const { store, views, put, origin } = await setUp();
    for (let index = 0; index < 10; index += 1) await put();
    store.compact(NAMESPACE, 5n);
    const from = { epoch: origin().epoch - epochs, revision };
    expect(await reasonOf(views.follow(NAMESPACE, from, never, HOUR).next())).toBe(reason);
  });

  it('cuts off a watcher that is too far behind, without a gap before, and not the others', async () => {
    const { views, put, origin } = await setUp({ watchBuffer: 10 });
    const slow = views.follow(NAMESPACE, origin(), never, HOUR);
    const quick = views.follow(NAMESPACE, origin(), never, HOUR);
    await slow.next();
    const seen = watch(quick, 30n);
    await put();
    expect((await slow.next()).value).toMatchObject({ revision: 1n });
    for (let index = 0; index < 29; index += 1) {
      await put();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await reasonOf(slow.next())).toBe(ErrorReason.SLOW_CONSUMER);
    expect(await seen).toHaveLength(31);
    const again = views.follow(NAMESPACE, origin(1n), never, HOUR);
    expect((await watch(again, 30n)).filter((event) => event !== 'synced')).toHaveLength(29);
  });

  it('ends with CURSOR_EPOCH when the store begins a new epoch', async () => {
    const { store, views, put, origin } = await setUp();
    await put();
    const feed = views.follow(NAMESPACE, origin(1n), never, HOUR);
    expect((await feed.next()).value).toBe('synced');
    const next = feed.next();
    store.promote();
    expect(await reasonOf(next)).toBe(ErrorReason.CURSOR_EPOCH);
    expect(views.position(NAMESPACE)).toEqual({ epoch: store.data.epoch, revision: 1n });
  });

  it('ends with CURSOR_EPOCH also in a namespace that this replica first hears of by a snapshot', async () => {
    const { store, views, put, origin } = await setUp();
    const feed = views.follow('late', origin(), never, HOUR);
    expect((await feed.next()).value).toBe('synced');
    const next = feed.next();
    // Its only commit is never told, because the epoch changed before this replica caught up.
    views.stop();
    await put('k', 'late');
    store.promote();
    await views.start();
    expect(await reasonOf(next)).toBe(ErrorReason.CURSOR_EPOCH);
  });

  it('stops at once when its caller leaves, and leaves nothing behind', async () => {
    const { views, put, origin } = await setUp();
    const caller = new AbortController();
    const feed = views.follow(NAMESPACE, origin(), caller.signal, HOUR);
    await feed.next();
    const next = feed.next();
    caller.abort();
    expect((await next).done).toBe(true);
    await put();
    expect((await feed.next()).done).toBe(true);
  });

  describe('without news', () => {
    afterEach(() => void vi.useRealTimers());

    it('ticks, also between commits, and only after it is synced', async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
      const { views, put, origin } = await setUp();
      for (let index = 0; index < 3; index += 1) await put();
      const feed = views.follow(NAMESPACE, origin(), never, 1_000);
      const first = await feed.next();
      vi.advanceTimersByTime(5_000);
      const seen = [first.value];
      for (let index = 0; index < 4; index += 1) seen.push((await feed.next()).value);
      expect(seen.map((event) => (typeof event === 'object' ? event.revision : event))).toEqual([
        1n,
        2n,
        3n,
        'synced',
        'tick',
      ]);
      const next = feed.next();
      vi.advanceTimersByTime(1_000);
      expect((await next).value).toBe('tick');
      await feed.return();
      expect(vi.getTimerCount()).toBe(0);
    });
  });
});

describe('waiting for a revision', () => {
  it('resolves when it was seen here, not when it was committed', async () => {
    const { store, views, put } = await setUp();
    await put();
    await views.waitFor(NAMESPACE, 1n, 10, never);
    store.faults.lagging = true;
    await put();
    await put();
    const second = views.waitFor(NAMESPACE, 2n, 10_000, never);
    const third = views.waitFor(NAMESPACE, 3n, 10_000, never);
    expect(await reasonOf(views.waitFor(NAMESPACE, 2n, 5, never))).toBe(ErrorReason.REVISION_NOT_SEEN);
    store.catchUp(1);
    await second;
    expect(
      await Promise.race([
        third.then(() => 'seen'),
        new Promise((resolve) => setImmediate(() => resolve('not yet'))),
      ]),
    ).toBe('not yet');
    store.catchUp();
    await third;
  });

  it('gives up when the caller leaves, before or meanwhile', async () => {
    const { views } = await setUp();
    const caller = new AbortController();
    const waiting = reasonOf(views.waitFor(NAMESPACE, 1n, 60_000, caller.signal));
    caller.abort();
    expect(await waiting).toBe(ErrorReason.REVISION_NOT_SEEN);
    expect(await reasonOf(views.waitFor(NAMESPACE, 1n, 60_000, caller.signal))).toBe(
      ErrorReason.REVISION_NOT_SEEN,
    );
  });
});

describe('views', () => {
  it('hear snapshots, commits and live records before anybody who waits for them', async () => {
    const heard: string[] = [];
    const view: View = {
      reset: (namespace, { revision }) => heard.push(`reset ${namespace} ${revision}`),
      apply: (batch) => heard.push(`apply ${batch.revision}`),
      live: (records) => heard.push(`live ${records.length}`),
    };
    const { store, views, put } = await setUp({ views: [view] });
    const waiting = views.waitFor(NAMESPACE, 1n, 1_000, never).then(() => heard.push('waited'));
    await put();
    await waiting;
    await store.putLive([{ namespace: NAMESPACE, key: 'k', epoch: 1n, sequence: 1 }]);
    store.promote();
    views.stop();
    await put();
    expect(heard).toEqual(['apply 1', 'waited', 'live 1', 'reset n 1']);
  });
});
