import { describe, expect, it } from 'vitest';
import { allChanges, bytes, eventually, origin, put, type StoreContract, text, useStore } from './support.ts';

export function describeChanges(contract: StoreContract): void {
  describe('changes', () => {
    const { store } = useStore(contract);

    it('lists commits in order without gaps, from any position, in pages of any size', async () => {
      for (let index = 1; index <= 10; index++) await put(store(), 'n', `k${index % 3}`, `v${index}`);
      for (const limit of [1, 3, 10, 1_000]) {
        for (const from of [0n, 1n, 9n, 10n]) {
          const batches = await allChanges(store(), 'n', await origin(store(), 'n', from), limit);
          const revisions = batches.map(({ revision }) => revision);
          expect(revisions).toEqual(
            Array.from({ length: 10 - Number(from) }, (_, index) => from + BigInt(index) + 1n),
          );
        }
      }
    });

    it('tells what each commit did, and when', async () => {
      const before = await store().now();
      await store().commit({
        namespace: 'n',
        puts: [{ key: 'a', value: bytes('1') }],
        appends: [
          { series: 's', value: bytes('x') },
          { series: 't', value: bytes('y') },
        ],
      });
      await store().commit({ namespace: 'n', deletes: ['a'] });
      const after = await store().now();
      const [first, second] = await allChanges(store(), 'n', await origin(store(), 'n'));
      expect(first?.namespace).toBe('n');
      expect(first?.epoch).toBe(store().status().epoch);
      expect(first?.changes.map(({ key, value }) => [key, text(value)])).toEqual([['a', '1']]);
      expect(first?.appends.map(({ series, value, index }) => [series, text(value), index])).toEqual([
        ['s', 'x', 0],
        ['t', 'y', 1],
      ]);
      expect(second?.changes).toEqual([{ key: 'a' }]);
      expect(second?.appends).toEqual([]);
      expect(first?.timeMs).toBeGreaterThanOrEqual(before);
      expect(second?.timeMs).toBeLessThanOrEqual(after);
    });

    it('says whether a page is the last', async () => {
      for (let index = 0; index < 4; index++) await put(store(), 'n', 'k', 'v');
      const page = async (from: bigint, limit: number) => {
        const result = await store().changes('n', await origin(store(), 'n', from), limit);
        return result.kind === 'page' ? [result.batches.length, result.complete] : result.kind;
      };
      expect(await page(0n, 3)).toEqual([3, false]);
      expect(await page(0n, 4)).toEqual([4, true]);
      expect(await page(4n, 1)).toEqual([0, true]);
    });

    it('has an empty page for a namespace that nothing was committed to', async () => {
      const page = await store().changes('never', await origin(store(), 'never'), 10);
      expect(page).toEqual({ kind: 'page', batches: [], complete: true });
    });

    it('answers a position of another epoch, or ahead of the store, with its own epoch', async () => {
      await put(store(), 'n', 'k', 'v');
      const { epoch } = store().status();
      for (const position of [
        { epoch: epoch + 1n, revision: 0n },
        { epoch: epoch - 1n, revision: 1n },
        { epoch, revision: 2n },
      ]) {
        expect(await store().changes('n', position, 10)).toEqual({ kind: 'epoch', epoch });
      }
      expect(await store().changes('never', { epoch, revision: 1n }, 10)).toEqual({ kind: 'epoch', epoch });
    });

    it.each([0, 1_001, 2.5])('refuses a limit of %s', async (limit) => {
      await expect(store().changes('n', await origin(store(), 'n'), limit)).rejects.toThrow(RangeError);
    });
  });

  describe('a log that may hold 64 KiB', () => {
    const { store, reopen } = useStore(contract, { logMaxBytes: 64 << 10 });

    it('is trimmed from its old end, says from where it can be resumed, and keeps the entries', async () => {
      const value = 'x'.repeat(4_096);
      const compacted = await eventually(async () => {
        for (let index = 0; index < 8; index++) await put(store(), 'n', `k${index}`, value);
        const page = await store().changes('n', await origin(store(), 'n'), 1);
        return page.kind === 'compacted' ? page : undefined;
      });
      const head = (await store().position('n')).revision;
      expect(compacted.oldest).toBeGreaterThan(0n);
      expect(compacted.oldest).toBeLessThan(head);
      // Trimming may go on in the background: ask again until the answer holds for both sides of the edge.
      await eventually(async () => {
        const start = await store().changes('n', await origin(store(), 'n'), 1);
        if (start.kind !== 'compacted') throw new Error('the log came back');
        const page = await store().changes('n', await origin(store(), 'n', start.oldest), 1);
        const before = await store().changes('n', await origin(store(), 'n', start.oldest - 1n), 1);
        if (page.kind !== 'page' || before.kind !== 'compacted') return undefined;
        expect(page.batches[0]?.revision).toBe(start.oldest + 1n);
        return true;
      });
      expect((await store().scan('n', { prefix: '', limit: 100 })).entries).toHaveLength(8);
      await reopen();
      expect((await store().changes('n', await origin(store(), 'n'), 1)).kind).toBe('compacted');
      expect((await store().position('n')).revision).toBe(head);
    });

    it('always keeps at least the last commit, however large', async () => {
      await put(store(), 'n', 'k', 'x'.repeat(256 << 10));
      await put(store(), 'n', 'k', 'x'.repeat(256 << 10));
      await put(store(), 'n', 'k', 'x'.repeat(256 << 10));
      const page = await store().changes('n', await origin(store(), 'n', 2n), 10);
      expect(page.kind).toBe('page');
    });
  });

  describe('a log that may be 100 ms old', () => {
    const { store } = useStore(contract, { logMaxAgeMs: 100 });

    it('is trimmed when commits follow, and resumes at its end', async () => {
      await put(store(), 'n', 'k', '0');
      const compacted = await eventually(async () => {
        await put(store(), 'n', 'k', 'v');
        const page = await store().changes('n', await origin(store(), 'n'), 1);
        return page.kind === 'compacted' ? page : undefined;
      });
      expect(compacted.oldest).toBeGreaterThan(0n);
      const head = await put(store(), 'n', 'k', 'last');
      const batches = await allChanges(store(), 'n', await origin(store(), 'n', head - 1n));
      expect(batches.map(({ revision }) => revision)).toEqual([head]);
    });
  });
}
