/** How many of one group there are, where. Empty places are left out. */
export interface GroupCounts {
  total: number;
  /** By slot. */
  readonly byAgent: Map<number, number>;
  /** By the index of the zone. */
  readonly byZone: Map<number, number>;
}

const NONE: GroupCounts = { total: 0, byAgent: new Map(), byZone: new Map() };

/** Counts what is held by group, agent and zone. */
export class Groups {
  readonly #groups = new Map<string, GroupCounts>();

  /** Must not be changed, nor kept beyond the next change. */
  countsOf(group: string): GroupCounts {
    return this.#groups.get(group) ?? NONE;
  }

  /** `by`: 1 or -1. */
  count(group: string, slot: number, zone: number, by: 1 | -1): void {
    let counts = this.#groups.get(group);
    if (counts === undefined) {
      counts = { total: 0, byAgent: new Map(), byZone: new Map() };
      this.#groups.set(group, counts);
    }
    counts.total += by;
    bump(counts.byAgent, slot, by);
    bump(counts.byZone, zone, by);
    if (counts.total === 0) this.#groups.delete(group);
  }
}

function bump(counts: Map<number, number>, where: number, by: number): void {
  const count = (counts.get(where) ?? 0) + by;
  if (count === 0) counts.delete(where);
  else counts.set(where, count);
}
