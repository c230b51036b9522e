import type { Budget } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { QuotaRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import { quotaOf } from '../quotas/quota-record.ts';

/** A budget as it binds. */
export interface BudgetLimit {
  limit: number;
  /** Absent: it never begins anew. */
  periodMs: number | undefined;
  /** What tasks and allocations have spent that are settled, in period `period`. */
  spent: number;
  period: number;
}

/** What a quota record says, ready to be asked. */
export interface Limits {
  /** By resource; the lowest of all that binds. */
  hard: ReadonlyMap<string, number>;
  soft: ReadonlyMap<string, number>;
  /** Those that are declared. */
  budgets: ReadonlyMap<string, BudgetLimit>;
  /** What binds besides, while a change is wanted: by budget, at most so much may be spent and reserved. */
  wantedBudgets: ReadonlyMap<string, number>;
  weight: number;
}

/** The number of the period that a time is in, counted from the Unix epoch. */
export function periodAt(periodMs: number, nowMs: number): number {
  return Math.floor(nowMs / periodMs);
}

/** When the period ends that a time is in, milliseconds since the Unix epoch. */
export function periodEndMs(periodMs: number, nowMs: number): number {
  return (periodAt(periodMs, nowMs) + 1) * periodMs;
}

export function periodMsOf(budget: Pick<Budget, 'period'>): number | undefined {
  return budget.period === undefined ? undefined : msFromDuration(budget.period);
}

/** What of a budget is spent at a time: at a period's end the spent begins anew. */
export function spentAt({ periodMs, period, spent }: BudgetLimit, nowMs: number): number {
  return periodMs === undefined || period === periodAt(periodMs, nowMs) ? spent : 0;
}

/** Until a change that is wanted is confirmed, or taken back, the lower of both limits binds. */
export function limitsOf(record: QuotaRecord): Limits {
  const quota = quotaOf(record);
  const wanted = record.wanted;
  const hard = numbers(quota.hard);
  const wantedBudgets = new Map<string, number>();
  const budgets = new Map<string, BudgetLimit>();
  for (const budget of quota.budgets) {
    const limit = {
      limit: Number(budget.limit),
      periodMs: periodMsOf(budget),
      spent: Number(budget.spent),
      period: Number(record.periods[budget.name] ?? 0n),
    };
    budgets.set(budget.name, limit);
    // It goes, as far as is wanted: nothing more may be reserved of it.
    if (wanted !== undefined || record.removalWanted) wantedBudgets.set(budget.name, 0);
  }
  for (const [name, limit] of numbers(wanted?.hard ?? {})) {
    hard.set(name, Math.min(limit, hard.get(name) ?? limit));
  }
  for (const { name, limit } of wanted?.budgets ?? []) wantedBudgets.set(name, Number(limit));
  return { hard, soft: numbers(quota.soft), budgets, wantedBudgets, weight: quota.weight || 1 };
}

function numbers(amounts: { readonly [name: string]: bigint }): Map<string, number> {
  return new Map(Object.entries(amounts).map(([name, amount]) => [name, Number(amount)]));
}
