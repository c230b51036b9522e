import { type Amounts, amountOf, SLOTS } from '../amounts.ts';
import { Groups } from './groups.ts';
import { ResourceTable } from './resource-table.ts';
import type { Hold, PoolAgent } from './types.ts';
import { ZoneIndex } from './zones.ts';

/** An agent that is known, or of which only is known that something is held on it. */
export interface AgentEntry {
  readonly id: string;
  readonly slot: number;
  agent: PoolAgent | undefined;
  readonly holds: Map<string, Hold>;
  tasks: number;
  /** The names of resources that have a row for it. */
  readonly resources: Set<string>;
  load: number | undefined;
  usage: Amounts | undefined;
  reportedMs: number | undefined;
}

/** How much may be reserved of a capacity: the whole part of the product, without the error of its rounding. */
export function reservableOf(capacity: number, overcommit: number): number {
  const product = capacity * overcommit;
  const nearest = Math.round(product);
  const whole = Math.abs(product - nearest) <= product * 2 * Number.EPSILON ? nearest : Math.floor(product);
  return Math.min(Number.MAX_SAFE_INTEGER, whole);
}

/**
 * What is known of agents, as numbers in arrays by slot: a decision walks them without touching an object for each
 * agent. Slots of agents that went are used again.
 */
export class Fleet {
  readonly groups = new Groups();
  readonly zones = new ZoneIndex();
  /** 1: may be given work. */
  available = new Uint8Array(64);
  /** Index of the zone. */
  zone = new Int32Array(64);
  /** Share that it reports as busy, 0 to 1; below 0: it reports nothing. */
  reported = new Float64Array(64);
  /** The largest share of any of its resources that is reserved, 0 to 1. */
  occupied = new Float64Array(64);
  /** Counts up with each choice: the number of the last one that the agent was given; 0: none yet. */
  chosen = new Float64Array(64);
  readonly #overcommit: Readonly<Record<string, number>>;
  readonly #defaultSlots: number;
  readonly #entries = new Map<string, AgentEntry>();
  readonly #bySlot: (AgentEntry | undefined)[] = [];
  readonly #unused: number[] = [];
  readonly #tables = new Map<string, ResourceTable>();
  #known = 0;

  constructor(options: { overcommit: Readonly<Record<string, number>>; defaultSlots: number }) {
    this.#overcommit = options.overcommit;
    this.#defaultSlots = options.defaultSlots;
  }

  /** Agents that are known. */
  get size(): number {
    return this.#known;
  }

  /** One more than the highest slot. */
  get slots(): number {
    return this.#bySlot.length;
  }

  entries(): IterableIterator<AgentEntry> {
    return this.#entries.values();
  }

  entry(id: string): AgentEntry | undefined {
    return this.#entries.get(id);
  }

  idAt(slot: number): string {
    return this.#bySlot[slot]?.id ?? '';
  }

  entryAt(slot: number): AgentEntry | undefined {
    return this.#bySlot[slot];
  }

  table(resource: string): ResourceTable | undefined {
    return this.#tables.get(resource);
  }

  tables(): IterableIterator<ResourceTable> {
    return this.#tables.values();
  }

  entryFor(id: string): AgentEntry {
    const known = this.#entries.get(id);
    if (known !== undefined) return known;
    const slot = this.#unused.pop() ?? this.#bySlot.length;
    if (slot >= this.available.length) this.#grow();
    const entry: AgentEntry = {
      ...{ id, slot, agent: undefined, holds: new Map(), tasks: 0, resources: new Set<string>() },
      ...{ load: undefined, usage: undefined, reportedMs: undefined },
    };
    this.#entries.set(id, entry);
    this.#bySlot[slot] = entry;
    this.available[slot] = 0;
    this.reported[slot] = -1;
    this.occupied[slot] = 0;
    this.chosen[slot] = 0;
    return entry;
  }

  /** Sets all but what is held. The counts of groups move with the zone. */
  setAgent(entry: AgentEntry, agent: PoolAgent | undefined): void {
    const { slot } = entry;
    const before = entry.agent;
    if (before === undefined && agent !== undefined) this.#known += 1;
    if (before !== undefined && agent === undefined) this.#known -= 1;
    if (before?.zone !== agent?.zone) {
      for (const hold of entry.holds.values()) this.#count(entry, hold, -1);
      if (before !== undefined) this.zones.leave(before.zone);
      entry.agent = agent;
      if (agent !== undefined) this.zone[slot] = this.zones.enter(agent.zone);
      for (const hold of entry.holds.values()) this.#count(entry, hold, 1);
    }
    entry.agent = agent;
    this.available[slot] = agent?.available === true ? 1 : 0;
    this.#settle(entry);
  }

