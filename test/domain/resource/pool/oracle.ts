import { satisfies, valid, validRange } from 'semver';
import {
  PendingReason,
  type Placement,
  Placement_Strategy,
  Scope,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Hold, PoolAgent, Want } from '../../../../src/domain/resource/pool/types.ts';

/** A fleet as plain data: what the pool was told. */
export interface World {
  agents: Map<string, PoolAgent>;
  loads: Map<string, { load: number | undefined; usage: Record<string, number> | undefined }>;
  holds: Map<string, Hold>;
  overcommit: Record<string, number>;
  defaultSlots: number;
  defaultStrategy: 'binpack' | 'spread' | 'least_loaded';
}

export interface Ask {
  want: Want;
  exclude: ReadonlySet<string>;
  keptFree: ReadonlyMap<string, string>;
  forKey: string;
  drained: ReadonlySet<string>;
  /** In place of what agents declare. */
  capacities: ReadonlyMap<string, Record<string, number>>;
}

export interface Verdict {
  reason: PendingReason;
  /** Each agent that is excluded, by the first constraint that excludes it. */
  excluded: Map<string, string[]>;
  exhausted: Map<string, { agents: number; mostFree: number; largest: number }>;
  scores: Map<string, number>;
  eligible: number;
}

const LIVENESS = ['never_seen', 'suspect', 'disconnected', 'lost', 'left'];

/**
 * What the rules of docs/placement.md say, looked up agent by agent in the slowest and plainest way; written apart from the
 * pool, which it is to check.
 */
export function judge(world: World, ask: Ask): Verdict {
  const { want } = ask;
  const placement = want.placement;
  const needs = Object.entries(want.resources).filter(([, amount]) => amount > 0);
  const everyone = [...world.agents.values()];
  const fixed = new Map(everyone.map((agent) => [agent.id, fixedConstraint(agent, want)]));
  const inQuestion = everyone.filter(({ id }) => fixed.get(id) === undefined);
  const isLarge = (agent: PoolAgent) =>
    needs.every(([name, amount]) => reservable(world, ask, agent, name) >= amount);
  const hasRoom = (agent: PoolAgent) =>
    needs.every(([name, amount]) => free(world, ask, agent, name) >= amount);

  const beforeSpread = (agent: PoolAgent): string | undefined => {
    if (!agent.available) {
      return LIVENESS.includes(agent.unavailableWhy.toLowerCase()) ? 'liveness' : 'phase';
    }
    if (ask.exclude.has(agent.id)) return 'declined';
    const most = placement?.maxPerAgent ?? 0;
    if (most > 0 && countOnAgent(world, groupOf(want), agent.id) >= most) return 'max_per_agent';
    const wanted = placement?.affinities.filter(({ required }) => required) ?? [];
    return wanted.every((one) => isNear(world, want, one, agent)) ? undefined : 'affinity';
  };
  const couldHaveIt = inQuestion.filter(
    (agent) => beforeSpread(agent) === undefined && isLarge(agent) && !ask.drained.has(agent.id),
  );
  const skew = (agent: PoolAgent, scope: Scope): number => {
    const counts = couldHaveIt.map((other) => countIn(world, groupOf(want), scope, other));
    return countIn(world, groupOf(want), scope, agent) + 1 - Math.min(...counts);
  };
  const momentary = (agent: PoolAgent): string | undefined => {
    const before = beforeSpread(agent);
    if (before !== undefined) return before;
    for (const { required, scope, maxSkew } of placement?.spreads ?? []) {
      if (required && couldHaveIt.length > 0 && skew(agent, scope) > (maxSkew || 1)) return 'spread';
    }
    const keptFor = ask.keptFree.get(agent.id);
    if (keptFor !== undefined && keptFor !== ask.forKey) return 'reserved_for_waiting';
    return ask.drained.has(agent.id) ? 'what_if_drained' : undefined;
  };

  const excluded = new Map<string, string[]>();
  const left: PoolAgent[] = [];
  for (const agent of everyone) {
    const constraint = fixed.get(agent.id) ?? momentary(agent);
    if (constraint === undefined) left.push(agent);
    else excluded.set(constraint, [...(excluded.get(constraint) ?? []), agent.id]);
  }
  const exhausted: Verdict['exhausted'] = new Map();
  for (const [name, amount] of needs) {
    const lacking = left.filter((agent) => free(world, ask, agent, name) < amount);
    if (lacking.length === 0) continue;
    exhausted.set(name, {
      agents: lacking.length,
      mostFree: Math.max(0, ...lacking.map((agent) => free(world, ask, agent, name))),
      largest: Math.max(0, ...lacking.map((agent) => reservable(world, ask, agent, name))),
    });
  }
  const scores = new Map<string, number>();
  for (const agent of left) {
    if (hasRoom(agent))
      scores.set(
        agent.id,
        scoreOf(world, ask, agent, (scope) => skew(agent, scope)),
      );
  }

  const steps: [PendingReason, (agent: PoolAgent) => boolean][] = [
    [
      PendingReason.NO_CAPABILITY,
      ({ id }) => !['capability', 'capability_version'].includes(fixed.get(id) ?? ''),
    ],
    [PendingReason.CONSTRAINTS, ({ id }) => fixed.get(id) === undefined],
    [PendingReason.TOO_LARGE, isLarge],
    [PendingReason.AGENTS_AWAY, ({ id, available }) => available && !ask.drained.has(id)],
    [PendingReason.DECLINED, ({ id }) => !ask.exclude.has(id)],
    [
      PendingReason.CONSTRAINTS,
      (agent) => !['max_per_agent', 'affinity', 'spread'].includes(momentary(agent) ?? ''),
    ],
    [PendingReason.NO_ROOM, hasRoom],
    [PendingReason.TURN, (agent) => momentary(agent) === undefined],
  ];
  let reason: PendingReason = PendingReason.UNSPECIFIED;
  let still = everyone;
  for (const [why, passes] of steps) {
    still = still.filter(passes);
    if (still.length > 0) continue;
    reason = why;
    break;
  }
  return { reason, excluded, exhausted, scores, eligible: inQuestion.filter(isLarge).length };
}

