import { beforeEach, describe, expect, it } from 'vitest';
import { MergedCommits } from '../../src/state/merged-commits.ts';
import type { Commit } from '../../src/state/store.ts';
import { MemoryStore } from '../support/memory-store.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (key: string, text = key) => ({ key, value: bytes(text) });
const absent = (key: string) => ({ key, revision: 0n });

let store: MemoryStore;
let merged: MergedCommits;
let commits: Commit[];
beforeEach(() => {
  store = new MemoryStore({ wallMs: () => 1_000 });
  commits = [];
  const commit = store.commit.bind(store);
  store.commit = (each) => {
    commits.push(each);
    return commit(each);
  };
  merged = new MergedCommits({ store });
});

const text = async (key: string): Promise<string | undefined> => {
  const entry = await store.get('ns', key);
  return entry && new TextDecoder().decode(entry.value);
};

describe('commits of one turn', () => {
  it('are stored as one, and all hear of its revision', async () => {
    const outcomes = await Promise.all(
      ['a', 'b', 'c'].map((key) => merged.commit('ns', () => ({ checks: [absent(key)], puts: [put(key)] }))),
    );
    expect(commits).toHaveLength(1);
    expect(new Set(outcomes.map(({ kind, revision }) => `${kind} ${revision}`))).toEqual(
      new Set(['committed 1']),
    );
    expect([await text('a'), await text('b'), await text('c')]).toEqual(['a', 'b', 'c']);
  });

  it('know how many puts come before their own', async () => {
    const before: number[] = [];
    await Promise.all(
      [2, 1, 3].map((count, turn) =>
        merged.commit('ns', (putsBefore) => {
          before.push(putsBefore);
          return { puts: Array.from({ length: count }, (_, index) => put(`${turn}-${index}`)) };
        }),
      ),
    );
    expect(before).toEqual([0, 2, 3]);
  });

  it('of other namespaces are kept apart', async () => {
    await Promise.all([
      merged.commit('ns', () => ({ puts: [put('a')] })),
      merged.commit('other', () => ({ puts: [put('a')] })),
    ]);
    expect(commits.map(({ namespace }) => namespace).sort()).toEqual(['ns', 'other']);
  });

  it.each([
    ['checks what another one puts', { checks: [absent('a')], puts: [put('b')] }],
    ['puts what another one puts', { puts: [put('a', 'second')] }],
    ['deletes what another one puts', { deletes: ['a'] }],
    ['puts what another one checks', { puts: [put('checked')] }],
  ])('that %s come after it', async (_name, second) => {
    await Promise.all([
      merged.commit('ns', () => ({ checks: [absent('checked')], puts: [put('a', 'first')] })),
      merged.commit('ns', () => second),
    ]);
    expect(commits).toHaveLength(2);
    expect(commits[0]?.puts).toEqual([put('a', 'first')]);
  });

  it('of another store epoch are kept apart', async () => {
    const [epoch] = [store.status().epoch];
    const outcomes = await Promise.allSettled([
      merged.commit('ns', () => ({ puts: [put('a')], epoch })),
      merged.commit('ns', () => ({ puts: [put('b')], epoch: epoch + 1n })),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
    expect(await text('a')).toBe('a');
    expect(await text('b')).toBeUndefined();
  });

  it('fail by themselves where a condition does, and the others are stored without them', async () => {
    await store.commit({ namespace: 'ns', puts: [put('there')] });
    commits.length = 0;
    const outcomes = await Promise.all([
      merged.commit('ns', () => ({ puts: [put('a')] })),
      merged.commit('ns', () => ({ checks: [absent('there')], puts: [put('b')] })),
      merged.commit('ns', () => ({ puts: [put('c')] })),
    ]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['committed', 'conflict', 'committed']);
    expect(outcomes[1]).toMatchObject({ key: 'there', revision: 1n });
    expect(commits).toHaveLength(2);
    expect(await text('b')).toBeUndefined();
  });

  it('that are too many for one commit are stored in their order, also where a condition fails', async () => {
    await store.commit({ namespace: 'ns', puts: [put('there')] });
    const outcomes = await Promise.all(
      Array.from({ length: 300 }, (_, index) =>
        merged.commit('ns', () => ({
          checks: index === 7 ? [absent('there')] : [],
          puts: [put(`k${index}`)],
        })),
      ),
    );
    expect(outcomes.filter(({ kind }) => kind === 'conflict')).toHaveLength(1);
    const first = outcomes[255]?.revision ?? 0n;
    expect(outcomes[0]?.revision).toBe(first);
    expect(outcomes[299]?.revision).toBe(first + 1n);
  });

  it('that expect different revisions of one key are told who is wrong', async () => {
    await store.commit({ namespace: 'ns', puts: [put('agent')] });
    const outcomes = await Promise.all([
      merged.commit('ns', () => ({ checks: [{ key: 'agent', revision: 1n }], puts: [put('a')] })),
      merged.commit('ns', () => ({ checks: [{ key: 'agent', revision: 7n }], puts: [put('b')] })),
    ]);
    expect(outcomes.map(({ kind }) => kind)).toEqual(['committed', 'conflict']);
  });

  it('all hear that the store is away', async () => {
    store.faults.away = true;
    const outcomes = await Promise.allSettled(
      ['a', 'b'].map((key) => merged.commit('ns', () => ({ puts: [put(key)] }))),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  });
});
