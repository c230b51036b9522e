import type { CandidateSets } from './candidate-sets.ts';
import type { Fleet } from './fleet.ts';
import type { GroupCounts } from './groups.ts';
import type { ResourceTable } from './resource-table.ts';
import { USUAL_WEIGHT, type WantClass } from './want-class.ts';

/** What excludes an agent at the moment, in the order in which it is looked at. */
export const NOT_EXCLUDED = 0;
export const AWAY = 1;
export const DECLINED = 2;
export const MAX_PER_AGENT = 3;
export const NEARNESS = 4;
export const SPREAD = 5;
export const KEPT_FREE = 6;
export const DRAINED = 7;

/** It is too small even when it is empty. */
export const TOO_SMALL = 0;
export const FULL = 1;
export const ROOM = 2;

/** Marks of single slots, set for one decision. */
export const MARK_DECLINED = 1;
export const MARK_KEPT_FREE = 2;
export const MARK_DRAINED = 4;

interface Counted {
  counts: GroupCounts;
  byZone: boolean;
}

/**
 * One class against the pool as it is now: prepared for a decision, then asked slot by slot. Nothing is allocated for a
 * slot. It is valid until the pool changes.
 */
export class Scan {
  /** The parts of the last score. */
  base = 0;
  affinity = 0;
  evenness = 0;
  readonly #fleet: Fleet;
  readonly #wantClass: WantClass;
  readonly #marks: Uint8Array;
  readonly #tables: (ResourceTable | undefined)[];
  readonly #amounts: readonly number[];
  readonly #own: GroupCounts;
  readonly #nearness: readonly Counted[];
  readonly #sets: CandidateSets;
  /** Of each spread the fewest that one place has which could have it; undefined: nobody has asked. */
  #fewest: number[] | undefined;
  readonly #wishes: number;
  readonly #wishWeight: number;
  readonly #evenWishes: number;

