import { describe, expect, it } from 'vitest';
import type { LiveRecord } from '../../src/state/store.ts';
import {
  bytes,
  eventually,
  expectSameContent,
  origin,
  put,
  RecordingFollower,
  revisionOf,
  type StoreContract,
  text,
  useStore,
} from './support.ts';

const live = (key: string, epoch: bigint, sequence: number, value?: string): LiveRecord => ({
  namespace: 'n',
  key,
  epoch,
  sequence,
  ...(value === undefined ? {} : { value: bytes(value) }),
});

const shown = (records: readonly LiveRecord[]) =>
  records
    .map(({ key, epoch, sequence, value }) => [key, epoch, sequence, text(value)])
    .sort(([a], [b]) => String(a).localeCompare(String(b)));

export function describeFollowing(contract: StoreContract): void {
  describe('follow', () => {
    const { store } = useStore(contract);

    it('delivers a snapshot of every namespace before it resolves', async () => {
      await put(store(), 'a', 'k', '1');
      await put(store(), 'b', 'k', '2');
      const follower = new RecordingFollower();
      const stop = await store().follow(follower);
      expect(follower.snapshots.sort()).toEqual(['a', 'b']);
      await expectSameContent(store(), 'a', follower);
      await expectSameContent(store(), 'b', follower);
      stop();
    });

    it('tells nobody of quiet keys, which are stored all the same', async () => {
      await put(store(), 'a', '~blob/1', 'large');
      await put(store(), 'a', 'k', '1');
      await put(store(), 'a', 'ü', '1');
      const start = await origin(store(), 'a');
      const follower = new RecordingFollower();
      const stop = await store().follow(follower);
      expect([...(follower.content.get('a')?.keys() ?? [])].sort()).toEqual(['k', 'ü']);
      const outcome = await store().commit({
        namespace: 'a',
        puts: [
          { key: '~blob/2', value: bytes('large') },
          { key: 'l', value: bytes('2') },
        ],
        deletes: ['~blob/1'],
      });
      const revision = revisionOf(outcome);
      await follower.until(() => follower.revisions.get('a') === revision);
      expect([...(follower.content.get('a')?.keys() ?? [])].sort()).toEqual(['k', 'l', 'ü']);
      const page = await store().changes('a', start, 100);
      expect(page).toMatchObject({ kind: 'page' });
      const keys =
        page.kind === 'page' ? page.batches.flatMap(({ changes }) => changes.map(({ key }) => key)) : [];
      expect(keys).toEqual(['k', 'ü', 'l']);
      expect(await store().get('a', '~blob/1')).toBeUndefined();
      expect(text((await store().get('a', '~blob/2'))?.value)).toBe('large');
      const scanned = await store().scan('a', { prefix: '~', limit: 10 });
      expect(scanned.entries.map(({ key }) => key)).toEqual(['~blob/2']);
      expect(
        await store().commit({ namespace: 'a', checks: [{ key: '~blob/2', revision: 1n }] }),
      ).toMatchObject({
        kind: 'conflict',
        revision,
      });
      stop();
    });

    it('delivers later commits in order, also those of new namespaces', async () => {
      await put(store(), 'a', 'k', '1');
      const follower = new RecordingFollower();
      const stop = await store().follow(follower);
      await store().commit({
        namespace: 'a',
        puts: [{ key: 'l', value: bytes('2') }],
        deletes: ['k'],
        appends: [{ series: 's', value: bytes('event') }],
      });
      await put(store(), 'new', 'k', '1');
      await put(store(), 'new', 'k', '2');
      await follower.until(() => follower.revisions.get('a') === 2n && follower.revisions.get('new') === 2n);
      await expectSameContent(store(), 'a', follower);
      await expectSameContent(store(), 'new', follower);
      const batch = follower.batches.find(({ namespace }) => namespace === 'a');
      expect(batch?.epoch).toBe(store().status().epoch);
      expect(batch?.appends.map(({ series, value, index }) => [series, text(value), index])).toEqual([
        ['s', 'event', 0],
      ]);
      stop();
    });

    it('has no gap and no repetition when following starts amid commits', async () => {
      let done = false;
      const writers = Array.from({ length: 4 }, async (_, writer) => {
        for (let index = 0; index < 100; index++)
          await put(store(), `n${writer % 2}`, `k${writer}/${index % 7}`, `${index}`);
      });
      const all = Promise.all(writers).then(() => {
        done = true;
      });
      const followers: RecordingFollower[] = [];
      const stops: (() => void)[] = [];
      while (!done) {
        const follower = new RecordingFollower();
        stops.push(await store().follow(follower));
        followers.push(follower);
        if (followers.length >= 20) break;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await all;
      for (const follower of followers) {
        await follower.until(
          () => follower.revisions.get('n0') === 200n && follower.revisions.get('n1') === 200n,
        );
        await expectSameContent(store(), 'n0', follower);
        await expectSameContent(store(), 'n1', follower);
      }
      for (const stop of stops) stop();
    });

    it('delivers a snapshot of more entries than one scan gives', async () => {
      const keys = Array.from({ length: 10_500 }, (_, index) => `k${index}`);
      for (let from = 0; from < keys.length; from += 3_500) {
        const puts = keys.slice(from, from + 3_500).map((key) => ({ key, value: bytes('v') }));
        await store().commit({ namespace: 'n', puts });
      }
      const follower = new RecordingFollower();
      const stop = await store().follow(follower);
      expect(follower.content.get('n')?.size).toBe(10_500);
      expect(follower.snapshots).toEqual(['n']);
      stop();
    });

    it('is silent after it was stopped', async () => {
      const follower = new RecordingFollower();
      const witness = new RecordingFollower();
      const stop = await store().follow(follower);
      const stopWitness = await store().follow(witness);
      stop();
      stop();
      await put(store(), 'n', 'k', 'v');
      await store().putLive([live('a', 1n, 1, 'x')]);
      await witness.until(() => witness.batches.length === 1 && witness.liveRecords.length === 1);
      expect(follower.batches).toEqual([]);
      expect(follower.liveRecords).toEqual([]);
      stopWitness();
    });
  });

  describe('live records', () => {
    const { store, reopen } = useStore(contract);
    const scan = async () => shown(await store().scanLive('n'));

    it('keeps the newest by epoch and then sequence, whatever the order of writing', async () => {
      await store().putLive([live('a', 1n, 5, '1/5'), live('b', 2n, 1, '2/1')]);
      await store().putLive([
        live('a', 1n, 4, 'late'),
        live('a', 1n, 5, 'same'),
        live('b', 1n, 9, 'older epoch'),
      ]);
      expect(await scan()).toEqual([
        ['a', 1n, 5, '1/5'],
        ['b', 2n, 1, '2/1'],
      ]);
      await store().putLive([live('a', 2n, 1, '2/1'), live('b', 2n, 2, '2/2')]);
      expect(await scan()).toEqual([
        ['a', 2n, 1, '2/1'],
        ['b', 2n, 2, '2/2'],
      ]);
    });

    it('takes fencing epochs beyond 2^53 and sequences up to it', async () => {
      const epoch = (1_800_000_000n << 32n) + 7n;
      const top = Number.MAX_SAFE_INTEGER;
      await store().putLive([live('a', epoch, top, 'x')]);
      await store().putLive([live('a', epoch - 1n, top, 'older'), live('a', epoch, top - 1, 'older')]);
      expect(await scan()).toEqual([['a', epoch, top, 'x']]);
      await store().putLive([live('a', epoch + 1n, 0, 'y')]);
      expect(await scan()).toEqual([['a', epoch + 1n, 0, 'y']]);
    });

    it('removes a record, which an older write does not bring back but a newer one does', async () => {
      await store().putLive([live('a', 1n, 1, 'x'), live('b', 1n, 1, 'x')]);
      await store().putLive([live('a', 1n, 3), live('b', 1n, 0)]);
      expect(await scan()).toEqual([['b', 1n, 1, 'x']]);
      await store().putLive([live('a', 1n, 2, 'late')]);
      expect(await scan()).toEqual([['b', 1n, 1, 'x']]);
      await store().putLive([live('a', 1n, 4, 'y')]);
      expect((await scan())[0]).toEqual(['a', 1n, 4, 'y']);
    });

    it('keeps namespaces apart, and is no commit', async () => {
      await store().putLive([live('a', 1n, 1, 'x'), { ...live('a', 9n, 9, 'y'), namespace: 'other' }]);
      expect(await scan()).toEqual([['a', 1n, 1, 'x']]);
      expect(await store().namespaces()).toEqual([]);
      expect((await store().position('n')).revision).toBe(0n);
      expect(await store().get('n', 'a')).toBeUndefined();
    });

    it('passes what was applied to followers, and nothing else', async () => {
      await store().putLive([live('a', 5n, 5, 'first')]);
      const follower = new RecordingFollower();
      const stop = await store().follow(follower);
      await store().putLive([live('a', 5n, 4, 'older'), live('b', 1n, 1, 'x')]);
      await store().putLive([live('a', 5n, 6)]);
      await follower.until(() =>
        follower.liveRecords.some(({ key, sequence }) => key === 'a' && sequence === 6),
      );
      expect(shown(follower.liveRecords)).toEqual([
        ['a', 5n, 6, undefined],
        ['b', 1n, 1, 'x'],
      ]);
      stop();
    });

    it('takes a thousand records in one batch', async () => {
      const records = Array.from({ length: 1_000 }, (_, index) => live(`agent/${index}`, 1n, 1, `v${index}`));
      await store().putLive(records);
      expect(await store().scanLive('n')).toHaveLength(1_000);
    });

    it('has them again after an orderly restart', async () => {
      await store().putLive([live('a', 1n, 1, 'x'), live('b', 1n, 1, 'x')]);
      await store().putLive([live('b', 1n, 2)]);
      await reopen();
      await eventually(async () => ((await scan()).length === 1 ? true : undefined));
      expect(await scan()).toEqual([['a', 1n, 1, 'x']]);
    });
  });
}
