import type { Item } from './waiting.ts';

/** Budgets alone, of no agent. */
export const takesNoAgent = ({ kind, want }: Item): boolean =>
  kind === 'allocation' &&
  want.capability === '' &&
  want.placement === undefined &&
  Object.keys(want.resources).length === 0;

/** Agents that refused it of late. */
export function excluded(item: Item, nowMs: number): ReadonlySet<string> | undefined {
  if (item.refusals.size === 0) return undefined;
  const left = new Set<string>();
  for (const [agentId, untilMs] of item.refusals) if (untilMs > nowMs) left.add(agentId);
  return left.size === 0 ? undefined : left;
}

/** When the next agent that refused it may be asked again. */
export const nextRefusalMs = (item: Item, nowMs: number): number =>
  Math.min(...[...item.refusals.values()].filter((untilMs) => untilMs > nowMs));
