import { describe, expect, it } from 'vitest';
import { type Placement, Scope } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Want } from '../../../../src/domain/resource/pool/types.ts';
import { groupOf } from '../../../../src/domain/resource/pool/want-class.ts';
import type { PlannedMove } from '../../../../src/domain/resource/rebalance/planning.ts';
import { seeded } from '../../../support/faults/random.ts';
import { placed, SmallFleet } from './small-fleet.ts';

const { FREE_AGENTS, PLACE_WAITING, RELIEVE_HOT } = PlanRebalanceRequest_Goal;
const ROUNDS = Number(process.env.ORCHESTRATOR_TEST_PLANS ?? 200);
const RESOURCES = ['cpu', 'memory'];
const GROUPS = ['g0', 'g1', 'g2'];

/** What is where, kept beside the pool and reckoned in the plainest way. */
class Oracle {
  readonly where = new Map<string, string>();
  readonly #fleet: SmallFleet;

  constructor(fleet: SmallFleet) {
    this.#fleet = fleet;
    for (const { id, agentId } of fleet.tasks) this.where.set(id, agentId);
  }

  want(id: string): Want {
    const task = this.#fleet.tasks.find((each) => each.id === id);
    if (task === undefined) throw new Error(`no task ${id}`);
    return task.want;
  }

  reserved(agentId: string, resource: string, more: readonly string[] = []): number {
    let sum = 0;
    for (const { agentId: on, want } of this.#fleet.others) {
      if (on === agentId) sum += want.resources[resource] ?? 0;
    }
    for (const [id, on] of this.where) if (on === agentId) sum += this.want(id).resources[resource] ?? 0;
    for (const id of more) sum += this.want(id).resources[resource] ?? 0;
    return sum;
  }

  capacity(agentId: string, resource: string): number {
    return this.#fleet.pool.agent(agentId)?.capacity[resource] ?? 0;
  }

  excess(agentId: string, more: readonly string[] = []): string[] {
    const names = ['slots', ...RESOURCES];
    return names.filter((name) => this.reserved(agentId, name, more) > this.capacity(agentId, name));
  }

  level(agentId: string): number {
    return Math.max(
      ...['slots', ...RESOURCES].map((name) => this.reserved(agentId, name) / this.capacity(agentId, name)),
    );
  }

