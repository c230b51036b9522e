import { create } from '@bufbuild/protobuf';
import {
  type Budget,
  BudgetSchema,
  QuotaSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type QuotaRecord,
  QuotaRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Check } from '../../../state/store.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import type { Accounts } from '../accounts/accounts.ts';
import { periodAt, periodMsOf } from '../accounts/limits.ts';
import { budgetEvent } from './quota-events.ts';
import { encodeQuota, quotaKey, quotaOf, specRevisionOf } from './quota-record.ts';

export type Spent = { readonly [name: string]: bigint };

/** What of a budget is spent in the period that a time is in. */
export function spentNow(budget: Budget, periods: QuotaRecord['periods'], nowMs: number): bigint {
  const periodMs = periodMsOf(budget);
  if (periodMs === undefined) return budget.spent;
  const period = Object.hasOwn(periods, budget.name) ? periods[budget.name] : undefined;
  return period === BigInt(periodAt(periodMs, nowMs)) ? budget.spent : 0n;
}

/**
 * A quota's record with what tasks and allocations spent that are settled now; of a budget with a period it counts in the one
 * that a time is in. Undefined: it has no budget of any of the names. Pure.
 * @param revision of the record's entry
 */
export function takeOver(
  record: QuotaRecord,
  spent: Spent,
  nowMs: number,
  revision = 0n,
): QuotaRecord | undefined {
  const quota = quotaOf(record);
  const periods = { ...record.periods };
  let changed = false;
  const budgets = quota.budgets.map((budget) => {
    const amount = Object.hasOwn(spent, budget.name) ? (spent[budget.name] ?? 0n) : 0n;
    if (amount === 0n) return budget;
    changed = true;
    const before = spentNow(budget, record.periods, nowMs);
    const periodMs = periodMsOf(budget);
    if (periodMs !== undefined) periods[budget.name] = BigInt(periodAt(periodMs, nowMs));
    return Object.assign(create(BudgetSchema), budget, { spent: before + amount });
  });
  if (!changed) return undefined;
  const next = Object.assign(create(QuotaRecordSchema), record);
  next.quota = Object.assign(create(QuotaSchema), quota, { budgets });
  next.periods = periods;
  next.specRevision = specRevisionOf(record, revision);
  return next;
}

/** What a commit is made of that takes over what was spent. */
export interface Settlement {
  checks: Check[];
  puts: { key: string; value: Uint8Array }[];
  /** budget.low and budget.spent, where that was crossed. */
  events: NewEvent[];
}

/**
 * Takes over into the quotas what was spent, by owner. The commit must settle what spent it as well, and be retried when it is
 * refused. Pure.
 */
export function settlement(
  accounts: Accounts,
  spentByOwner: ReadonlyMap<string, Spent>,
  nowMs: number,
): Settlement {
  const made: Settlement = { checks: [], puts: [], events: [] };
  for (const [owner, spent] of partiesOf(spentByOwner)) {
    const record = accounts.record(owner);
    const revision = accounts.revision(owner);
    made.checks.push({ key: quotaKey(owner), revision });
    const next = record && takeOver(record, spent, nowMs, revision);
    if (record === undefined || next === undefined) continue;
    made.puts.push({ key: quotaKey(owner), value: encodeQuota(next) });
    made.events.push(...crossings(owner, record, next, nowMs));
  }
  return made;
}

/** Owners and the namespace, with what was spent of each one's budgets. */
function partiesOf(spentByOwner: ReadonlyMap<string, Spent>): Map<string, Spent> {
  const parties = new Map<string, Spent>();
  const add = (owner: string, spent: Spent): void => {
    const sum = Object.assign(Object.create(null), parties.get(owner)) as Record<string, bigint>;
    for (const [name, amount] of Object.entries(spent)) sum[name] = (sum[name] ?? 0n) + amount;
    parties.set(owner, sum);
  };
  for (const [owner, spent] of spentByOwner) {
    add('', spent);
    if (owner !== '') add(owner, spent);
  }
  return parties;
}

/** Shares of a budget that are events when they are reached, the higher first. */
const MARKS = [
  { type: 'budget.spent', percent: 100n },
  { type: 'budget.low', percent: 90n },
] as const;

function crossings(owner: string, before: QuotaRecord, after: QuotaRecord, nowMs: number): NewEvent[] {
  return quotaOf(after).budgets.flatMap((budget) => {
    const earlier = quotaOf(before).budgets.find(({ name }) => name === budget.name);
    const was = earlier === undefined ? 0n : spentNow(earlier, before.periods, nowMs);
    const is = spentNow(budget, after.periods, nowMs);
    const reached = (spent: bigint, percent: bigint): boolean => spent * 100n >= budget.limit * percent;
    const crossed = MARKS.find(({ percent }) => !reached(was, percent) && reached(is, percent));
    return crossed === undefined ? [] : [budgetEvent(crossed.type, owner, budget, is, nowMs)];
  });
}
