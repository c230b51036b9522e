import type { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { agentOf } from '../../agent/record.ts';
import { type Standing, standingOf } from './standing.ts';

/** The agents of a zone, counted by what the store says of them. */
export interface ZoneCounts {
  agents: number;
  connected: number;
  lost: number;
  quarantined: number;
  /** They should work and are not attached. */
  absent: number;
}

export const noAgents = (): ZoneCounts => ({ agents: 0, connected: 0, lost: 0, quarantined: 0, absent: 0 });

/** Agents by their liveness and by their phase. */
export interface WordCounts {
  liveness: Map<Agent_Liveness, number>;
  phases: Map<Agent_Phase, number>;
}

export const noWords = (): WordCounts => ({ liveness: new Map(), phases: new Map() });

/** Adds to a count; one that comes to nothing is not there. */
export function count<K>(counts: Map<K, number>, key: K, by: number): void {
  const sum = (counts.get(key) ?? 0) + by;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}

/** Counts as changes come: every agent, by namespace and zone. */
export class AgentCounts {
  readonly #namespaces = new Map<string, Map<string, ZoneCounts>>();
  readonly #words = new Map<string, WordCounts>();

  /** @param told called after each change, with the agent as it was and is */
  constructor(options: {
    directory: Pick<AgentDirectory, 'listen'>;
    told(namespace: string, agentId: string, after: KnownAgent | undefined): void;
  }) {
    options.directory.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known === undefined) return;
        if (before !== undefined) this.#add(before, -1);
        if (after !== undefined) this.#add(after, 1);
        options.told(known.namespace, known.id, after);
      },
    });
  }

  namespaces(): IterableIterator<string> {
    return this.#namespaces.keys();
  }

  /** By zone; agents without one are under "". */
  zones(namespace: string): ReadonlyMap<string, ZoneCounts> {
    return this.#namespaces.get(namespace) ?? new Map<string, ZoneCounts>();
  }

  /** By liveness and phase. */
  words(namespace: string): WordCounts {
    return this.#words.get(namespace) ?? noWords();
  }

  #add({ namespace, record }: KnownAgent, by: 1 | -1): void {
    this.#count(namespace, standingOf(record), by);
    const words = this.#words.get(namespace) ?? noWords();
    this.#words.set(namespace, words);
    const { liveness, phase } = agentOf(record);
    count(words.liveness, liveness, by);
    count(words.phases, phase, by);
    if (words.liveness.size === 0) this.#words.delete(namespace);
  }

  #count(namespace: string, standing: Standing, by: 1 | -1): void {
    let zones = this.#namespaces.get(namespace);
    if (zones === undefined) {
      zones = new Map();
      this.#namespaces.set(namespace, zones);
    }
    const counts = zones.get(standing.zone) ?? noAgents();
    zones.set(standing.zone, counts);
    counts.agents += by;
    if (standing.attached) counts.connected += by;
    if (standing.lost) counts.lost += by;
    if (standing.quarantined) counts.quarantined += by;
    if (standing.works && !standing.attached) counts.absent += by;
    if (counts.agents > 0) return;
    zones.delete(standing.zone);
    if (zones.size === 0) this.#namespaces.delete(namespace);
  }
}
