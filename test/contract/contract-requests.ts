import { describe, expect, it } from 'vitest';
import { bytes, eventually, put, revisionOf, type StoreContract, text, useStore } from './support.ts';

export function describeRequests(contract: StoreContract): void {
  describe('request records', () => {
    const { store, reopen } = useStore(contract);

    it('answers a repeated request with the first answer and changes nothing', async () => {
      const request = {
        id: 'principal/method/1',
        fingerprint: bytes('body'),
        response: bytes('first'),
        ttlMs: 60_000,
      };
      const first = await store().commit({
        namespace: 'n',
        checks: [{ key: 'a', revision: 0n }],
        puts: [{ key: 'a', value: bytes('1') }],
        request,
      });
      await put(store(), 'n', 'b', '1');
      const again = await store().commit({
        namespace: 'n',
        checks: [{ key: 'a', revision: 0n }],
        puts: [{ key: 'a', value: bytes('2') }],
        request: { ...request, fingerprint: bytes('other body'), response: bytes('second') },
      });
      expect(revisionOf(first)).toBe(1n);
      expect(again.kind).toBe('repeated');
      if (again.kind !== 'repeated') return;
      expect([again.revision, text(again.fingerprint), text(again.response)]).toEqual([1n, 'body', 'first']);
      expect(text((await store().get('n', 'a'))?.value)).toBe('1');
      expect((await store().position('n')).revision).toBe(2n);
    });

    it('looks up a remembered answer, and knows none of a request that was not committed', async () => {
      const request = { id: 'r', fingerprint: bytes('f'), response: bytes('answer'), ttlMs: 60_000 };
      await store().commit({ namespace: 'n', request });
      await store().commit({
        namespace: 'n',
        checks: [{ key: 'a', revision: 9n }],
        request: { ...request, id: 'lost' },
      });
      const found = await store().getRequest('n', 'r');
      expect([found?.revision, text(found?.fingerprint), text(found?.response)]).toEqual([1n, 'f', 'answer']);
      expect(await store().getRequest('n', 'lost')).toBeUndefined();
      expect(await store().getRequest('other', 'r')).toBeUndefined();
    });

    it('remembers over a restart', async () => {
      const request = { id: 'r', fingerprint: bytes('f'), response: bytes('answer'), ttlMs: 60_000 };
      await store().commit({ namespace: 'n', request });
      await reopen();
      expect((await store().commit({ namespace: 'n', request })).kind).toBe('repeated');
      expect(text((await store().getRequest('n', 'r'))?.response)).toBe('answer');
    });

    it('keeps request ids of two namespaces apart', async () => {
      const request = { id: 'r', fingerprint: bytes('f'), response: bytes('x'), ttlMs: 60_000 };
      expect((await store().commit({ namespace: 'a', request })).kind).toBe('committed');
      expect((await store().commit({ namespace: 'b', request })).kind).toBe('committed');
    });

    it('answers two equal requests under way at once with one effect', async () => {
      const commit = {
        namespace: 'n',
        puts: [{ key: 'a', value: bytes('1') }],
        request: { id: 'r', fingerprint: bytes('f'), response: bytes('x'), ttlMs: 60_000 },
      };
      const kinds = (await Promise.all([store().commit(commit), store().commit(commit)])).map(
        ({ kind }) => kind,
      );
      expect(kinds.sort()).toEqual(['committed', 'repeated']);
    });

    it('forgets a request when its time is over', async () => {
      const request = { id: 'r', fingerprint: bytes('f'), response: bytes('x'), ttlMs: 30 };
      await store().commit({ namespace: 'n', request });
      await eventually(async () => ((await store().getRequest('n', 'r')) === undefined ? true : undefined));
      expect((await store().commit({ namespace: 'n', request })).kind).toBe('committed');
    });
  });
}
