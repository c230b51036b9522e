import { describe, expect, it } from 'vitest';
import { StoreUnavailableError } from '../../src/state/store.ts';
import { allChanges, bytes, origin, put, revisionOf, type StoreContract, text, useStore } from './support.ts';

export function describeCommits(contract: StoreContract): void {
  describe('commit', () => {
    const { store, reopen } = useStore(contract);

    it('numbers the commits of each namespace from 1 without gaps', async () => {
      const a = [
        await put(store(), 'a', 'k', '1'),
        await put(store(), 'a', 'k', '2'),
        await put(store(), 'a', 'k', '3'),
      ];
      const b = await put(store(), 'b', 'k', '1');
      expect(a).toEqual([1n, 2n, 3n]);
      expect(b).toBe(1n);
      const { epoch } = await store().position('a');
      expect(await store().position('a')).toEqual({ epoch, revision: 3n });
      expect(await store().position('never')).toEqual({ epoch, revision: 0n });
    });

    it('applies checks, puts, deletes and appends together under one revision', async () => {
      await put(store(), 'n', 'gone', 'x');
      const outcome = await store().commit({
        namespace: 'n',
        checks: [
          { key: 'gone', revision: 1n },
          { key: 'one', revision: 0n },
        ],
        puts: [
          { key: 'one', value: bytes('1') },
          { key: 'two', value: bytes('2') },
        ],
        deletes: ['gone'],
        appends: [{ series: 's', value: bytes('event') }],
      });
      expect(outcome).toEqual({
        kind: 'committed',
        epoch: (await store().position('n')).epoch,
        revision: 2n,
      });
      const { entries } = await store().scan('n', { prefix: '', limit: 10 });
      expect(entries.map((entry) => [entry.key, text(entry.value), entry.revision])).toEqual([
        ['one', '1', 2n],
        ['two', '2', 2n],
      ]);
      const series = await store().readSeries('n', 's', { limit: 10 });
      expect(series.map((entry) => [entry.revision, entry.index, text(entry.value)])).toEqual([
        [2n, 0, 'event'],
      ]);
    });

    it('names the key and its present revision in a conflict, and leaves no trace', async () => {
      await put(store(), 'n', 'a', '1');
      await put(store(), 'n', 'b', '1');
      const attempt = (key: string, revision: bigint) =>
        store().commit({
          namespace: 'n',
          checks: [
            { key: 'a', revision: 1n },
            { key, revision },
          ],
          puts: [{ key: 'a', value: bytes('changed') }],
          deletes: ['b'],
          appends: [{ series: 's', value: bytes('event') }],
          request: { id: 'r', fingerprint: bytes('f'), response: bytes('never'), ttlMs: 60_000 },
        });
      expect(await attempt('b', 1n)).toEqual({ kind: 'conflict', key: 'b', revision: 2n });
      expect(await attempt('b', 0n)).toEqual({ kind: 'conflict', key: 'b', revision: 2n });
      expect(await attempt('missing', 7n)).toEqual({ kind: 'conflict', key: 'missing', revision: 0n });
      expect(text((await store().get('n', 'a'))?.value)).toBe('1');
      expect(text((await store().get('n', 'b'))?.value)).toBe('1');
      expect(await store().readSeries('n', 's', { limit: 10 })).toEqual([]);
      expect((await store().position('n')).revision).toBe(2n);
      expect(await allChanges(store(), 'n', await origin(store(), 'n'))).toHaveLength(2);
      expect((await attempt('b', 2n)).kind, 'the request of a conflict is not remembered').toBe('committed');
    });

    it('is refused in another epoch than the one that it was made for', async () => {
      await put(store(), 'n', 'a', '1');
      const { epoch } = store().status();
      const made = (madeFor: bigint) =>
        store().commit({ namespace: 'n', epoch: madeFor, puts: [{ key: 'a', value: bytes('2') }] });
      const refusal = { name: 'StoreUnavailableError', outcome: 'not_applied' };
      await expect(made(epoch - 1n)).rejects.toMatchObject(refusal);
      await expect(made(epoch + 1n)).rejects.toMatchObject(refusal);
      expect(text((await store().get('n', 'a'))?.value)).toBe('1');
      expect((await made(epoch)).kind).toBe('committed');
    });

    it('does not know a namespace whose only commit was a conflict', async () => {
      await store().commit({ namespace: 'n', checks: [{ key: 'a', revision: 1n }] });
      expect(await store().namespaces()).toEqual([]);
    });

    it('sees a deleted key as missing in checks, and a key that came back at its new revision', async () => {
      await put(store(), 'n', 'a', '1');
      await store().commit({ namespace: 'n', deletes: ['a'] });
      expect(await store().get('n', 'a')).toBeUndefined();
      const create = {
        namespace: 'n',
        checks: [{ key: 'a', revision: 0n }],
        puts: [{ key: 'a', value: bytes('2') }],
      };
      expect(revisionOf(await store().commit(create))).toBe(3n);
      expect(await store().commit(create)).toEqual({ kind: 'conflict', key: 'a', revision: 3n });
    });

    it('gives a commit without changes a revision too', async () => {
      expect(revisionOf(await store().commit({ namespace: 'n' }))).toBe(1n);
      const request = { id: 'r', fingerprint: bytes('f'), response: bytes('x'), ttlMs: 60_000 };
      expect(revisionOf(await store().commit({ namespace: 'n', request }))).toBe(2n);
      expect(await store().namespaces()).toEqual(['n']);
      const batches = await allChanges(store(), 'n', await origin(store(), 'n'));
      expect(batches.map(({ revision, changes }) => [revision, changes])).toEqual([
        [1n, []],
        [2n, []],
      ]);
    });

    it('takes the last put of a key, lets a delete win over a put, and logs each key once', async () => {
      await store().commit({
        namespace: 'n',
        puts: [
          { key: 'a', value: bytes('1') },
          { key: 'b', value: bytes('1') },
          { key: 'c', value: bytes('1') },
          { key: 'a', value: bytes('2') },
        ],
        deletes: ['b', 'missing', 'missing'],
      });
      const { entries } = await store().scan('n', { prefix: '', limit: 10 });
      expect(entries.map(({ key, value }) => [key, text(value)])).toEqual([
        ['a', '2'],
        ['c', '1'],
      ]);
      const [batch] = await allChanges(store(), 'n', await origin(store(), 'n'));
      expect(batch?.changes.map(({ key, value }) => [key, text(value)])).toEqual([
        ['a', '2'],
        ['b', undefined],
        ['c', '1'],
        ['missing', undefined],
      ]);
    });

    it.each([
      ['nothing', new Uint8Array(0)],
      ['every byte', Uint8Array.from({ length: 256 }, (_, index) => index)],
      ['1 MiB', Uint8Array.from({ length: 1 << 20 }, (_, index) => (index * 7) & 0xff)],
    ])('keeps a value of %s as it is', async (_, value) => {
      await store().commit({
        namespace: 'n',
        puts: [{ key: 'k', value }],
        appends: [{ series: 's', value }],
      });
      const same = (got: Uint8Array | undefined) => got !== undefined && Buffer.compare(got, value) === 0;
      expect(same((await store().get('n', 'k'))?.value)).toBe(true);
      const [batch] = await allChanges(store(), 'n', await origin(store(), 'n'));
      expect(same(batch?.changes[0]?.value)).toBe(true);
      expect(same(batch?.appends[0]?.value)).toBe(true);
      expect(same((await store().readSeries('n', 's', { limit: 1 }))[0]?.value)).toBe(true);
    });

    it.each([
      ['one byte', 'k'],
      ['512 bytes', 'x'.repeat(512)],
      ['512 bytes of umlauts', 'ä'.repeat(256)],
      ['an emoji and separators', '🤖/a:b{c}*?\\"\u0001 é'],
      ['a zero byte', 'a\0b'],
    ])('takes keys of %s', async (_, key) => {
      await store().commit({
        namespace: key,
        puts: [{ key, value: bytes('v') }],
        appends: [{ series: key, value: bytes('v') }],
        request: { id: key, fingerprint: bytes(''), response: bytes('r'), ttlMs: 60_000 },
      });
      expect(text((await store().get(key, key))?.value)).toBe('v');
      expect((await store().scan(key, { prefix: key, limit: 10 })).entries.map((entry) => entry.key)).toEqual(
        [key],
      );
      expect(await store().readSeries(key, key, { limit: 10 })).toHaveLength(1);
      expect(await store().namespaces()).toEqual([key]);
    });

    it.each([
      ['over 512 bytes', 'x'.repeat(513)],
      ['over 512 bytes only as UTF-8', '€'.repeat(171)],
      ['empty', ''],
      ['half a character', 'a\ud800'],
    ])('refuses a key that is %s, and stores nothing', async (_, key) => {
      const value = bytes('v');
      const good = { key: 'good', value };
      await expect(store().commit({ namespace: 'n', puts: [good, { key, value }] })).rejects.toThrow(
        RangeError,
      );
      await expect(store().commit({ namespace: 'n', puts: [good], deletes: [key] })).rejects.toThrow(
        RangeError,
      );
      await expect(store().commit({ namespace: key, puts: [good] })).rejects.toThrow(RangeError);
      await expect(
        store().commit({ namespace: 'n', puts: [good], appends: [{ series: key, value }] }),
      ).rejects.toThrow(RangeError);
      expect(await store().namespaces()).toEqual([]);
    });

    it('loses none of 200 parallel compare-and-set increments', async () => {
      const increment = async (): Promise<void> => {
        for (;;) {
          const entry = await store().get('n', 'counter');
          const outcome = await store().commit({
            namespace: 'n',
            checks: [{ key: 'counter', revision: entry?.revision ?? 0n }],
            puts: [{ key: 'counter', value: bytes(String(Number(text(entry?.value) ?? '0') + 1)) }],
          });
          if (outcome.kind === 'committed') return;
        }
      };
      await Promise.all(Array.from({ length: 200 }, increment));
      expect(text((await store().get('n', 'counter'))?.value)).toBe('200');
      expect((await store().position('n')).revision).toBe(200n);
    });

    it('sees its own commit at once in every kind of read', async () => {
      for (let round = 1; round <= 20; round++) {
        const key = `k${round}`;
        await store().commit({ namespace: 'n', puts: [{ key, value: bytes('v') }] });
        expect(await store().get('n', key)).toBeDefined();
        expect((await store().scan('n', { prefix: '', limit: 100 })).entries).toHaveLength(round);
        expect((await store().position('n')).revision).toBe(BigInt(round));
      }
    });

    it('has everything again after a restart: entries, revisions, log, series, requests and epoch', async () => {
      const request = { id: 'r', fingerprint: bytes('f'), response: bytes('answer'), ttlMs: 60_000 };
      await store().commit({ namespace: 'n', puts: [{ key: 'a', value: bytes('1') }], request });
      await store().commit({ namespace: 'n', deletes: ['a'], appends: [{ series: 's', value: bytes('e') }] });
      await put(store(), 'n', 'b', '2');
      const content = async () => ({
        namespaces: await store().namespaces(),
        scan: await store().scan('n', { prefix: '', limit: 10 }),
        log: await allChanges(store(), 'n', await origin(store(), 'n')),
        series: await store().readSeries('n', 's', { limit: 10 }),
        epoch: store().status().epoch,
      });
      const before = await content();
      await reopen();
      expect(await content()).toEqual(before);
      expect((await store().commit({ namespace: 'n', request })).kind).toBe('repeated');
      expect(await put(store(), 'n', 'c', '3')).toBe(4n);
    });

    it('refuses every call after close, and can be closed twice', async () => {
      const closed = store();
      await reopen();
      await expect(closed.commit({ namespace: 'n' })).rejects.toThrow(StoreUnavailableError);
      await expect(closed.get('n', 'k')).rejects.toThrow(StoreUnavailableError);
      await expect(closed.putLive([])).rejects.toThrow(StoreUnavailableError);
      await closed.close();
    });

    it('finishes commits under way before close returns', async () => {
      const commits = Array.from({ length: 50 }, (_, index) => put(store(), 'n', `k${index}`, 'v'));
      const reopened = reopen();
      const outcomes = await Promise.allSettled(commits);
      await reopened;
      const done = outcomes.filter(({ status }) => status === 'fulfilled').length;
      expect((await store().scan('n', { prefix: '', limit: 100 })).entries).toHaveLength(done);
      expect(done).toBe(50);
    });
  });
}