  /** What it has in all; a name that is left out: nothing of it. */
  setCapacity(entry: AgentEntry, declared: Amounts): void {
    const names = new Set([...Object.keys(declared), ...entry.resources]);
    if (entry.agent !== undefined) names.add(SLOTS);
    for (const name of names) {
      const capacity =
        name === SLOTS && entry.agent !== undefined && !Object.hasOwn(declared, SLOTS)
          ? this.#defaultSlots
          : amountOf(declared, name);
      const ratio = amountOf(this.#overcommit, name) || 1;
      this.#tableFor(entry, name).setCapacity(entry.slot, capacity, reservableOf(capacity, ratio));
    }
    this.#settle(entry);
  }

  /** What it says of itself; undefined: nothing. */
  setReport(entry: AgentEntry, load: number | undefined, usage: Amounts | undefined, atMs?: number): void {
    entry.load = load;
    entry.usage = usage;
    entry.reportedMs = load === undefined && usage === undefined ? undefined : atMs;
    this.#settle(entry);
  }

  addHold(entry: AgentEntry, key: string, hold: Hold): void {
    this.#addHold(entry, key, hold);
    this.#settle(entry);
  }

  addHolds(entry: AgentEntry, holds: ReadonlyMap<string, Hold>): void {
    for (const [key, hold] of holds) this.#addHold(entry, key, hold);
    this.#settle(entry);
  }

  removeHold(entry: AgentEntry, key: string): void {
    const hold = entry.holds.get(key);
    if (hold === undefined) return;
    this.#count(entry, hold, -1);
    entry.holds.delete(key);
    if (hold.kind === 'task') entry.tasks -= 1;
    for (const [name, amount] of Object.entries(hold.resources)) {
      if (amount > 0) this.#tables.get(name)?.addReserved(entry.slot, -amount);
    }
    this.#settle(entry);
  }

  /** Forgets an agent that is not known and on which nothing is held. */
  tidy(entry: AgentEntry): void {
    if (entry.agent !== undefined || entry.holds.size > 0) return;
    for (const name of entry.resources) this.#removeRow(entry, name);
    this.#entries.delete(entry.id);
    this.#bySlot[entry.slot] = undefined;
    this.#unused.push(entry.slot);
  }

  #addHold(entry: AgentEntry, key: string, hold: Hold): void {
    entry.holds.set(key, hold);
    if (hold.kind === 'task') entry.tasks += 1;
    for (const [name, amount] of Object.entries(hold.resources)) {
      if (amount > 0) this.#tableFor(entry, name).addReserved(entry.slot, amount);
    }
    this.#count(entry, hold, 1);
  }

  // What is held on an agent that is not known is nowhere: in no zone that affinities or spreads could mean.
  #count(entry: AgentEntry, hold: Hold, by: 1 | -1): void {
    if (entry.agent === undefined) return;
    this.groups.count(hold.group, entry.slot, this.zone[entry.slot] ?? 0, by);
  }

  /** Works out what follows from its numbers, and drops rows without any. */
  #settle(entry: AgentEntry): void {
    const { slot, load, usage } = entry;
    let occupied = 0;
    let reported = load ?? -1;
    for (const name of entry.resources) {
      const table = this.#tables.get(name);
      if (table === undefined) continue;
      const reserved = table.reservedOn(slot);
      const capacity = table.capacityOn(slot);
      const declared =
        entry.agent !== undefined && (name === SLOTS || Object.hasOwn(entry.agent.capacity, name));
      if (reserved === 0 && capacity === 0 && !declared) {
        this.#removeRow(entry, name);
        continue;
      }
      occupied = Math.max(occupied, shareOf(reserved, table.reservableOn(slot)));
      if (usage !== undefined && capacity > 0 && Object.hasOwn(usage, name)) {
        reported = Math.max(reported, shareOf(amountOf(usage, name), capacity));
      }
    }
    this.occupied[slot] = occupied;
    this.reported[slot] = Math.min(1, reported);
  }

  #tableFor(entry: AgentEntry, name: string): ResourceTable {
    let table = this.#tables.get(name);
    if (table === undefined) {
      table = new ResourceTable(name);
      this.#tables.set(name, table);
    }
    entry.resources.add(name);
    return table;
  }

  #removeRow(entry: AgentEntry, name: string): void {
    entry.resources.delete(name);
    const table = this.#tables.get(name);
    table?.remove(entry.slot);
    if (table?.size === 0) this.#tables.delete(name);
  }

  #grow(): void {
    const length = this.available.length * 2;
    const grown = <T extends { set(from: T): void }>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.available = grown(new Uint8Array(length), this.available);
    this.zone = grown(new Int32Array(length), this.zone);
    this.reported = grown(new Float64Array(length), this.reported);
    this.occupied = grown(new Float64Array(length), this.occupied);
    this.chosen = grown(new Float64Array(length), this.chosen);
  }
}

/** 0 to 1; something of nothing is all of it. */
function shareOf(part: number, whole: number): number {
  if (part <= 0) return 0;
  return part >= whole ? 1 : part / whole;
}
