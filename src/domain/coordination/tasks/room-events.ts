import type { AgentPool } from '../../resource/pool/agent-pool.ts';
import type { Group, Waiting } from './waiting.ts';

export interface RoomEventsOptions {
  waiting: Waiting;
  pool: Pick<AgentPool, 'agent' | 'fits'>;
  /** An agent has room for something of this group. */
  unblock(group: Group): void;
  /** What others refused may be tried on an agent: step by step. */
  resumeRefused(agentId: string): Iterable<void>;
}

/**
 * Agents that have room, and what waits that they may have. Nothing is placed before all of it is known: else whoever is looked at
 * first would always be the first.
 */
export class RoomEvents {
  readonly #options: RoomEventsOptions;
  #agents = new Set<string>();
  #steps: Iterator<void> | undefined;

  constructor(options: RoomEventsOptions) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#agents.size === 0 && this.#steps === undefined;
  }

  add(agentId: string): void {
    this.#agents.add(agentId);
  }

  clear(): void {
    this.#agents.clear();
    this.#steps = undefined;
  }

  /** @returns whether all is known; false: time was up */
  take(isLate: () => boolean): boolean {
    if (this.isEmpty) return true;
    if (this.#steps === undefined) {
      this.#steps = this.#look(this.#agents);
      this.#agents = new Set();
    }
    while (this.#steps.next().done !== true) if (isLate()) return false;
    this.#steps = undefined;
    return true;
  }

  *#look(agents: ReadonlySet<string>): Generator<void> {
    const { pool, waiting, unblock, resumeRefused } = this.#options;
    for (const agentId of agents) {
      const agent = pool.agent(agentId);
      if (agent === undefined) continue;
      yield* resumeRefused(agentId);
      const names = new Set(['', ...agent.capabilities.map(({ name }) => name)]);
      for (const name of names) {
        for (const group of waiting.groupsFor(name)) {
          if (!group.roomBlocked && !group.holdsBack) continue;
          if (pool.fits(group.class, agentId)) unblock(group);
          yield;
        }
      }
    }
  }
}
