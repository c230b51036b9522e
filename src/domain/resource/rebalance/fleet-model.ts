import { type Amounts, amountOf } from '../amounts.ts';
import type { AgentPool } from '../pool/agent-pool.ts';
import type { Hold, PoolAgent, Want } from '../pool/types.ts';
import { groupOf, type WantClass } from '../pool/want-class.ts';
import type { Fleet, PlacedTask, Resident } from './fleet.ts';

/** An agent in the model. */
export interface ModelAgent {
  readonly agent: PoolAgent;
  readonly capacity: Amounts;
  /** Capacity with over-commit. */
  readonly reservable: Amounts;
  readonly reserved: Map<string, number>;
  /** Reported, and as it is expected to be after the moves; undefined: nothing was reported of late. */
  readonly used: Map<string, number> | undefined;
  /** What is held there. */
  readonly keys: Set<string>;
}

/** Something whose constraints may be broken by what comes and goes elsewhere. */
interface Constrained {
  resident: Resident;
  wanted: WantClass;
}

/** Takes a move back. */
export type Undo = () => void;

/** More of them than this are not looked at for one move: it is left out. */
const MAX_CHECKED = 2_000;

/** What would be if tasks moved: a fleet on which moves are made one after the other and can be taken back. */
export class FleetModel {
  readonly fleet: Fleet;
  readonly #pool: AgentPool;
  readonly #agents = new Map<string, ModelAgent>();
  readonly #classes = new Map<Want, WantClass>();
  /** Agents by the keys under which room is reserved on them. */
  readonly #reserved = new Map<string, string>();
  /** By the group whose comings and goings concern them, by key. */
  readonly #constrained = new Map<string, Map<string, Constrained>>();

  private constructor(fleet: Fleet) {
    this.fleet = fleet;
    this.#pool = fleet.pool;
  }

  /** Made step by step. */
  static *of(fleet: Fleet): Generator<void, FleetModel> {
    const model = new FleetModel(fleet);
    for (const agent of fleet.pool.agents()) {
      model.#agents.set(agent.id, model.#read(agent));
      yield;
    }
    for (const each of [...fleet.tasks, ...fleet.others]) {
      model.#constrain(each);
      yield;
    }
    return model;
  }

  agents(): IterableIterator<ModelAgent> {
    return this.#agents.values();
  }

  agent(id: string): ModelAgent | undefined {
    return this.#agents.get(id);
  }

  fits(want: Want, agentId: string): boolean {
    return this.#pool.fits(this.#classOf(want), agentId);
  }

  /** The agent that it would be given of all that fit. */
  choose(want: Want, exclude: ReadonlySet<string>): string | undefined {
    return this.#pool.choose(this.#classOf(want), { exclude })?.agentId;
  }

  /** Takes room for something that will be there; the figures of the agent do not count it yet. */
  reserve(key: string, want: Want, agentId: string): void {
    this.#pool.hold(key, { agentId, resources: want.resources, group: groupOf(want), kind: 'task' });
    this.#reserved.set(key, agentId);
  }

  /** What is reserved under the key counts in no group any more. */
  ungroup(key: string): void {
    const hold = this.#pool.held(key);
    if (hold !== undefined) this.#pool.hold(key, { ...hold, group: '' });
  }