  constructor(options: { fleet: Fleet; sets: CandidateSets; wantClass: WantClass; marks: Uint8Array }) {
    const { fleet, wantClass } = options;
    this.#sets = options.sets;
    this.#fleet = fleet;
    this.#wantClass = wantClass;
    this.#marks = options.marks;
    this.#tables = wantClass.needs.map(({ name }) => fleet.table(name));
    this.#amounts = wantClass.needs.map(({ amount }) => amount);
    this.#own = fleet.groups.countsOf(wantClass.group);
    this.#nearness = wantClass.nearness.map(({ group, byZone }) => ({
      counts: fleet.groups.countsOf(group),
      byZone,
    }));
    let weights = 0;
    for (const { required, weight } of wantClass.nearness) if (!required) weights += weight;
    this.#wishes = weights;
    this.#wishWeight = weights / USUAL_WEIGHT;
    this.#evenWishes = wantClass.spreads.filter(({ required }) => !required).length;
  }

  /** Whether the agent has enough of everything: TOO_SMALL, FULL or ROOM. */
  roomOn(slot: number): number {
    const tables = this.#tables;
    let room = ROOM;
    for (let need = 0; need < tables.length; need++) {
      const table = tables[need];
      if (table === undefined) return TOO_SMALL;
      const row = table.rowOf(slot);
      if (row < 0) return TOO_SMALL;
      const amount = this.#amounts[need] ?? 0;
      const reservable = table.reservable[row] ?? 0;
      if (reservable < amount) return TOO_SMALL;
      if (reservable - (table.reserved[row] ?? 0) < amount) room = FULL;
    }
    return room;
  }

  /** What would have to come free for it, as shares of what it needs, added up; 0: it has room. */
  lacking(slot: number): number {
    let sum = 0;
    for (let need = 0; need < this.#tables.length; need++) {
      const amount = this.#amounts[need] ?? 0;
      sum += Math.max(0, amount - (this.#tables[need]?.freeOn(slot) ?? 0)) / amount;
    }
    return sum;
  }

  /** The first constraint of the moment that excludes the agent. */
  excludes(slot: number): number {
    const before = this.#beforeSpread(slot);
    if (before !== NOT_EXCLUDED) return before;
    const { spreads } = this.#wantClass;
    for (let at = 0; at < spreads.length; at++) {
      if (spreads[at]?.required === true && this.#skew(at, slot) > (spreads[at]?.maxSkew ?? 1)) return SPREAD;
    }
    const mark = this.#marks[slot] ?? 0;
    if ((mark & MARK_KEPT_FREE) !== 0) return KEPT_FREE;
    return (mark & MARK_DRAINED) !== 0 ? DRAINED : NOT_EXCLUDED;
  }

  /** 0 to 1; its parts stand in `base`, `affinity` and `evenness` until the next one. */
  score(slot: number): number {
    this.base = this.#strategyPart(slot);
    let sum = this.base;
    let weight = 1;
    if (this.#wishes > 0) {
      this.affinity = this.#affinityPart(slot);
      sum += this.#wishWeight * this.affinity;
      weight += this.#wishWeight;
    }
    if (this.#evenWishes > 0) {
      this.evenness = this.#spreadPart(slot);
      sum += this.#evenWishes * this.evenness;
      weight += this.#evenWishes;
    }
    return sum / weight;
  }

  #strategyPart(slot: number): number {
    const { strategy } = this.#wantClass;
    if (strategy === 'least_loaded') {
      const occupied = this.#occupiedAfter(slot);
      const reported = this.#fleet.reported[slot] ?? -1;
      return 1 - (occupied + (reported < 0 ? occupied : reported)) / 2;
    }
    const fill = this.#fillAfter(slot);
    return strategy === 'binpack' ? fill : 1 - fill;
  }

  /** The mean share, over what is wanted, that is reserved when it is there too; of nothing wanted: as it is. */
  #fillAfter(slot: number): number {
    const tables = this.#tables;
    if (tables.length === 0) return this.#fleet.occupied[slot] ?? 0;
    let sum = 0;
    for (let need = 0; need < tables.length; need++) sum += this.#shareAfter(need, slot);
    return sum / tables.length;
  }

  /** The largest share of any of its resources that is reserved when it is there too. */
  #occupiedAfter(slot: number): number {
    let largest = this.#fleet.occupied[slot] ?? 0;
    for (let need = 0; need < this.#tables.length; need++) {
      const share = this.#shareAfter(need, slot);
      if (share > largest) largest = share;
    }
    return largest;
  }

  #shareAfter(need: number, slot: number): number {
    const table = this.#tables[need];
    if (table === undefined) return 1;
    const row = table.rowOf(slot);
    if (row < 0) return 1;
    const share = ((table.reserved[row] ?? 0) + (this.#amounts[need] ?? 0)) / (table.reservable[row] ?? 0);
    return Math.min(share, 1);
  }

  #affinityPart(slot: number): number {
    const { nearness } = this.#wantClass;
    let sum = 0;
    for (let at = 0; at < nearness.length; at++) {
      if (nearness[at]?.required === false && this.#near(at, slot)) sum += nearness[at]?.weight ?? 0;
    }
    return sum / this.#wishes;
  }

  #spreadPart(slot: number): number {
    const { spreads } = this.#wantClass;
    let sum = 0;
    for (let at = 0; at < spreads.length; at++) {
      const spread = spreads[at];
      if (spread === undefined || spread.required) continue;
      const skew = this.#skew(at, slot);
      sum += skew <= spread.maxSkew ? 1 : spread.maxSkew / skew;
    }
    return sum / this.#evenWishes;
  }

  /** How many more than the emptiest its place would have. */
  #skew(at: number, slot: number): number {
    const byZone = this.#wantClass.spreads[at]?.byZone === true;
    this.#fewest ??= this.#findFewest();
    return this.#countAt(this.#own, byZone, slot) + 1 - (this.#fewest[at] ?? 0);
  }

  #countAt(counts: GroupCounts, byZone: boolean, slot: number): number {
    if (counts.total === 0) return 0;
    return (byZone ? counts.byZone.get(this.#fleet.zone[slot] ?? 0) : counts.byAgent.get(slot)) ?? 0;
  }

  /** Whether one affinity holds. The first of a group that is to be near to itself may go anywhere. */
  #near(at: number, slot: number): boolean {
    const wanted = this.#wantClass.nearness[at];
    const counted = this.#nearness[at];
    if (wanted === undefined || counted === undefined) return true;
    const some = this.#countAt(counted.counts, counted.byZone, slot) > 0;
    if (wanted.apart) return !some;
    return some || (counted.counts.total === 0 && wanted.group === this.#wantClass.group);
  }

  #beforeSpread(slot: number): number {
    if (this.#fleet.available[slot] !== 1) return AWAY;
    if (((this.#marks[slot] ?? 0) & MARK_DECLINED) !== 0) return DECLINED;
    const { maxPerAgent, nearness } = this.#wantClass;
    if (maxPerAgent > 0 && this.#countAt(this.#own, false, slot) >= maxPerAgent) return MAX_PER_AGENT;
    for (let at = 0; at < nearness.length; at++) {
      if (nearness[at]?.required === true && !this.#near(at, slot)) return NEARNESS;
    }
    return NOT_EXCLUDED;
  }

  #findFewest(): number[] {
    const { spreads, candidates } = this.#wantClass;
    const fewest = spreads.map(() => Number.POSITIVE_INFINITY);
    const slots = this.#sets.slotsOf(candidates);
    for (let index = 0; index < candidates.size; index++) {
      const slot = slots[index] ?? 0;
      if (((this.#marks[slot] ?? 0) & MARK_DRAINED) !== 0) continue;
      if (this.#beforeSpread(slot) !== NOT_EXCLUDED || this.roomOn(slot) === TOO_SMALL) continue;
      for (let at = 0; at < spreads.length; at++) {
        const count = this.#countAt(this.#own, spreads[at]?.byZone === true, slot);
        if (count < (fewest[at] ?? 0)) fewest[at] = count;
      }
    }
    return fewest;
  }
}
