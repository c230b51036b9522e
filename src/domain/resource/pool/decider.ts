import type { CandidateSets } from './candidate-sets.ts';
import type { Fleet } from './fleet.ts';
import { MARK_DECLINED, MARK_KEPT_FREE, NOT_EXCLUDED, ROOM, Scan, TOO_SMALL } from './scan.ts';
import type { Choice, ChooseOptions } from './types.ts';
import type { WantClass } from './want-class.ts';

/** Scores that differ by less than a billionth are equal, so that errors of rounding decide nothing. */
export function rankOf(score: number): number {
  return Math.round(score * 1e9);
}

/** What is marked for one decision, where. */
export interface Marked {
  mark: number;
  agentIds: ReadonlySet<string> | readonly string[];
}

export interface Narrowing {
  exclude?: ReadonlySet<string> | readonly string[] | undefined;
  keptFree?: ReadonlyMap<string, string> | undefined;
  forKey?: string | undefined;
}

/** Decides where one class goes, given what is held. */
export class Decider {
  readonly #fleet: Fleet;
  readonly #sets: CandidateSets;
  /** By slot; all 0 between decisions. */
  #marks = new Uint8Array(64);
  #choices = 0;

  constructor(options: { fleet: Fleet; sets: CandidateSets }) {
    this.#fleet = options.fleet;
    this.#sets = options.sets;
  }

  choose(wantClass: WantClass, options: ChooseOptions): Choice | undefined {
    const fleet = this.#fleet;
    const choice = this.decide(wantClass, narrowingOf(options), (scan) => {
      const slots = this.#sets.slotsOf(wantClass.candidates);
      const { size } = wantClass.candidates;
      let best = -1;
      let bestScore = 0;
      let bestRank = -1;
      let fitting = 0;
      let eligible = 0;
      for (let index = 0; index < size; index++) {
        const slot = slots[index] ?? 0;
        const room = scan.roomOn(slot);
        if (room === TOO_SMALL) continue;
        eligible += 1;
        if (room !== ROOM || scan.excludes(slot) !== NOT_EXCLUDED) continue;
        fitting += 1;
        const score = scan.score(slot);
        const rank = rankOf(score);
        if (rank < bestRank) continue;
        if (rank === bestRank && (fleet.chosen[slot] ?? 0) >= (fleet.chosen[best] ?? 0)) continue;
        best = slot;
        bestScore = score;
        bestRank = rank;
      }
      return { best, bestScore, fitting, eligible };
    });
    const { best, bestScore: score, fitting, eligible } = choice;
    if (best < 0) return undefined;
    this.#choices += 1;
    fleet.chosen[best] = this.#choices;
    return { agentId: fleet.idAt(best), score, fitting, eligible };
  }

  fits(wantClass: WantClass, agentId: string, options: ChooseOptions): boolean {
    const entry = this.#fleet.entry(agentId);
    if (entry?.agent === undefined || wantClass.candidates.excludes(entry.agent) !== undefined) return false;
    const { slot } = entry;
    return this.decide(
      wantClass,
      narrowingOf(options),
      (scan) => scan.roomOn(slot) === ROOM && scan.excludes(slot) === NOT_EXCLUDED,
    );
  }

  easiestToFree(wantClass: WantClass): string | undefined {
    const fleet = this.#fleet;
    return this.decide(wantClass, [], (scan) => {
      const slots = this.#sets.slotsOf(wantClass.candidates);
      const { size } = wantClass.candidates;
      let best = -1;
      let least = Number.POSITIVE_INFINITY;
      for (let index = 0; index < size; index++) {
        const slot = slots[index] ?? 0;
        if (scan.roomOn(slot) === TOO_SMALL || scan.excludes(slot) !== NOT_EXCLUDED) continue;
        const lack = scan.lacking(slot);
        if (lack > least) continue;
        if (lack === least && (fleet.chosen[slot] ?? 0) >= (fleet.chosen[best] ?? 0)) continue;
        best = slot;
        least = lack;
      }
      return best < 0 ? undefined : fleet.idAt(best);
    });
  }

  couldFit(wantClass: WantClass, agentId: string): boolean {
    const entry = this.#fleet.entry(agentId);
    if (entry?.agent === undefined || wantClass.candidates.excludes(entry.agent) !== undefined) return false;
    const { slot } = entry;
    return this.decide(
      wantClass,
      [],
      (scan) => scan.roomOn(slot) !== TOO_SMALL && scan.excludes(slot) === NOT_EXCLUDED,
    );
  }

  /** Sets the marks, asks, and takes the marks back. */
  decide<T>(wantClass: WantClass, marked: readonly Marked[], ask: (scan: Scan) => T): T {
    if (this.#marks.length < this.#fleet.slots) this.#marks = new Uint8Array(this.#fleet.available.length);
    const marks = this.#marks;
    for (const { mark, agentIds } of marked) {
      for (const id of agentIds) {
        const slot = this.#fleet.entry(id)?.slot;
        if (slot !== undefined) marks[slot] = (marks[slot] ?? 0) | mark;
      }
    }
    try {
      const sets = this.#sets;
      return ask(new Scan({ fleet: this.#fleet, sets, wantClass, marks }));
    } finally {
      for (const { agentIds } of marked) {
        for (const id of agentIds) {
          const slot = this.#fleet.entry(id)?.slot;
          if (slot !== undefined) marks[slot] = 0;
        }
      }
    }
  }
}

export function narrowingOf(options: Narrowing): Marked[] {
  const { exclude, keptFree, forKey } = options;
  const marked: Marked[] = [];
  if (exclude !== undefined) marked.push({ mark: MARK_DECLINED, agentIds: exclude });
  if (keptFree !== undefined && keptFree.size > 0) {
    const others: string[] = [];
    for (const [agentId, key] of keptFree) if (key !== forKey) others.push(agentId);
    marked.push({ mark: MARK_KEPT_FREE, agentIds: others });
  }
  return marked;
}
