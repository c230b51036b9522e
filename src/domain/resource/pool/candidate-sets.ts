import { CandidateSet } from './candidates.ts';
import type { Fleet } from './fleet.ts';
import type { PoolAgent, Want } from './types.ts';
import { filterKey } from './want-class.ts';

/** Slots that are kept in all sets together (4 bytes each); beyond it the sets that were not used for longest are found anew. */
const MOST_KEPT = 4_000_000;
/** Sets that nobody uses at the moment and that are kept: the next task of the kind needs the same. */
const MOST_IDLE = 256;

/** The candidate sets of all want classes, kept as agents change. */
export class CandidateSets {
  readonly #fleet: Fleet;
  readonly #mostKept: number;
  readonly #sets = new Map<string, CandidateSet>();
  readonly #byCapability = new Map<string, Set<CandidateSet>>();
  /** Those whose slots are known; the one that was used last comes last. */
  readonly #found = new Set<CandidateSet>();
  /** Without users; the one that was left last comes last. */
  readonly #idle = new Set<CandidateSet>();
  #kept = 0;

  constructor(options: { fleet: Fleet; mostKept?: number }) {
    this.#fleet = options.fleet;
    this.#mostKept = options.mostKept ?? MOST_KEPT;
  }

  get size(): number {
    return this.#sets.size;
  }

  setOf(want: Want): CandidateSet {
    const key = filterKey(want);
    let set = this.#sets.get(key);
    if (set === undefined) {
      set = new CandidateSet(key, want);
      this.#sets.set(key, set);
      const alike = this.#byCapability.get(set.capability);
      if (alike === undefined) this.#byCapability.set(set.capability, new Set([set]));
      else alike.add(set);
    }
    set.users += 1;
    this.#idle.delete(set);
    return set;
  }

  release(set: CandidateSet): void {
    set.users -= 1;
    if (set.users > 0) return;
    this.#idle.add(set);
    if (this.#idle.size <= MOST_IDLE) return;
    for (const oldest of this.#idle) {
      this.#drop(oldest);
      break;
    }
  }
  /** Its slots, ascending; the first `set.size` are valid, until the next change. */
  slotsOf(set: CandidateSet): Int32Array {
    if (set.slots !== undefined) {
      this.#found.delete(set);
      this.#found.add(set);
      return set.slots;
    }
    const slots = this.#find(set);
    set.slots = slots;
    set.size = slots.length;
    this.#found.add(set);
    this.#kept += slots.length;
    for (const oldest of this.#found) {
      if (this.#kept <= this.#mostKept || oldest === set) break;
      this.#forget(oldest);
    }
    return slots;
  }

  /** An agent came, changed or went. */
  changed(slot: number, before: PoolAgent | undefined, after: PoolAgent | undefined): void {
    const names = new Set(['']);
    for (const agent of [before, after]) {
      for (const { name } of agent?.capabilities ?? []) names.add(name);
    }
    for (const name of names) {
      for (const set of this.#byCapability.get(name) ?? []) this.#place(set, slot, after);
    }
  }

  #place(set: CandidateSet, slot: number, agent: PoolAgent | undefined): void {
    if (set.slots === undefined) return;
    const size = set.size;
    if (agent !== undefined && set.excludes(agent) === undefined) set.add(slot);
    else set.remove(slot);
    this.#kept += set.size - size;
  }

  #find(set: CandidateSet): Int32Array {
    const slots: number[] = [];
    const look = (entry: { slot: number; agent: PoolAgent | undefined } | undefined): void => {
      if (entry?.agent !== undefined && set.excludes(entry.agent) === undefined) slots.push(entry.slot);
    };
    if (set.agentIds !== undefined) for (const id of set.agentIds) look(this.#fleet.entry(id));
    else for (const entry of this.#fleet.entries()) look(entry);
    return Int32Array.from(slots).sort();
  }

  #forget(set: CandidateSet): void {
    if (set.slots === undefined) return;
    this.#found.delete(set);
    this.#kept -= set.size;
    set.slots = undefined;
    set.size = 0;
  }

  #drop(set: CandidateSet): void {
    this.#idle.delete(set);
    this.#forget(set);
    this.#sets.delete(set.key);
    const alike = this.#byCapability.get(set.capability);
    alike?.delete(set);
    if (alike?.size === 0) this.#byCapability.delete(set.capability);
  }
}
