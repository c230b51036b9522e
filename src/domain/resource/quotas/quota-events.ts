import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Budget, Quota } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import { periodEndMs, periodMsOf } from '../accounts/limits.ts';

/** For people: whose quota it is. */
export const quotaWords = (owner: string): string =>
  owner === '' ? 'the quota of the namespace' : `the quota of owner ${owner}`;

export function quotaUpdated(owner: string, quota: Quota, isNew: boolean): NewEvent {
  const { actor } = quota;
  return {
    type: 'quota.updated',
    severity: Event_Severity.INFO,
    message: `${actor} ${isNew ? 'set' : 'changed'} ${quotaWords(owner)}: ${limitWords(quota)}`,
    actor,
    attributes: { owner, weight: `${quota.weight || 1}`, ...limitAttributes(quota) },
  };
}

export function quotaRemoved(owner: string, actor: string): NewEvent {
  return {
    type: 'quota.removed',
    severity: Event_Severity.INFO,
    message: `${actor} removed ${quotaWords(owner)}`,
    actor,
    attributes: { owner },
  };
}

export function softExceeded(
  owner: string,
  { resource, reserved, limit }: { resource: string; reserved: number; limit: number },
): NewEvent {
  return {
    type: 'quota.soft_exceeded',
    severity: Event_Severity.WARNING,
    message: `${reserved} ${resource} are reserved, the soft limit in ${quotaWords(owner)} is ${limit}`,
    actor: 'rule:quotas',
    attributes: { owner, resource, reserved: `${reserved}`, limit: `${limit}` },
  };
}

export function budgetEvent(
  type: 'budget.low' | 'budget.spent',
  owner: string,
  budget: Budget,
  spent: bigint,
  nowMs: number,
): NewEvent {
  const { name, limit } = budget;
  const periodMs = periodMsOf(budget);
  const until = periodMs === undefined ? '' : new Date(periodEndMs(periodMs, nowMs)).toISOString();
  const words = type === 'budget.spent' ? 'is spent' : 'is nearly spent';
  const period = until === '' ? '' : `; it begins anew at ${until}`;
  return {
    type,
    severity: type === 'budget.spent' ? Event_Severity.ERROR : Event_Severity.WARNING,
    message: `budget ${name} in ${quotaWords(owner)} ${words}: ${spent} of ${limit}${period}`,
    actor: 'rule:budgets',
    attributes: {
      ...{ owner, budget: name, spent: `${spent}`, limit: `${limit}` },
      ...(until === '' ? {} : { period_end: until }),
    },
  };
}

/** The most that is told of a quota in an event. */
const MAX_TOLD = 8;

function limitWords({ hard, soft, budgets }: Quota): string {
  const told = [
    ...Object.entries(hard).map(([name, limit]) => `at most ${limit} ${name}`),
    ...Object.entries(soft).map(([name, limit]) => `${limit} ${name} (soft)`),
    ...budgets.map(({ name, limit, period }) => {
      const each = period === undefined ? '' : ` every ${period.seconds} s`;
      return `a budget of ${limit} ${name}${each}`;
    }),
  ];
  if (told.length === 0) return 'no limits';
  const more = told.length > MAX_TOLD ? `, and ${told.length - MAX_TOLD} more` : '';
  return told.slice(0, MAX_TOLD).join(', ') + more;
}

function limitAttributes({ hard, soft, budgets }: Quota): Record<string, string> {
  const all = [
    ...Object.entries(hard).map(([name, limit]) => [`hard.${name}`, `${limit}`] as const),
    ...Object.entries(soft).map(([name, limit]) => [`soft.${name}`, `${limit}`] as const),
    ...budgets.map(({ name, limit }) => [`budget.${name}`, `${limit}`] as const),
  ];
  return Object.fromEntries(all.slice(0, MAX_TOLD));
}
