import { create } from '@bufbuild/protobuf';
import {
  BudgetSchema,
  type Quota,
  QuotaSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type QuotaRecord,
  QuotaRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Accounts } from '../accounts/accounts.ts';
import { periodAt, periodMsOf } from '../accounts/limits.ts';
import { QUOTA_FORMAT, quotaOf, specRevisionOf } from './quota-record.ts';
import { spentNow } from './spending.ts';

/** What an update says of a quota, with who asked for it and when. */
export interface Wish {
  quota: Quota;
  actor: string;
  /** What is spent is forgotten. */
  resetSpent: boolean;
}

/**
 * The quota as it is asked for, to be stored in `wanted` or to be confirmed. `spent` of its budgets is what is to be forgotten of
 * what is spent now. Pure.
 */
export function wishOf(
  { quota, actor, resetSpent }: Wish,
  record: QuotaRecord | undefined,
  nowMs: number,
): Quota {
  const spent = new Map(
    (record === undefined ? [] : quotaOf(record).budgets).map((budget) => [
      budget.name,
      spentNow(budget, record?.periods ?? {}, nowMs),
    ]),
  );
  return create(QuotaSchema, {
    hard: quota.hard,
    soft: quota.soft,
    weight: quota.weight,
    actor,
    updateTime: timestampFromMs(nowMs),
    budgets: quota.budgets.map(({ name, limit, period }) =>
      create(BudgetSchema, {
        name,
        limit,
        ...(period === undefined ? {} : { period }),
        spent: resetSpent ? (spent.get(name) ?? 0n) : 0n,
      }),
    ),
  });
}

/** Something of which there would be less than there is now. */
export interface Lowered {
  kind: 'hard' | 'budget';
  name: string;
  /** Of a budget that goes: 0. */
  limit: number;
  goes: boolean;
}

/** What a change, or with `wanted` undefined a removal, lowers. Where it lowers nothing it needs no second step. Pure. */
export function loweredBy(record: QuotaRecord | undefined, wanted: Quota | undefined): Lowered[] {
  const present = record === undefined ? create(QuotaSchema) : quotaOf(record);
  const before = new Map(present.budgets.map((budget) => [budget.name, budget]));
  const after = new Map((wanted?.budgets ?? []).map((budget) => [budget.name, budget]));
  const hard = Object.entries(wanted?.hard ?? {}).flatMap(([name, limit]): Lowered[] => {
    const old = Object.hasOwn(present.hard, name) ? present.hard[name] : undefined;
    const isLower = old === undefined || limit < old;
    return isLower ? [{ kind: 'hard', name, limit: Number(limit), goes: false }] : [];
  });
  const lowered = [...after.values()].flatMap((budget): Lowered[] => {
    const old = before.get(budget.name);
    const samePeriod = old !== undefined && periodMsOf(old) === periodMsOf(budget);
    if (samePeriod && budget.limit >= old.limit) return [];
    return [{ kind: 'budget', name: budget.name, limit: Number(budget.limit), goes: false }];
  });
  const gone = [...before.keys()].filter((name) => !after.has(name));
  return [
    ...hard,
    ...lowered,
    ...gone.map((name): Lowered => ({ kind: 'budget', name, limit: 0, goes: true })),
  ];
}

/** More is taken already than the new limit. */
export interface InUse {
  name: string;
  limit: number;
  used: number;
  goes: boolean;
}

/** What of the things that are lowered is taken beyond the new limit. Pure. */
export function inUse(
  accounts: Accounts,
  owner: string,
  { record, wanted }: { record: QuotaRecord; wanted: Quota | undefined },
  nowMs: number,
): InUse | undefined {
  for (const { kind, name, limit, goes } of loweredBy(record, wanted)) {
    const reserved = kind === 'hard' ? accounts.reserved(owner, name) : accounts.reservedBudget(owner, name);
    const used = reserved + (kind === 'hard' || goes ? 0 : keptSpent(record, wanted, name, nowMs));
    if (used > limit) return { name, limit, used, goes };
  }
  return undefined;
}

function keptSpent(record: QuotaRecord, wanted: Quota | undefined, name: string, nowMs: number): number {
  const budget = quotaOf(record).budgets.find((each) => each.name === name);
  const forgotten = wanted?.budgets.find((each) => each.name === name)?.spent ?? 0n;
  if (budget === undefined) return 0;
  return Math.max(0, Number(spentNow(budget, record.periods, nowMs) - forgotten));
}

/** What is asked for stands beside what holds, and the lower of both binds. Pure. */
export function wanting(
  record: QuotaRecord | undefined,
  wanted: Quota | 'removal',
  { revision, nowMs }: { revision: bigint; nowMs: number },
): QuotaRecord {
  const next = copyOf(record, revision);
  next.wantedTimeMs = BigInt(nowMs);
  if (wanted === 'removal') next.removalWanted = true;
  else next.wanted = wanted;
  return next;
}

/** What is asked for holds. What was spent stays, unless it is to be forgotten; also where a period changes. Pure. */
export function confirmed(record: QuotaRecord | undefined, wanted: Quota, nowMs: number): QuotaRecord {
  const next = copyOf(record, 0n);
  clearWish(next);
  const before = record === undefined ? [] : quotaOf(record).budgets;
  const periods: QuotaRecord['periods'] = {};
  const budgets = wanted.budgets.map((budget) => {
    const old = before.find(({ name }) => name === budget.name);
    const spent = old === undefined ? 0n : spentNow(old, record?.periods ?? {}, nowMs);
    const periodMs = periodMsOf(budget);
    if (periodMs !== undefined) periods[budget.name] = BigInt(periodAt(periodMs, nowMs));
    const kept = spent > budget.spent ? spent - budget.spent : 0n;
    return Object.assign(create(BudgetSchema), budget, { spent: kept });
  });
  next.quota = Object.assign(create(QuotaSchema), wanted, { budgets });
  next.periods = periods;
  // Its own revision is the one of this change.
  next.specRevision = 0n;
  return next;
}

/** What was asked for is not to be had. Undefined: there was nothing before. Pure. @param revision of the record's entry */
export function takenBack(record: QuotaRecord, revision: bigint): QuotaRecord | undefined {
  if (record.quota === undefined) return undefined;
  const next = copyOf(record, revision);
  clearWish(next);
  return next;
}

export const isUnsettled = ({ wanted, removalWanted }: QuotaRecord): boolean =>
  wanted !== undefined || removalWanted;

function copyOf(record: QuotaRecord | undefined, revision: bigint): QuotaRecord {
  if (record === undefined) return create(QuotaRecordSchema, { format: QUOTA_FORMAT });
  const next = Object.assign(create(QuotaRecordSchema), record);
  next.specRevision = record.quota === undefined ? 0n : specRevisionOf(record, revision);
  return next;
}

function clearWish(record: QuotaRecord): void {
  delete record.wanted;
  record.removalWanted = false;
  record.wantedTimeMs = 0n;
}
