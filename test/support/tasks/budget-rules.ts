import type { QuotaRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration } from '../../../src/lib/proto-time.ts';
import {
  accountsOf,
  allocationOf,
  type Changed,
  type Diff,
  holdsBudgets,
  type LedgerState,
  taskOf,
  treeSpent,
} from './ledger-state.ts';
import { type Amounts, Tally } from './tally.ts';

/** Clocks of the scheduler and of the store may differ by this much where a period ends. */
const SKEW_MS = 1_000;

/** The least that a quota allows: while a change is only wanted, the lower of both binds. Undefined: no limit. */
export function hardLimit({ quota, wanted }: QuotaRecord, name: string): bigint | undefined {
  return least(quota?.hard[name], wanted?.hard[name]);
}

export function budgetLimit({ quota, wanted }: QuotaRecord, name: string): bigint | undefined {
  const of = (from: QuotaRecord['quota']) => from?.budgets.find((budget) => budget.name === name)?.limit;
  // A budget that only `wanted` has is not there yet.
  return of(quota) === undefined ? undefined : least(of(quota), of(wanted));
}

/** What of a budget has been spent in the period of that moment, the kinder one where a period has just ended. */
export function spentAt(record: QuotaRecord, name: string, timeMs: number): bigint {
  const budget = record.quota?.budgets.find((each) => each.name === name);
  if (budget === undefined) return 0n;
  if (budget.period === undefined) return budget.spent;
  const periodMs = msFromDuration(budget.period);
  const periods = [timeMs, timeMs + SKEW_MS].map((ms) => BigInt(Math.floor(ms / periodMs)));
  return periods.every((period) => period === record.periods[name]) ? budget.spent : 0n;
}

/** Whether UpdateQuota, or something like it, wrote the record anew. */
export function isRespecified({ before, after }: Changed<QuotaRecord>): boolean {
  if (before === undefined || after === undefined) return true;
  const time = ({ quota }: QuotaRecord) => `${quota?.updateTime?.seconds}.${quota?.updateTime?.nanos}`;
  return before.specRevision !== after.specRevision || time(before) !== time(after);
}

/** What a commit settled, by account: what is to be added to what quotas say has been spent. */
export function settledIn({ tasks, allocations }: Diff): Tally {
  const taken = new Tally();
  for (const { before, after } of tasks) {
    if (before === undefined || after === undefined || before.settled || !after.settled) continue;
    const { spec } = taskOf(after);
    if (spec.parentTaskId !== '') continue;
    for (const who of accountsOf(spec.labels.owner)) taken.add(who, treeSpent(after));
  }
  for (const { before, after } of allocations) {
    if (before === undefined || after === undefined || before.settled || !after.settled) continue;
    const { spec, spent } = allocationOf(after);
    for (const who of accountsOf(spec.labels.owner)) taken.add(who, spent);
  }
  return taken;
}

/** What quotas say has been spent changes by what is settled in the same commit, and by nothing else. */
export function settlementFaults(state: LedgerState, diff: Diff): string[] {
  const taken = settledIn(diff);
  const changed = new Map(diff.quotas.map((each) => [each.id, each]));
  const faults: string[] = [];
  for (const owner of new Set([...taken.who, ...changed.keys()])) {
    const { before, after } = changed.get(owner) ?? { before: undefined, after: undefined };
    const now = changed.has(owner) ? after : state.quotas.get(owner);
    const anew = changed.has(owner) && isRespecified({ id: owner, before, after });
    for (const { name, spent } of now?.quota?.budgets ?? []) {
      const more = taken.of(owner, name);
      if (!changed.has(owner)) {
        if (more !== 0n) faults.push(`${more} ${name} were settled, and quota "${owner}" does not say so`);
        continue;
      }
      const samePeriod = before?.periods[name] === after?.periods[name];
      const had = before?.quota?.budgets.find((each) => each.name === name)?.spent ?? 0n;
      const right = samePeriod ? [had + more, ...(anew ? [more] : [])] : [more];
      if (!right.includes(spent)) {
        faults.push(
          `quota "${owner}" says ${spent} ${name} were spent after ${had}, and ${more} were settled`,
        );
      }
    }
  }
  return faults;
}

/** What a task says of those below it is what they hold and have spent. */
export function familyFaults(state: LedgerState, diff: Diff): string[] {
  const parents = new Set<string>();
  for (const { id, after } of diff.tasks) {
    if (after === undefined) continue;
    const { parentTaskId } = taskOf(after).spec;
    if (parentTaskId !== '') parents.add(parentTaskId);
    if (state.children.has(id)) parents.add(id);
  }
  const faults: string[] = [];
  for (const id of parents) {
    const parent = state.tasks.get(id);
    if (parent === undefined) {
      faults.push(`the parent ${id} was never there`);
      continue;
    }
    const [held, spent] = [new Tally(), new Tally()];
    for (const childId of state.children.get(id) ?? []) {
      const child = state.tasks.get(childId);
      if (child === undefined) continue;
      if (holdsBudgets(child)) held.add('', taskOf(child).budgets);
      else if (child.settled) spent.add('', treeSpent(child));
    }
    const compare = (what: string, said: Amounts, is: Tally): void => {
      for (const name of new Set([...Object.keys(said), ...is.names('')])) {
        const [told, true_] = [said[name] ?? 0n, is.of('', name)];
        if (told !== true_)
          faults.push(`task ${id} says those below it ${what} ${told} ${name}, not ${true_}`);
      }
    };
    compare('hold', parent.childrenHeld, held);
    compare('spent', parent.childrenSpent, spent);
  }
  return faults;
}

function least(...limits: (bigint | undefined)[]): bigint | undefined {
  return limits.reduce((low, limit) =>
    low === undefined || (limit !== undefined && limit < low) ? limit : low,
  );
}
