import type { AgentPool } from '../../resource/pool/agent-pool.ts';
import type { Group, Item, Waiting } from './waiting.ts';

export interface KeptFreeOptions {
  waiting: Waiting;
  pool: Pick<AgentPool, 'couldFit' | 'easiestToFree'>;
  /** What has waited for room for so long has an agent kept free; 0: nothing has. */
  reserveAfterMs: number;
}

/**
 * An agent that is kept free for what has waited for too long for room: else what is smaller would always be before it. One at
 * a time in a namespace.
 */
export class KeptFree {
  readonly #options: KeptFreeOptions;
  readonly #agents = new Map<string, string>();

  constructor(options: KeptFreeOptions) {
    this.#options = options;
  }

  /** Agents, each with the key of what it is kept free for. */
  get agents(): ReadonlyMap<string, string> {
    return this.#agents;
  }

  /** It has its place. */
  placed(key: string): void {
    for (const [agentId, owner] of this.#agents) if (owner === key) this.#agents.delete(agentId);
  }

  /** @returns agents that are kept free no more */
  tick(nowMs: number): string[] {
    const { waiting, pool, reserveAfterMs } = this.#options;
    const freed: string[] = [];
    for (const [agentId, key] of this.#agents) {
      const lane = waiting.laneOf(key);
      if (lane !== undefined && pool.couldFit(lane.group.class, agentId)) continue;
      this.#agents.delete(agentId);
      freed.push(agentId);
    }
    if (reserveAfterMs === 0 || this.#agents.size > 0) return freed;
    const oldest = this.#oldest(nowMs - reserveAfterMs);
    const agentId = oldest && pool.easiestToFree(oldest.group.class);
    if (oldest !== undefined && agentId !== undefined) this.#agents.set(agentId, oldest.item.key);
    return freed;
  }

  /** The one that has waited for room the longest, since before a time. */
  #oldest(beforeMs: number): { item: Item; group: Group } | undefined {
    let oldest: { item: Item; group: Group } | undefined;
    for (const group of this.#options.waiting.groups()) {
      if (!group.roomBlocked) continue;
      for (const { line, quotaBlocked } of group.lanes.values()) {
        const item = line.first();
        if (item === undefined || quotaBlocked || item.sinceMs > beforeMs) continue;
        if (oldest === undefined || item.sinceMs < oldest.item.sinceMs) oldest = { item, group };
      }
    }
    return oldest;
  }
}
