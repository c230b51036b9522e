import { describe, expect, it } from 'vitest';
import {
  archiveKey,
  attemptOfDelivery,
  copyTask,
  decodeTask,
  deliveryIdOf,
  difference,
  encodeTask,
  endedKey,
  endedOf,
  idOfArchiveKey,
  knownTask,
  publicTask,
  sum,
  taskKey,
  taskOf,
} from '../../../../src/domain/coordination/tasks/task-record.ts';
import { knownOf, newTask } from './task-records.ts';

describe('the delivery of an attempt', () => {
  it.each(['t', 'a-b', 'a-1', '1', 'x.y_z-9-9', 'task-1'])('of %s tells which it is', (id) => {
    for (const number of [1, 12, 1000]) {
      expect(attemptOfDelivery(deliveryIdOf(id, number))).toEqual({ taskId: id, attempt: number });
    }
  });

  it.each(['', 'task-', 'task-1', 'task--', 'm1', 'task-a-b', 'task-a-1.5', 'Task-a-1'])(
    'is not what %j names',
    (id) => expect(attemptOfDelivery(id)).toBeUndefined(),
  );
});

describe('keys of ended tasks', () => {
  it('are in the order of their ends, and say when and which', () => {
    const ends = [5_000, 999_000, 1_000_000, 1_768_478_400_123, 253_402_300_799_000];
    const keys = ends.map((endMs) => endedKey('a/b', endMs));
    expect([...keys].sort()).toEqual(keys);
    for (const [index, endMs] of ends.entries()) {
      expect(endedOf(keys[index] ?? '')).toEqual({ endMs: Math.floor(endMs / 1000) * 1000, id: 'a/b' });
    }
    expect(idOfArchiveKey(archiveKey('t1'))).toBe('t1');
  });
});

describe('a record', () => {
  it('remembers its place in the order when it is rewritten', () => {
    const first = knownTask('default', taskKey('t1'), encodeTask(newTask()), 41n);
    expect(first.createdRevision).toBe(41n);
    const again = knownTask('default', taskKey('t1'), encodeTask(copyTask(first)), 99n);
    expect(again.createdRevision).toBe(41n);
  });

  it('that is copied is changed without the original', () => {
    const record = newTask({ budgets: { tokens: 1n } });
    const copy = copyTask(knownOf(record));
    taskOf(copy).attempts.push({} as never);
    taskOf(copy).state = 3;
    copy.live.push({} as never);
    expect(taskOf(record)).toMatchObject({ attempts: [], state: 1 });
    expect(record.live).toEqual([]);
  });

  it('is shown without input and output, with what all below it spent', () => {
    const record = newTask({ input: { data: { case: 'text', value: 'secret' } } });
    taskOf(record).output = { data: { case: 'text', value: 'result' } } as never;
    taskOf(record).spent = { tokens: 3n };
    record.childrenSpent = { tokens: 4n, calls: 1n };
    const shown = publicTask(knownOf(record));
    expect(shown).toMatchObject({ namespace: 'default', revision: 7n, treeSpent: { tokens: 7n, calls: 1n } });
    expect(shown.output).toBeUndefined();
    expect(shown.spec?.input).toBeUndefined();
    expect(taskOf(record).spec?.input).toBeDefined();
  });

  it('is decoded as it was encoded', () => {
    const bytes = encodeTask(newTask());
    expect(decodeTask(bytes.slice())).toEqual(decodeTask(bytes));
  });
});

describe('quantities', () => {
  it('are added by name, and what is left is never below 0', () => {
    expect(sum({ a: 1n, b: 2n }, { b: 3n, c: 4n })).toEqual({ a: 1n, b: 5n, c: 4n });
    expect(difference({ a: 5n, b: 2n, c: 1n }, { a: 1n, b: 2n, c: 9n, d: 1n })).toEqual({ a: 4n });
  });
});
