import type { TaskRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { type Amounts, amountsOf } from '../../resource/amounts.ts';
import { difference, hasBudgets, quantityOf, specOf, sum, taskOf } from './task-record.ts';

/** Whether a task's grant is reserved: from its first assignment until what it spent is taken over. */
export const holdsBudgets = (record: TaskRecord): boolean =>
  hasBudgets(record) && taskOf(record).attemptCount > 0 && !record.settled;

/** What its first assignment takes of quotas; undefined: nothing, because it has it already, or has it of its parent. */
export function ownBudgets(record: TaskRecord): Amounts | undefined {
  if (!hasBudgets(record) || specOf(record).parentTaskId !== '' || holdsBudgets(record)) return undefined;
  return amountsOf(taskOf(record).budgets);
}

/** What its first assignment takes of its parent; undefined: nothing. */
export function budgetsOfParent(record: TaskRecord): Record<string, bigint> | undefined {
  if (!hasBudgets(record) || specOf(record).parentTaskId === '' || holdsBudgets(record)) return undefined;
  return taskOf(record).budgets;
}

/** All that a task itself has spent, attempts that go on included. */
export function spentBy(record: TaskRecord): Record<string, bigint> {
  let spent = taskOf(record).spent;
  for (const live of record.live) spent = sum(spent, live.spent);
  return spent;
}

/** All that it and those below it have spent, as far as those are settled. */
export const spentByTree = (record: TaskRecord): Record<string, bigint> =>
  sum(spentBy(record), record.childrenSpent);

/** What it may still spend itself, or give to tasks below it: nothing as long as its own grant is not reserved. */
export function freeBudgets(record: TaskRecord): Record<string, bigint> {
  if (!holdsBudgets(record)) return {};
  return difference(taskOf(record).budgets, sum(spentByTree(record), record.childrenHeld));
}

/** The first of them of which there is too little; undefined: there is enough. */
export function missingBudget(
  free: Record<string, bigint>,
  wanted: Record<string, bigint>,
): { name: string; wanted: bigint; free: bigint } | undefined {
  for (const [name, amount] of Object.entries(wanted)) {
    const left = quantityOf(free, name);
    if (amount > left) return { name, wanted: amount, free: left };
  }
  return undefined;
}
