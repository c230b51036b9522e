import type { WantClasses } from './classes.ts';
import type { AgentEntry, Fleet } from './fleet.ts';
import { sameFilter } from './same.ts';
import type { Hold, PoolAgent, PoolListener } from './types.ts';
import type { WantClass } from './want-class.ts';

/** Finds out what a change makes possible, and tells the listeners after it. */
export class News {
  readonly #fleet: Fleet;
  readonly #classes: WantClasses;
  readonly #listeners: PoolListener[] = [];

  constructor(options: { fleet: Fleet; classes: WantClasses }) {
    this.#fleet = options.fleet;
    this.#classes = options.classes;
  }

  listen(listener: PoolListener): void {
    this.#listeners.push(listener);
  }

  /** `change` makes the agent what `after` says. */
  ofAgent(entry: AgentEntry, after: PoolAgent | undefined, change: () => void): void {
    const before = entry.agent;
    const free = this.#freeOn(entry, entry.resources);
    const loosened = new Set(before === undefined ? [] : this.#classes.spreadOver(before));
    if (before?.zone !== after?.zone) {
      const groups = new Set([...entry.holds.values()].map(({ group }) => group));
      for (const wantClass of this.#classes.countingAny(groups)) loosened.add(wantClass);
    }
    change();
    if (after?.available === true) {
      const came = before?.available !== true || before.zone !== after.zone || !sameFilter(before, after);
      if (came || this.#grew(entry, free, entry.resources)) this.#room(entry.id);
    }
    this.#loosened(loosened);
  }

  /** `change` takes `left` away from one agent and puts `came` on another or the same. */
  ofHolds(
    from: AgentEntry | undefined,
    left: Hold | undefined,
    to: AgentEntry | undefined,
    came: Hold | undefined,
    change: () => void,
  ): void {
    const names = Object.keys(left?.resources ?? {});
    const free = from === undefined ? undefined : this.#freeOn(from, names);
    change();
    if (from?.agent?.available === true && free !== undefined && this.#grew(from, free, names)) {
      this.#room(from.id);
    }
    if (from === to && left?.group === came?.group) return;
    const loosened = new Set<WantClass>();
    if (from !== undefined && left !== undefined) {
      for (const wantClass of this.#classes.loosenedByCount(from, left.group, -1)) loosened.add(wantClass);
    }
    if (to !== undefined && came !== undefined) {
      for (const wantClass of this.#classes.loosenedByCount(to, came.group, 1)) loosened.add(wantClass);
    }
    this.#loosened(loosened);
  }

  #freeOn(entry: AgentEntry, names: Iterable<string>): Map<string, number> {
    const free = new Map<string, number>();
    for (const name of names) free.set(name, this.#fleet.table(name)?.freeOn(entry.slot) ?? 0);
    return free;
  }

  /** Whether more of anything is free than before. While more is reserved than may be, nothing is. */
  #grew(entry: AgentEntry, before: ReadonlyMap<string, number>, names: Iterable<string>): boolean {
    for (const name of names) {
      const now = this.#fleet.table(name)?.freeOn(entry.slot) ?? 0;
      if (now > Math.max(0, before.get(name) ?? 0)) return true;
    }
    return false;
  }

  #room(agentId: string): void {
    for (const listener of this.#listeners) listener.room(agentId);
  }

  #loosened(classes: ReadonlySet<WantClass>): void {
    for (const wantClass of classes) {
      for (const listener of this.#listeners) listener.loosened?.(wantClass);
    }
  }
}
