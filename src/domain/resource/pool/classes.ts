import { CandidateSets } from './candidate-sets.ts';
import type { AgentEntry, Fleet } from './fleet.ts';
import type { PoolAgent, Strategy, Want } from './types.ts';
import { classKey, WantClass } from './want-class.ts';

/** The want classes in use, and which of them a change may have loosened. */
export class WantClasses {
  readonly sets: CandidateSets;
  readonly #fleet: Fleet;
  readonly #defaultStrategy: Strategy;
  readonly #classes = new Map<string, WantClass>();
  /** Those that counts of a group may keep from an agent, by the group. */
  readonly #byGroup = new Map<string, Set<WantClass>>();
  readonly #spread = new Set<WantClass>();

  constructor(options: { fleet: Fleet; defaultStrategy: Strategy }) {
    this.#fleet = options.fleet;
    this.#defaultStrategy = options.defaultStrategy;
    this.sets = new CandidateSets({ fleet: options.fleet });
  }

  get size(): number {
    return this.#classes.size;
  }

  classOf(want: Want): WantClass {
    const key = classKey(want);
    let found = this.#classes.get(key);
    if (found === undefined) {
      const candidates = this.sets.setOf(want);
      found = new WantClass({ key, want, candidates, defaultStrategy: this.#defaultStrategy });
      this.#classes.set(key, found);
      for (const group of groupsThatHold(found)) {
        const held = this.#byGroup.get(group);
        if (held === undefined) this.#byGroup.set(group, new Set([found]));
        else held.add(found);
      }
      if (found.spreadRequired) this.#spread.add(found);
    }
    found.users += 1;
    return found;
  }

  release(wantClass: WantClass): void {
    wantClass.users -= 1;
    if (wantClass.users > 0 || this.#classes.get(wantClass.key) !== wantClass) return;
    this.#classes.delete(wantClass.key);
    for (const group of groupsThatHold(wantClass)) {
      const held = this.#byGroup.get(group);
      held?.delete(wantClass);
      if (held?.size === 0) this.#byGroup.delete(group);
    }
    this.#spread.delete(wantClass);
    this.sets.release(wantClass.candidates);
  }

  /** Those that may fit somewhere now that one more (`by` 1) or one fewer (-1) of the group is on the agent. */
  *loosenedByCount(entry: AgentEntry, group: string, by: 1 | -1): Iterable<WantClass> {
    const held = this.#byGroup.get(group);
    if (held === undefined || entry.agent === undefined) return;
    const counts = this.#fleet.groups.countsOf(group);
    const onAgent = counts.byAgent.get(entry.slot) ?? 0;
    const inZone = counts.byZone.get(this.#fleet.zone[entry.slot] ?? 0) ?? 0;
    for (const wantClass of held) {
      const own = wantClass.group === group;
      // More of it in the emptiest place lets others have more; fewer in any place let that place have one.
      const even = own && wantClass.spreadRequired;
      const fewer = own && by < 0 && wantClass.maxPerAgent > 0 && onAgent === wantClass.maxPerAgent - 1;
      const near = wantClass.nearness.some((wanted) => {
        if (!wanted.required || wanted.group !== group) return false;
        const here = wanted.byZone ? inZone : onAgent;
        if (wanted.apart) return by < 0 && here === 0;
        return by > 0 ? here === 1 : own && counts.total === 0;
      });
      if (even || fewer || near) yield wantClass;
    }
  }

  /** Those that count any of the groups. */
  *countingAny(groups: Iterable<string>): Iterable<WantClass> {
    for (const group of groups) yield* this.#byGroup.get(group) ?? [];
  }

  /** Those that had to be spread over this agent. */
  *spreadOver(agent: PoolAgent): Iterable<WantClass> {
    if (!agent.available) return;
    for (const wantClass of this.#spread) {
      if (wantClass.candidates.excludes(agent) === undefined) yield wantClass;
    }
  }
}

/** The groups whose counts may keep the class from an agent. */
function groupsThatHold(wantClass: WantClass): Set<string> {
  const groups = new Set<string>();
  if (wantClass.maxPerAgent > 0 || wantClass.spreadRequired) groups.add(wantClass.group);
  for (const { group, required } of wantClass.nearness) if (required) groups.add(group);
  return groups;
}