  empty(): number {
    const taken = new Set([...this.where.values(), ...this.#fleet.others.map(({ agentId }) => agentId)]);
    return [...this.#fleet.pool.agents()].filter(({ id }) => !taken.has(id)).length;
  }

  /** Required constraints that do not hold, in words. */
  broken(): Set<string> {
    const broken = new Set<string>();
    for (const [id, agentId] of this.where) {
      const { placement } = this.want(id);
      if (placement === undefined) continue;
      for (const words of this.#brokenOf(id, agentId, placement)) broken.add(`${id}: ${words}`);
    }
    return broken;
  }

  *#brokenOf(id: string, agentId: string, placement: Placement): Generator<string> {
    const group = groupOf(this.want(id));
    if (placement.agentIds.length > 0 && !placement.agentIds.includes(agentId)) yield 'agent_ids';
    if (placement.maxPerAgent > 0 && this.#count(group, agentId, false) > placement.maxPerAgent) {
      yield 'max_per_agent';
    }
    yield* this.#skewed(id, agentId, placement);
    for (const { group: other, scope, apart } of placement.affinities) {
      const own = other === group ? 1 : 0;
      const count = this.#count(other, agentId, scope === Scope.ZONE) - own;
      if (apart ? count > 0 : count <= 0) yield `${apart ? 'apart' : 'near'} ${other}`;
    }
  }

  *#skewed(id: string, agentId: string, { spreads }: Placement): Generator<string> {
    const { resources } = this.want(id);
    const group = groupOf(this.want(id));
    const large = [...this.#fleet.pool.agents()].filter(({ capacity }) =>
      Object.entries(resources).every(([name, amount]) => (capacity[name] ?? 0) >= amount),
    );
    const counts = large.map((agent) => this.#count(group, agent.id, false));
    for (const { maxSkew } of spreads) {
      if (this.#count(group, agentId, false) - Math.min(...counts) > maxSkew) yield 'spread';
    }
  }

  #count(group: string, agentId: string, byZone: boolean): number {
    const zone = this.#fleet.pool.agent(agentId)?.zone;
    return [...this.where].filter(([id, on]) => {
      const there = byZone ? this.#fleet.pool.agent(on)?.zone === zone : on === agentId;
      return there && groupOf(this.want(id)) === group;
    }).length;
  }
}

function fleetOf(seed: number): SmallFleet {
  const draw = seeded(seed);
  const random = () => draw.next();
  const below = (max: number) => Math.floor(random() * max);
  const fleet = new SmallFleet();
  const agents = 3 + below(6);
  for (let at = 0; at < agents; at += 1) {
    const capacity = { slots: 2 + below(7), cpu: 4 + below(9), memory: 4 + below(9) };
    fleet.agent(`a${at}`, capacity, { zone: `z${at % 2}` });
  }
  const placement = (): Placement | undefined => {
    const kind = below(8);
    const group = GROUPS[below(GROUPS.length)] ?? '';
    const other = GROUPS[below(GROUPS.length)] ?? '';
    const scope = below(2) === 0 ? Scope.AGENT : Scope.ZONE;
    if (kind < 3) return undefined;
    if (kind === 3) return placed({ group, maxPerAgent: 1 + below(2) });
    if (kind === 4)
      return placed({ group, affinities: [{ group: other, scope, apart: true, required: true }] });
    if (kind === 5) return placed({ group, affinities: [{ group: other, scope, required: true }] });
    if (kind === 6) return placed({ group, agentIds: [`a${below(agents)}`, `a${below(agents)}`] });
    return placed({ group, spreads: [{ scope: Scope.AGENT, required: true, maxSkew: 1 + below(2) }] });
  };
  const resources = () => ({ cpu: 1 + below(4), memory: 1 + below(3) });
  const tasks = 2 + below((random() < 0.4 ? 1 : 4) * agents);
  // Half of the fleets pile up on few agents: something is hot there.
  const pile = random() < 0.5;
  for (let at = 0; at < tasks; at += 1) {
    const want = { capability: 'work', placement: placement(), resources: { slots: 1, ...resources() } };
    const wanted = fleet.pool.classOf(want);
    const spot = `a${below(pile ? 2 : agents)}`;
    const agentId = fleet.pool.fits(wanted, spot) ? spot : fleet.pool.choose(wanted)?.agentId;
    fleet.pool.release(wanted);
    if (agentId === undefined) {
      fleet.waits(`w${at}`, want.resources, want.placement);
      continue;
    }
    fleet.task(`t${at}`, agentId, want.resources, {
      ...(want.placement === undefined ? {} : { placement: want.placement }),
      movable: random() < 0.8,
      accepted: random() < 0.8,
      ranMs: below(100) * 1000,
    });
  }
  if (below(3) === 0 && (fleet.pool.freeOn('a0', 'cpu') ?? 0) > 0) fleet.allocation('r', 'a0', { cpu: 1 });
  return fleet;
}

/** Those that would fit somewhere now, each by itself. */
function placeable(fleet: SmallFleet, oracle: Oracle): Set<string> {
  const pool = fleet.pool.copy();
  for (const task of fleet.tasks) {
    const hold = pool.held(task.key);
    const agentId = oracle.where.get(task.id);
    if (hold !== undefined && agentId !== undefined) pool.hold(task.key, { ...hold, agentId });
  }
  const fit = fleet.waiting.filter(({ want }) => pool.choose(pool.classOf(want)) !== undefined);
  return new Set(fit.map(({ id }) => id));
}

/** How many find room one after the other, in the order in which they wait. */
function placedInOrder(fleet: SmallFleet, oracle: Oracle): number {
  const pool = fleet.pool.copy();
  for (const task of fleet.tasks) {
    const hold = pool.held(task.key);
    const agentId = oracle.where.get(task.id);
    if (hold !== undefined && agentId !== undefined) pool.hold(task.key, { ...hold, agentId });
  }
  let count = 0;
  for (const { id, want } of fleet.waiting) {
    const agentId = pool.choose(pool.classOf(want))?.agentId;
    if (agentId === undefined) continue;
    count += 1;
    pool.hold(id, { agentId, resources: want.resources, group: groupOf(want), kind: 'task' });
  }
  return count;
}

describe.each([
  ['frees agents', FREE_AGENTS],
  ['relieves hot agents', RELIEVE_HOT],
  ['makes room for what waits', PLACE_WAITING],
] as const)('a plan that %s', (_name, goal) => {
  it('exceeds nothing and breaks no constraint at any step, moves each task once, and improves what it is for', () => {
    let moved = 0;
    for (let seed = 1; seed <= ROUNDS; seed += 1) {
      const fleet = fleetOf(seed);
      const oracle = new Oracle(fleet);
      const { moves } = fleet.plan(new Set([goal]));
      const about = `seed ${seed}, ${moves.map(({ task, to }) => `${task.id}: ${task.agentId}->${to}`).join(', ')}`;
      const before = {
        empty: oracle.empty(),
        levels: new Map(moves.map(({ task }) => [task.agentId, oracle.level(task.agentId)])),
        placeable: placeable(fleet, oracle),
        inOrder: placedInOrder(fleet, oracle),
      };
      expect(new Set(moves.map(({ task }) => task.id)).size, about).toBe(moves.length);
      carryOut(moves, oracle, about);
      moved += moves.length;
      const after = placeable(fleet, oracle);
      for (const id of before.placeable) expect(after.has(id), `${about}: ${id}`).toBe(true);
      if (moves.length === 0) continue;
      const sources = new Set(moves.map(({ task }) => task.agentId));
      if (goal === FREE_AGENTS) expect(oracle.empty(), about).toBe(before.empty + sources.size);
      if (goal === PLACE_WAITING) {
        const better = after.size > before.placeable.size || placedInOrder(fleet, oracle) > before.inOrder;
        expect(better, about).toBe(true);
      }
      if (goal !== RELIEVE_HOT) continue;
      const hottest = Math.max(...before.levels.values());
      for (const { task, to } of moves) {
        expect(oracle.level(task.agentId), about).toBeLessThan(before.levels.get(task.agentId) ?? 0);
        expect(oracle.level(to), about).toBeLessThan(hottest);
      }
    }
    // The seeds are worth something only while they make plans.
    expect(moved).toBeGreaterThan(ROUNDS / 20);
  });
});

function carryOut(moves: readonly PlannedMove[], oracle: Oracle, about: string): void {
  for (const { task, to } of moves) {
    expect(task.movable || !task.accepted, about).toBe(true);
    expect(oracle.where.get(task.id), about).toBe(task.agentId);
    const over = oracle.excess(to);
    // Both hold for a moment.
    expect(oracle.excess(to, [task.id]), `${about}, at ${task.id}`).toEqual(over);
    const broken = oracle.broken();
    oracle.where.set(task.id, to);
    const now = [...oracle.broken()].filter((words) => !broken.has(words));
    expect(now, `${about}, at ${task.id}`).toEqual([]);
  }
}