  /** Agents on which room is reserved. */
  expectant(): ReadonlySet<string> {
    return new Set(this.#reserved.values());
  }

  /** Takes something away for as long as it takes to look at what would be then. */
  without<T>(keys: readonly string[], look: () => T): T {
    const held = keys.map((key) => [key, this.#pool.held(key)] as const);
    for (const key of keys) this.#pool.free(key);
    const seen = look();
    for (const [key, hold] of held) if (hold !== undefined) this.#pool.hold(key, hold);
    return seen;
  }

  /**
   * Moves a task as it really goes: the target has room while the source still holds; then the source is free. Refused
   * where it does not fit, or where it would break what a constraint of it or of another one has asked for.
   * @returns undefined: it was refused
   */
  move(task: PlacedTask, to: string): Undo | undefined {
    const source = this.#agents.get(task.agentId);
    const target = this.#agents.get(to);
    const hold = this.#pool.held(task.key);
    if (source === undefined || target === undefined || hold === undefined || to === task.agentId) {
      return undefined;
    }
    if (!this.fits(task.want, to)) return undefined;
    const others = this.#concerned(hold.group, task.key);
    if (others === undefined) return undefined;
    const kept = others.filter((each) => this.#holds(each));
    const parts = usedParts(source, hold.resources);
    this.#hold(task.key, { ...hold, agentId: to });
    this.#constrain({ ...task, agentId: to });
    shift(source, target, parts);
    const undo = (): void => {
      this.#hold(task.key, hold);
      this.#constrain(task);
      shift(target, source, parts);
    };
    kept.push({ resident: { ...task, agentId: to }, wanted: this.#classOf(task.want) });
    if (kept.every((each) => this.#holds(each))) return undo;
    undo();
    return undefined;
  }

  /** Whether it could be placed where it is if it were not there yet. */
  #holds({ resident: { key, agentId }, wanted }: Constrained): boolean {
    const hold = this.#pool.held(key);
    if (hold === undefined) return true;
    this.#pool.free(key);
    const fits = this.#pool.fits(wanted, agentId);
    this.#pool.hold(key, hold);
    return fits;
  }

  /** Others whose constraints look at the group: of those that ask for the same at the same place one. */
  #concerned(group: string, but: string): Constrained[] | undefined {
    const some: Constrained[] = [];
    const seen = new Map<string, Set<WantClass>>();
    for (const [key, each] of this.#constrained.get(group) ?? []) {
      if (key === but) continue;
      const { agentId } = each.resident;
      const there = seen.get(agentId) ?? new Set();
      seen.set(agentId, there);
      if (there.has(each.wanted)) continue;
      there.add(each.wanted);
      some.push(each);
      if (some.length > MAX_CHECKED) return undefined;
    }
    return some;
  }

  #constrain(resident: Resident): void {
    for (const group of groupsConcerning(resident.want)) {
      const some = this.#constrained.get(group) ?? new Map<string, Constrained>();
      this.#constrained.set(group, some);
      some.set(resident.key, { resident, wanted: this.#classOf(resident.want) });
    }
  }

  #classOf(want: Want): WantClass {
    let wanted = this.#classes.get(want);
    if (wanted === undefined) {
      wanted = this.#pool.classOf(want);
      this.#classes.set(want, wanted);
    }
    return wanted;
  }

  #hold(key: string, hold: Hold): void {
    this.#free(key);
    this.#pool.hold(key, hold);
    const entry = this.#agents.get(hold.agentId);
    entry?.keys.add(key);
    for (const [name, amount] of Object.entries(hold.resources)) {
      entry?.reserved.set(name, (entry.reserved.get(name) ?? 0) + amount);
    }
  }

  #free(key: string): Hold | undefined {
    const hold = this.#pool.held(key);
    if (hold === undefined) return undefined;
    this.#pool.free(key);
    const entry = this.#agents.get(hold.agentId);
    entry?.keys.delete(key);
    for (const [name, amount] of Object.entries(hold.resources)) {
      entry?.reserved.set(name, (entry.reserved.get(name) ?? 0) - amount);
    }
    return hold;
  }

  #read(agent: PoolAgent): ModelAgent {
    const capacity: Record<string, number> = Object.create(null);
    const reservable: Record<string, number> = Object.create(null);
    const reserved = new Map<string, number>();
    let used: Map<string, number> | undefined;
    for (const figures of this.#pool.usageOf(agent.id)?.resources ?? []) {
      const { resource } = figures;
      capacity[resource] = figures.capacity;
      reservable[resource] = figures.reservable;
      reserved.set(resource, figures.reserved);
      if (figures.used === undefined || (figures.usedOldestMs ?? 0) < this.fleet.reportsSinceMs) continue;
      used ??= new Map();
      used.set(resource, figures.used);
    }
    const keys = new Set<string>();
    for (const [key] of this.#pool.holds(agent.id)) keys.add(key);
    return { agent, capacity, reservable, reserved, used, keys };
  }
}

/** The groups whose counts a required constraint of it looks at. */
function groupsConcerning(want: Want): Set<string> {
  const groups = new Set<string>();
  const { placement } = want;
  if (placement === undefined) return groups;
  for (const { required, group } of placement.affinities) if (required) groups.add(group);
  const spread = placement.spreads.some(({ required }) => required);
  if (placement.maxPerAgent > 0 || spread) groups.add(groupOf(want));
  return groups;
}

/** The share of a resource that is taken: reserved or, where that is more, reported. */
export function levelOf(entry: ModelAgent, resource: string): number {
  const reservable = amountOf(entry.reservable, resource);
  const capacity = amountOf(entry.capacity, resource);
  const reserved = reservable > 0 ? (entry.reserved.get(resource) ?? 0) / reservable : 0;
  const used = capacity > 0 ? (entry.used?.get(resource) ?? 0) / capacity : 0;
  return Math.max(reserved, used);
}

/** The same of its scarcest resource. */
export function fillOf(entry: ModelAgent): number {
  let fill = 0;
  for (const resource of Object.keys(entry.capacity)) fill = Math.max(fill, levelOf(entry, resource));
  return fill;
}

/** The share of an agent that so much takes, of its scarcest resource. */
export function shareOf(entry: ModelAgent, resources: Iterable<[string, number]>): number {
  let share = 0;
  for (const [name, amount] of resources) {
    const reservable = amountOf(entry.reservable, name);
    if (reservable > 0) share = Math.max(share, amount / reservable);
  }
  return share;
}

/** What of the reported usage is taken to be of one hold: as much as of the reservations, or, where nothing is reserved, an equal part. */
function usedParts(entry: ModelAgent, resources: Amounts): Map<string, number> {
  const parts = new Map<string, number>();
  for (const [name, used] of entry.used ?? []) {
    const reserved = entry.reserved.get(name) ?? 0;
    const part = reserved > 0 ? amountOf(resources, name) / reserved : 1 / Math.max(1, entry.keys.size);
    parts.set(name, used * Math.min(1, part));
  }
  return parts;
}

function shift(from: ModelAgent, to: ModelAgent, parts: ReadonlyMap<string, number>): void {
  for (const [name, part] of parts) {
    from.used?.set(name, (from.used.get(name) ?? 0) - part);
    to.used?.set(name, (to.used.get(name) ?? 0) + part);
  }
}
