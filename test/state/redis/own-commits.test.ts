import { expect, it } from 'vitest';
import { OwnCommits } from '../../../src/state/redis/own-commits.ts';
import type { ChangeBatch } from '../../../src/state/store.ts';

const batch = (revision: bigint): ChangeBatch => ({
  namespace: 'n',
  epoch: 1n,
  revision,
  timeMs: 0,
  changes: [{ key: 'a', value: Uint8Array.of(1) }, { key: 'gone' }, { key: 'b', value: Uint8Array.of(2) }],
  appends: [],
});

it('hands out the very bytes that were committed here, once', () => {
  const own = new OwnCommits();
  const value = Uint8Array.of(1);
  own.remember(1n, 5n, {
    namespace: 'n',
    puts: [
      { key: 'a', value: Uint8Array.of(0) },
      { key: 'a', value },
    ],
    deletes: ['gone'],
  });
  const { changes } = own.recognise(batch(5n));
  expect(changes[0]?.value).toBe(value);
  expect(changes[1]).toEqual({ key: 'gone' });
  expect(changes[2]?.value).toEqual(Uint8Array.of(2));
  expect(own.recognise(batch(5n)).changes[0]?.value).not.toBe(value);
});

it.each<[string, bigint, bigint, string]>([
  ['of another revision', 1n, 6n, 'n'],
  ['of another epoch', 2n, 5n, 'n'],
  ['of another namespace', 1n, 5n, 'm'],
])('leaves a batch %s as it was read', (_, epoch, revision, namespace) => {
  const own = new OwnCommits();
  const value = Uint8Array.of(1);
  own.remember(epoch, revision, { namespace, puts: [{ key: 'a', value }] });
  expect(own.recognise(batch(5n)).changes[0]?.value).not.toBe(value);
});

it('remembers no more than the feed can be behind', () => {
  const own = new OwnCommits();
  const value = Uint8Array.of(1);
  for (let revision = 1n; revision <= 5000n; revision += 1n) {
    own.remember(1n, revision, { namespace: 'n', puts: [{ key: 'a', value }] });
  }
  expect(own.recognise(batch(1n)).changes[0]?.value).not.toBe(value);
  expect(own.recognise(batch(5000n)).changes[0]?.value).toBe(value);
});
