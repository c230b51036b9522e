import { type LabelSelector, matches, parseLabelSelector } from '../../agent/label-selector.ts';
import type { PoolAgent, Want } from './types.ts';
import { versionMatcher } from './version.ts';

/** The constraints that concern the agent alone, in the order in which they are looked at. */
export const STATIC_CONSTRAINTS = [
  'capability',
  'capability_version',
  'selector',
  'agent_ids',
  'not_agent_ids',
] as const;

export type StaticConstraint = (typeof STATIC_CONSTRAINTS)[number];

/** The agents that come into question for a capability and constraints, whatever there is on them: slots, ascending. */
export class CandidateSet {
  readonly key: string;
  readonly capability: string;
  /** How many want classes use it. */
  users = 0;
  /** The first `size` are valid. Undefined: to be found when it is needed. */
  slots: Int32Array | undefined;
  size = 0;
  readonly #version: (version: string) => boolean;
  readonly #anyVersion: boolean;
  readonly #selector: LabelSelector;
  readonly #agentIds: ReadonlySet<string> | undefined;
  readonly #notAgentIds: ReadonlySet<string>;

  /** Throws LabelSelectorError for a selector that is none. */
  constructor(key: string, { capability, placement }: Want) {
    this.key = key;
    this.capability = capability;
    const version = placement?.capabilityVersion ?? '';
    this.#version = versionMatcher(version);
    this.#anyVersion = version === '';
    this.#selector = parseLabelSelector(placement?.selector ?? '');
    const ids = placement?.agentIds ?? [];
    this.#agentIds = ids.length === 0 ? undefined : new Set(ids);
    this.#notAgentIds = new Set(placement?.notAgentIds);
  }

  /** The agents that it names; undefined: it may be any. */
  get agentIds(): ReadonlySet<string> | undefined {
    return this.#agentIds;
  }

  /** The first constraint that excludes the agent. */
  excludes(agent: PoolAgent): StaticConstraint | undefined {
    if (this.capability !== '') {
      let has = false;
      let satisfies = false;
      for (const { name, version } of agent.capabilities) {
        if (name !== this.capability) continue;
        has = true;
        if (!this.#anyVersion && !this.#version(version)) continue;
        satisfies = true;
        break;
      }
      if (!has) return 'capability';
      if (!satisfies) return 'capability_version';
    }
    if (!matches(this.#selector, agent.labels)) return 'selector';
    if (this.#agentIds !== undefined && !this.#agentIds.has(agent.id)) return 'agent_ids';
    if (this.#notAgentIds.has(agent.id)) return 'not_agent_ids';
    return undefined;
  }

  add(slot: number): void {
    const { slots, size } = this;
    if (slots === undefined) return;
    const at = this.#indexFrom(slot);
    if (at < size && slots[at] === slot) return;
    let room = slots;
    if (size === slots.length) {
      room = new Int32Array(Math.max(8, size * 2));
      room.set(slots);
      this.slots = room;
    }
    room.copyWithin(at + 1, at, size);
    room[at] = slot;
    this.size += 1;
  }

  remove(slot: number): void {
    const { slots, size } = this;
    if (slots === undefined) return;
    const at = this.#indexFrom(slot);
    if (at === size || slots[at] !== slot) return;
    slots.copyWithin(at, at + 1, this.size);
    this.size -= 1;
  }

  /** The index of the first slot that is not below. */
  #indexFrom(slot: number): number {
    const { slots } = this;
    if (slots === undefined) return 0;
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((slots[middle] ?? 0) < slot) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
