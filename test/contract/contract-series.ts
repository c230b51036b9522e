import { describe, expect, it } from 'vitest';
import type { SeriesRange } from '../../src/state/store.ts';
import { bytes, type StoreContract, text, useStore } from './support.ts';

export function describeSeries(contract: StoreContract): void {
  describe('series', () => {
    const { store, reopen } = useStore(contract);
    const append = (...entries: [series: string, value: string][]) =>
      store().commit({
        namespace: 'n',
        appends: entries.map(([series, value]) => ({ series, value: bytes(value) })),
      });
    const read = async (range: SeriesRange, series = 's') =>
      (await store().readSeries('n', series, range)).map(({ revision, index, value }) => [
        revision,
        index,
        text(value),
      ]);
    const fill = async () => {
      await append(['s', 'a'], ['other', 'x'], ['s', 'b']);
      await append(['s', 'c']);
      await append(['s', 'd'], ['s', 'e']);
    };
    const all = [
      [1n, 0, 'a'],
      [1n, 2, 'b'],
      [2n, 0, 'c'],
      [3n, 0, 'd'],
      [3n, 1, 'e'],
    ];

    it('keeps entries in the order of commits and of appends within one', async () => {
      await fill();
      expect(await read({ limit: 10 })).toEqual(all);
      expect(await read({ limit: 10 }, 'other')).toEqual([[1n, 1, 'x']]);
      expect(await read({ limit: 10 }, 'missing')).toEqual([]);
      expect(await store().readSeries('elsewhere', 's', { limit: 10 })).toEqual([]);
    });

    it('reads after a place, before it in reverse, and no more than the limit', async () => {
      await fill();
      expect(await read({ limit: 2 })).toEqual(all.slice(0, 2));
      expect(await read({ limit: 2, after: { revision: 1n, index: 2 } })).toEqual(all.slice(2, 4));
      expect(await read({ limit: 9, after: { revision: 3n, index: 1 } })).toEqual([]);
      expect(await read({ limit: 9, after: { revision: 2n, index: 7 } })).toEqual(all.slice(3));
      expect(await read({ limit: 2, reverse: true })).toEqual(all.slice(3).reverse());
      expect(await read({ limit: 9, reverse: true, after: { revision: 3n, index: 0 } })).toEqual(
        all.slice(0, 3).reverse(),
      );
      expect(await read({ limit: 1, reverse: true, after: { revision: 1n, index: 0 } })).toEqual([]);
    });

    it('orders by number, not by text, over many commits', async () => {
      for (let from = 0; from < 120; from++) await append(['s', `${from}`]);
      await append(...Array.from({ length: 12 }, (_, index): [string, string] => ['s', `${120 + index}`]));
      const values = (await read({ limit: 1_000 })).map(([, , value]) => Number(value));
      expect(values).toEqual(Array.from({ length: 132 }, (_, index) => index));
    });

    it('does not mix up series of which one is the start of the other', async () => {
      await append(['s', '1'], ['ss', '2'], ['s\0', '3'], ['s/', '4']);
      expect(await read({ limit: 10 }, 's')).toEqual([[1n, 0, '1']]);
      expect(await read({ limit: 10, reverse: true }, 's')).toEqual([[1n, 0, '1']]);
      expect(await read({ limit: 10 }, 's\0')).toEqual([[1n, 2, '3']]);
    });

    it('dates entries by the clock of the store', async () => {
      const before = await store().now();
      await append(['s', 'a']);
      const after = await store().now();
      const [entry] = await store().readSeries('n', 's', { limit: 1 });
      expect(entry?.timeMs).toBeGreaterThanOrEqual(before);
      expect(entry?.timeMs).toBeLessThanOrEqual(after);
    });

    it('trims what is older than a time, oldest first, at most the limit', async () => {
      await fill();
      const later = (await store().now()) + 60_000;
      expect(await store().trimSeries('n', 's', 0, 100)).toBe(0);
      expect(await store().trimSeries('n', 's', later, 2)).toBe(2);
      expect(await read({ limit: 10 })).toEqual(all.slice(2));
      expect(await store().trimSeries('n', 's', later, 100)).toBe(3);
      expect(await store().trimSeries('n', 's', later, 100)).toBe(0);
      expect(await read({ limit: 10 })).toEqual([]);
      expect(await read({ limit: 10 }, 'other')).toHaveLength(1);
      await append(['s', 'new']);
      await reopen();
      expect(await read({ limit: 10 })).toEqual([[4n, 0, 'new']]);
    });

    it('trims nothing that was appended at that time or after', async () => {
      await append(['s', 'a']);
      const [entry] = await store().readSeries('n', 's', { limit: 1 });
      expect(await store().trimSeries('n', 's', entry?.timeMs ?? 0, 10)).toBe(0);
      expect(await store().trimSeries('n', 's', (entry?.timeMs ?? 0) + 1, 10)).toBe(1);
    });

    it.each([0, 1_001])('refuses a limit of %s', async (limit) => {
      await expect(store().readSeries('n', 's', { limit })).rejects.toThrow(RangeError);
    });
  });
}
