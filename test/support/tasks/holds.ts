import { type Amounts, grown, Tally } from './tally.ts';

/** Something that is held, of one or of several. */
export interface Hold {
  of: readonly string[];
  amounts: Amounts;
}

/** Of whom more is held than before, and of what. */
export type Grown = Map<string, Set<string>>;

/** What is held, by key, and its sums. */
export class Holds {
  readonly sums = new Tally();
  readonly #holds = new Map<string, Hold>();

  get keys(): string[] {
    return [...this.#holds.keys()];
  }

  /** @param hold undefined: nothing is held under the key any more */
  set(key: string, hold: Hold | undefined, more: Grown): void {
    const before = this.#holds.get(key);
    this.#holds.delete(key);
    for (const who of before?.of ?? []) this.sums.take(who, before?.amounts ?? {});
    if (hold === undefined) return;
    this.#holds.set(key, hold);
    for (const who of hold.of) {
      this.sums.add(who, hold.amounts);
      const had = before?.of.includes(who) ? before.amounts : {};
      for (const name of grown(had, hold.amounts)) addTo(more, who, name);
    }
  }
}

export function addTo(map: Map<string, Set<string>>, key: string, value: string): void {
  const set = map.get(key);
  if (set === undefined) map.set(key, new Set([value]));
  else set.add(value);
}