function fixedConstraint(agent: PoolAgent, { capability, placement }: Want): string | undefined {
  if (capability !== '') {
    const same = agent.capabilities.filter(({ name }) => name === capability);
    if (same.length === 0) return 'capability';
    const version = placement?.capabilityVersion ?? '';
    if (version !== '' && !same.some((one) => takes(version, one.version))) return 'capability_version';
  }
  if (placement === undefined) return undefined;
  // The generated selectors are of one form: "key=value".
  const [key, value] = placement.selector.split('=');
  if (key !== undefined && key !== '' && agent.labels[key] !== value) return 'selector';
  if (placement.agentIds.length > 0 && !placement.agentIds.includes(agent.id)) return 'agent_ids';
  return placement.notAgentIds.includes(agent.id) ? 'not_agent_ids' : undefined;
}

function takes(wanted: string, version: string): boolean {
  if (wanted === version) return true;
  return validRange(wanted) !== null && valid(version) !== null && satisfies(version, wanted);
}

const groupOf = ({ group, placement, capability }: Want): string => group || placement?.group || capability;

const held = (world: World): Hold[] =>
  [...world.holds.values()].filter(({ agentId }) => world.agents.has(agentId));

function countOnAgent(world: World, group: string, agentId: string): number {
  return held(world).filter((hold) => hold.group === group && hold.agentId === agentId).length;
}

function countIn(world: World, group: string, scope: Scope, agent: PoolAgent): number {
  if (scope !== Scope.ZONE) return countOnAgent(world, group, agent.id);
  return held(world).filter(
    (hold) => hold.group === group && world.agents.get(hold.agentId)?.zone === agent.zone,
  ).length;
}

