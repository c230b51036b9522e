import { expect, it } from 'vitest';
import { LiveTable } from '../../../src/state/lmdb/live-table.ts';
import type { LiveRecord } from '../../../src/state/store.ts';
import { bytes, eventually } from '../../contract/support.ts';
import { openStore, scratch } from './support.ts';

const record = (key: string, sequence: number, value?: string): LiveRecord => ({
  namespace: 'n',
  key,
  epoch: 1n,
  sequence,
  ...(value === undefined ? {} : { value: bytes(value) }),
});

it('remembers a removal for ten minutes and then lets go of it', () => {
  const table = new LiveTable();
  table.put([record('a', 1, 'x'), record('a', 5)], 0);
  table.takeDirty(10);
  table.sweep(599_999);
  expect(table.put([record('a', 4, 'late')], 599_999)).toEqual([]);
  table.sweep(600_001);
  expect(table.put([record('a', 4, 'anew')], 600_001)).toHaveLength(1);
});

it('keeps a record that came back after its removal', () => {
  const table = new LiveTable();
  table.put([record('a', 1), record('a', 2, 'back')], 0);
  table.takeDirty(10);
  table.sweep(10_000_000);
  expect(table.scan('n')).toEqual([record('a', 2, 'back')]);
});

it('hands out what changed in bounded steps, once, and again if it could not be written', () => {
  const table = new LiveTable();
  table.put(
    ['a', 'b', 'c'].map((key) => record(key, 1, key)),
    0,
  );
  const first = table.takeDirty(2);
  expect(first.map(({ key }) => key)).toEqual(['a', 'b']);
  table.put([record('a', 2, 'newer')], 0);
  table.giveBack(first);
  expect(
    table
      .takeDirty(10)
      .map(({ key, sequence }) => `${key}${sequence}`)
      .sort(),
  ).toEqual(['a2', 'b1', 'c1']);
  expect(table.dirty).toBe(false);
});

it('is written to disk in the background, many records in one sync', async () => {
  let syncs = 0;
  const store = await openStore(await scratch(), {
    liveFlushMs: 20,
    onSync: async () => {
      syncs++;
    },
  });
  await store.putLive(Array.from({ length: 1_000 }, (_, index) => record(`k${index}`, 1, 'v')));
  expect(syncs).toBe(0);
  await eventually(async () => syncs > 0 || undefined);
  expect(syncs).toBe(1);
});
