import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { TaskRecord_LiveAttemptSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import {
  budgetsOfParent,
  freeBudgets,
  holdsBudgets,
  missingBudget,
  ownBudgets,
  spentBy,
  spentByTree,
} from '../../../../src/domain/coordination/tasks/budgets.ts';
import { difference, sum, taskOf } from '../../../../src/domain/coordination/tasks/task-record.ts';
import { newTask } from './task-records.ts';

const tokens = (amount: bigint) => ({ tokens: amount });

describe('a budget', () => {
  it.each([
    // budget?, attempts, settled → held
    [false, 1, false, false],
    [true, 0, false, false],
    [true, 1, false, true],
    [true, 3, false, true],
    [true, 1, true, false],
  ])('of a task (has one %s, attempts %d, settled %s) is held: %s', (has, attempts, settled, held) => {
    const record = newTask(has ? { budgets: tokens(5n) } : {});
    taskOf(record).attemptCount = attempts;
    record.settled = settled;
    expect(holdsBudgets(record)).toBe(held);
  });

  it('is taken at the first assignment alone: of quotas by a root, of its parent by a child', () => {
    const root = newTask({ budgets: tokens(5n) });
    const child = newTask({ budgets: tokens(5n), parentTaskId: 'top' });
    expect(ownBudgets(root)).toEqual({ tokens: 5 });
    expect(budgetsOfParent(root)).toBeUndefined();
    expect(ownBudgets(child)).toBeUndefined();
    expect(budgetsOfParent(child)).toEqual(tokens(5n));
    for (const record of [root, child]) taskOf(record).attemptCount = 1;
    expect(ownBudgets(root)).toBeUndefined();
    expect(budgetsOfParent(child)).toBeUndefined();
    expect(ownBudgets(newTask())).toBeUndefined();
  });

  it('is free as far as it is neither spent by any attempt, nor held or spent below', () => {
    const record = newTask({ budgets: { tokens: 100n, calls: 2n } });
    // Not reserved yet.
    expect(freeBudgets(record)).toEqual({});
    taskOf(record).attemptCount = 2;
    taskOf(record).spent = tokens(10n);
    record.live = [create(TaskRecord_LiveAttemptSchema, { number: 2, spent: { tokens: 5n, calls: 2n } })];
    record.childrenHeld = tokens(20n);
    record.childrenSpent = tokens(30n);
    expect(spentBy(record)).toEqual({ tokens: 15n, calls: 2n });
    expect(spentByTree(record)).toEqual({ tokens: 45n, calls: 2n });
    expect(freeBudgets(record)).toEqual(tokens(35n));
  });

  it('of which there is too little is named', () => {
    expect(missingBudget(tokens(5n), tokens(5n))).toBeUndefined();
    expect(missingBudget(tokens(5n), tokens(6n))).toEqual({ name: 'tokens', wanted: 6n, free: 5n });
    expect(missingBudget({}, { calls: 1n })).toEqual({ name: 'calls', wanted: 1n, free: 0n });
  });

  it('may be called as what every object has', () => {
    const one = { constructor: 1n, toString: 2n } as unknown as Record<string, bigint>;
    expect(missingBudget({}, one)).toEqual({ name: 'constructor', wanted: 1n, free: 0n });
    expect(sum({}, one)).toEqual(one);
    expect(difference(one, {})).toEqual(one);
  });
});