function isNear(
  world: World,
  want: Want,
  { group, scope, apart }: Placement['affinities'][number],
  agent: PoolAgent,
): boolean {
  const count = countIn(world, group, scope, agent);
  if (apart) return count === 0;
  const isFirst = group === groupOf(want) && held(world).every((hold) => hold.group !== group);
  return count > 0 || isFirst;
}

function capacity(world: World, ask: Ask, agent: PoolAgent, name: string): number {
  const all = ask.capacities.get(agent.id) ?? agent.capacity;
  return all[name] ?? (name === 'slots' ? world.defaultSlots : 0);
}

function reservable(world: World, ask: Ask, agent: PoolAgent, name: string): number {
  return Math.floor(capacity(world, ask, agent, name) * (world.overcommit[name] ?? 1));
}

function reserved(world: World, agent: PoolAgent, name: string): number {
  return held(world).reduce(
    (sum, hold) => sum + (hold.agentId === agent.id ? (hold.resources[name] ?? 0) : 0),
    0,
  );
}

const free = (world: World, ask: Ask, agent: PoolAgent, name: string): number =>
  reservable(world, ask, agent, name) - reserved(world, agent, name);

const share = (part: number, whole: number): number => (part === 0 ? 0 : Math.min(1, part / whole));

function scoreOf(world: World, ask: Ask, agent: PoolAgent, skew: (scope: Scope) => number): number {
  const { want } = ask;
  const parts: [weight: number, part: number][] = [[1, strategyPart(world, ask, agent)]];
  for (const one of want.placement?.affinities ?? []) {
    if (!one.required) parts.push([(one.weight || 50) / 50, isNear(world, want, one, agent) ? 1 : 0]);
  }
  for (const { required, scope, maxSkew } of want.placement?.spreads ?? []) {
    if (!required) parts.push([1, Math.min(1, (maxSkew || 1) / Math.max(1e-9, skew(scope)))]);
  }
  const weight = parts.reduce((sum, [one]) => sum + one, 0);
  return parts.reduce((sum, [one, part]) => sum + one * part, 0) / weight;
}

function strategyPart(world: World, ask: Ask, agent: PoolAgent): number {
  const { want } = ask;
  const named = new Map<Placement_Strategy | undefined, World['defaultStrategy']>([
    [Placement_Strategy.BINPACK, 'binpack'],
    [Placement_Strategy.SPREAD, 'spread'],
    [Placement_Strategy.LEAST_LOADED, 'least_loaded'],
  ]);
  const strategy = named.get(want.placement?.strategy) ?? world.defaultStrategy;
  const declared = ask.capacities.get(agent.id) ?? agent.capacity;
  const heldNames = held(world).flatMap((hold) =>
    hold.agentId === agent.id ? Object.keys(hold.resources) : [],
  );
  const names = new Set(['slots', ...Object.keys(declared), ...heldNames]);
  const now = (name: string): number =>
    share(reserved(world, agent, name), reservable(world, ask, agent, name));
  const after = Object.entries(want.resources)
    .filter(([, amount]) => amount > 0)
    .map(([name, amount]) =>
      share(reserved(world, agent, name) + amount, reservable(world, ask, agent, name)),
    );
  const fullest = Math.max(0, ...[...names].map(now), ...after);
  if (strategy === 'least_loaded') {
    const { load, usage } = world.loads.get(agent.id) ?? {};
    const shares = Object.entries(usage ?? {})
      .filter(([name]) => capacity(world, ask, agent, name) > 0)
      .map(([name, used]) => share(used, capacity(world, ask, agent, name)));
    const reports = [...(load === undefined ? [] : [load]), ...shares];
    const reported = reports.length === 0 ? fullest : Math.max(...reports);
    return 1 - (fullest + reported) / 2;
  }
  const fill =
    after.length === 0
      ? Math.max(0, ...[...names].map(now))
      : after.reduce((sum, one) => sum + one, 0) / after.length;
  return strategy === 'binpack' ? fill : 1 - fill;
}
