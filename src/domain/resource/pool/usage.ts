import { type LabelSelector, matches } from '../../agent/label-selector.ts';
import { amountOf } from '../amounts.ts';
import type { AgentEntry, Fleet } from './fleet.ts';
import type { AgentFigures, PoolAgent, PoolUsage, ResourceFigures, ZoneFigures } from './types.ts';

/** What there is, is held and is used on one agent. */
export function figuresOf(fleet: Fleet, entry: AgentEntry, agent: PoolAgent): AgentFigures {
  const names = new Set([...entry.resources, ...Object.keys(entry.usage ?? {})]);
  const resources = [...names].sort().map((resource): ResourceFigures => {
    const table = fleet.table(resource);
    const reported = entry.usage !== undefined && Object.hasOwn(entry.usage, resource);
    const reservable = table?.reservableOn(entry.slot) ?? 0;
    const reserved = table?.reservedOn(entry.slot) ?? 0;
    return {
      resource,
      capacity: table?.capacityOn(entry.slot) ?? 0,
      reservable,
      reserved,
      used: reported ? amountOf(entry.usage ?? {}, resource) : undefined,
      usedAgents: reported ? 1 : 0,
      usedOldestMs: reported ? entry.reportedMs : undefined,
      excess: Math.max(0, reserved - reservable),
    };
  });
  return {
    agentId: agent.id,
    zone: agent.zone,
    resources,
    tasks: entry.tasks,
    allocations: entry.holds.size - entry.tasks,
    available: agent.available,
    unavailableWhy: agent.available ? '' : agent.unavailableWhy,
  };
}

/** The same of all agents that the selector picks, and the sums. */
export function usageOf(fleet: Fleet, selector: LabelSelector | undefined): PoolUsage {
  const agents: AgentFigures[] = [];
  const total = new Map<string, ResourceFigures>();
  const zones = new Map<string, { agents: number; sums: Map<string, ResourceFigures> }>();
  for (const entry of fleet.entries()) {
    const { agent } = entry;
    if (agent === undefined || (selector !== undefined && !matches(selector, agent.labels))) continue;
    const figures = figuresOf(fleet, entry, agent);
    agents.push(figures);
    let zone = zones.get(agent.zone);
    if (zone === undefined) {
      zone = { agents: 0, sums: new Map() };
      zones.set(agent.zone, zone);
    }
    zone.agents += 1;
    for (const one of figures.resources) {
      addTo(total, one, agent.available);
      addTo(zone.sums, one, agent.available);
    }
  }
  return {
    total: byName(total),
    zones: [...zones]
      .map(
        ([zone, { agents: count, sums }]): ZoneFigures => ({ zone, resources: byName(sums), agents: count }),
      )
      .sort((a, b) => (a.zone < b.zone ? -1 : 1)),
    agents: agents.sort((a, b) => (a.agentId < b.agentId ? -1 : 1)),
  };
}

/** Capacity counts where work may go; what is held and used counts everywhere. */
function addTo(sums: Map<string, ResourceFigures>, one: ResourceFigures, available: boolean): void {
  let sum = sums.get(one.resource);
  if (sum === undefined) {
    sum = {
      ...{ resource: one.resource, capacity: 0, reservable: 0, reserved: 0, excess: 0 },
      ...{ used: undefined, usedAgents: 0, usedOldestMs: undefined },
    };
    sums.set(one.resource, sum);
  }
  if (available) {
    sum.capacity += one.capacity;
    sum.reservable += one.reservable;
  }
  sum.reserved += one.reserved;
  sum.excess += one.excess;
  if (one.used === undefined) return;
  sum.used = (sum.used ?? 0) + one.used;
  sum.usedAgents += one.usedAgents;
  sum.usedOldestMs = oldest(sum.usedOldestMs, one.usedOldestMs);
}

function oldest(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return Math.min(a, b);
}

function byName(sums: ReadonlyMap<string, ResourceFigures>): ResourceFigures[] {
  return [...sums.values()].sort((a, b) => (a.resource < b.resource ? -1 : 1));
}
