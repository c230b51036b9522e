import type { AgentPool } from '../../resource/pool/agent-pool.ts';
import type { Group, Item, Lane, Waiting } from './waiting.ts';

export interface KeptFreeOptions {
  waiting: Waiting;
  pool: Pick<AgentPool, 'couldFit' | 'easiestToFree' | 'fits'>;
  /** What has waited for room for so long has an agent kept free; 0: nothing has. */
  reserveAfterMs: number;
}

/** So many are looked at in one tick until there is one that an agent could have. */
const MAX_TRIES = 16;
/** What no agent could have is left out for so long. */
const LEFT_OUT_MS = 10_000;

interface Kept {
  agentId: string;
  lane: Lane;
  /** The first of the lane. */
  key: string;
}

/**
 * An agent that is kept free for the first of a lane that has waited for too long for room: else what is smaller would always be
 * before it. One at a time in a namespace.
 */
export class KeptFree {
  readonly #options: KeptFreeOptions;
  readonly #agents = new Map<string, string>();
  readonly #leftOut = new WeakMap<Group, number>();
  #kept: Kept | undefined;

  constructor(options: KeptFreeOptions) {
    this.#options = options;
  }

  /** Agents, each with the key of what it is kept free for: whoever is the first of its lane at this moment. */
  get agents(): ReadonlyMap<string, string> {
    this.#follow();
    return this.#agents;
  }

  /** The lane whose first fits now where room is kept for it. */
  ready(): Lane | undefined {
    const kept = this.#follow();
    if (kept === undefined || kept.lane.line.size === 0) return undefined;
    return this.#options.pool.fits(kept.lane.group.class, kept.agentId) ? kept.lane : undefined;
  }

  /** Whether there would be room for a lane if it were not kept for another one. */
  holdsBack(lane: Lane): boolean {
    const kept = this.#follow();
    if (kept === undefined || kept.lane === lane) return false;
    return this.#options.pool.fits(lane.group.class, kept.agentId);
  }

  /** It has its place, or wants none any more. @returns agents that are kept free no more */
  over(key: string): string[] {
    return this.#kept?.key === key ? this.#drop(this.#kept) : [];
  }

  /** @returns agents that are kept free no more */
  tick(nowMs: number): string[] {
    const kept = this.#follow();
    const freed = kept === undefined || this.#isUseful(kept, nowMs) ? [] : this.#drop(kept);
    const { reserveAfterMs, pool } = this.#options;
    if (reserveAfterMs === 0 || this.#kept !== undefined) return freed;
    for (const { item, lane } of this.#oldest(nowMs - reserveAfterMs, nowMs)) {
      const agentId = pool.easiestToFree(lane.group.class);
      if (agentId !== undefined && isWanted(item, agentId, nowMs)) {
        this.#kept = { agentId, lane, key: item.key };
        this.#agents.set(agentId, item.key);
        break;
      }
      this.#leftOut.set(lane.group, nowMs + LEFT_OUT_MS);
    }
    return freed;
  }

  /** Others may have come before the one that it was kept for, and a lane that was empty is made anew. */
  #follow(): Kept | undefined {
    const kept = this.#kept;
    if (kept === undefined) return undefined;
    kept.lane = this.#options.waiting.laneOf(kept.key) ?? kept.lane;
    kept.key = kept.lane.line.first()?.key ?? kept.key;
    this.#agents.set(kept.agentId, kept.key);
    return kept;
  }

  #isUseful({ lane, agentId }: Kept, nowMs: number): boolean {
    const item = lane.line.first();
    if (item === undefined || lane.quotaBlocked || !isWanted(item, agentId, nowMs)) return false;
    return this.#options.pool.couldFit(lane.group.class, agentId);
  }

  #drop({ agentId }: Kept): string[] {
    this.#kept = undefined;
    this.#agents.clear();
    return [agentId];
  }

  /** Those that have waited for room since before a time, the longest first. */
  #oldest(beforeMs: number, nowMs: number): { item: Item; lane: Lane }[] {
    const found: { item: Item; lane: Lane }[] = [];
    for (const group of this.#options.waiting.groups()) {
      if (!group.roomBlocked || (this.#leftOut.get(group) ?? 0) > nowMs) continue;
      for (const lane of group.lanes.values()) {
        const item = lane.line.first();
        if (item === undefined || lane.quotaBlocked || item.sinceMs > beforeMs) continue;
        const last = found.at(-1);
        if (found.length >= MAX_TRIES && last !== undefined && last.item.sinceMs <= item.sinceMs) continue;
        let at = found.length;
        while (at > 0 && (found[at - 1]?.item.sinceMs ?? 0) > item.sinceMs) at -= 1;
        found.splice(at, 0, { item, lane });
        found.length = Math.min(found.length, MAX_TRIES);
      }
    }
    return found;
  }
}

const isWanted = ({ refusals }: Item, agentId: string, nowMs: number): boolean =>
  (refusals.get(agentId) ?? 0) <= nowMs;
