import { describe, expect, it } from 'vitest';
import { bytes, put, type StoreContract, text, useStore } from './support.ts';

export function describeReads(contract: StoreContract): void {
  describe('reads', () => {
    const { store } = useStore(contract);
    const keysOf = async (options: { prefix: string; after?: string; limit: number }) => {
      const { entries, more } = await store().scan('n', options);
      return { keys: entries.map(({ key }) => key), more };
    };
    const putAll = (keys: string[]) =>
      store().commit({ namespace: 'n', puts: keys.map((key) => ({ key, value: bytes(key) })) });

    it('gets an entry with the revision that wrote it last', async () => {
      await put(store(), 'n', 'a', '1');
      await put(store(), 'n', 'a', '2');
      await put(store(), 'n', 'b', '3');
      const entry = await store().get('n', 'a');
      expect([entry?.key, text(entry?.value), entry?.revision]).toEqual(['a', '2', 2n]);
      expect(await store().get('n', 'missing')).toBeUndefined();
      expect(await store().get('other', 'a')).toBeUndefined();
    });

    it('scans in the order of UTF-8 bytes, which is not the order of UTF-16', async () => {
      // U+FF5E sorts before U+1F916 by code point and bytes, but after its surrogates in UTF-16.
      const keys = ['~', '🤖', 'a', '～', 'B', 'ä', 'a\0', 'aa', 'a/', '€'];
      await putAll(keys);
      const sorted = [...keys].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
      expect(await keysOf({ prefix: '', limit: 100 })).toEqual({ keys: sorted, more: false });
    });

    it('scans only keys with the prefix, however special its characters', async () => {
      await putAll(['a', 'a/', 'a/1', 'a/2', 'a0', 'b/1', '*', '*1', '[a]', 'a/\u{10ffff}']);
      expect(await keysOf({ prefix: 'a/', limit: 10 })).toEqual({
        keys: ['a/', 'a/1', 'a/2', 'a/\u{10ffff}'],
        more: false,
      });
      expect(await keysOf({ prefix: '*', limit: 10 })).toEqual({ keys: ['*', '*1'], more: false });
      expect(await keysOf({ prefix: '[a', limit: 10 })).toEqual({ keys: ['[a]'], more: false });
      expect(await keysOf({ prefix: 'none', limit: 10 })).toEqual({ keys: [], more: false });
    });

    it('pages by the last key, whether or not it still exists, and says whether more is there', async () => {
      await putAll(['p/a', 'p/b', 'p/c', 'p/d', 'q']);
      expect(await keysOf({ prefix: 'p/', limit: 2 })).toEqual({ keys: ['p/a', 'p/b'], more: true });
      expect(await keysOf({ prefix: 'p/', after: 'p/b', limit: 2 })).toEqual({
        keys: ['p/c', 'p/d'],
        more: false,
      });
      await store().commit({ namespace: 'n', deletes: ['p/b'] });
      expect(await keysOf({ prefix: 'p/', after: 'p/b', limit: 1 })).toEqual({ keys: ['p/c'], more: true });
      expect(await keysOf({ prefix: 'p/', after: 'a', limit: 9 })).toEqual({
        keys: ['p/a', 'p/c', 'p/d'],
        more: false,
      });
      expect(await keysOf({ prefix: 'p/', after: 'z', limit: 9 })).toEqual({ keys: [], more: false });
    });

    it('scans ten thousand entries, and says so exactly when one more is there', async () => {
      const keys = Array.from({ length: 10_001 }, (_, index) => `k${String(index).padStart(5, '0')}`);
      for (let from = 0; from < keys.length; from += 2_500) await putAll(keys.slice(from, from + 2_500));
      const first = await keysOf({ prefix: 'k', limit: 10_000 });
      expect(first.keys).toEqual(keys.slice(0, 10_000));
      expect(first.more).toBe(true);
      expect(await keysOf({ prefix: 'k', after: 'k09998', limit: 2 })).toEqual({
        keys: ['k09999', 'k10000'],
        more: false,
      });
    });

    it('scans one moment: the entries are those of the position', async () => {
      let writing = true;
      const writer = (async () => {
        for (let index = 0; index < 300; index++) await put(store(), 'n', `k${index}`, 'v');
        writing = false;
      })();
      while (writing) {
        const { entries, position } = await store().scan('n', { prefix: '', limit: 1_000 });
        expect(entries).toHaveLength(Number(position.revision));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await writer;
    });

    it('gives values that stay as they are when the store goes on', async () => {
      await put(store(), 'n', 'a', 'first');
      const entry = await store().get('n', 'a');
      const { entries } = await store().scan('n', { prefix: '', limit: 10 });
      for (let index = 0; index < 50; index++)
        await put(store(), 'n', 'a', `later ${index}`.padEnd(5_000, 'x'));
      await store().get('n', 'a');
      expect(text(entry?.value)).toBe('first');
      expect(text(entries[0]?.value)).toBe('first');
    });

    it('gives values that the caller may change', async () => {
      await put(store(), 'n', 'a', 'value');
      (await store().get('n', 'a'))?.value.fill(0);
      expect(text((await store().get('n', 'a'))?.value)).toBe('value');
    });

    it('lists namespaces and keeps their keys apart', async () => {
      expect(await store().namespaces()).toEqual([]);
      for (const namespace of ['b', 'a', 'ab', '🤖']) await put(store(), namespace, 'k', namespace);
      expect((await store().namespaces()).sort()).toEqual(['a', 'ab', 'b', '🤖'].sort());
      for (const namespace of ['b', 'a', 'ab', '🤖']) {
        const { entries } = await store().scan(namespace, { prefix: '', limit: 10 });
        expect(entries.map(({ value }) => text(value))).toEqual([namespace]);
      }
    });

    it.each([0, -1, 1.5, 10_001, Number.NaN])('refuses a scan limit of %s', async (limit) => {
      await expect(store().scan('n', { prefix: '', limit })).rejects.toThrow(RangeError);
    });

    it('tells the time, never backwards by more than clocks do', async () => {
      const before = Date.now();
      const first = await store().now();
      const second = await store().now();
      expect(Math.abs(first - before)).toBeLessThan(5_000);
      expect(second).toBeGreaterThanOrEqual(first);
    });

    it('says its state, durability and epoch', async () => {
      const status = store().status();
      expect(status.available).toBe(true);
      expect(['lmdb', 'redis']).toContain(status.kind);
      expect(['process', 'disk', 'replicated']).toContain(status.durability);
      expect(status.epoch).toBe((await store().position('n')).epoch);
      expect(status.epoch).toBeGreaterThan(1_600_000_000n);
      expect(status.sinceMs).toBeGreaterThan(1_600_000_000_000);
    });
  });
}
