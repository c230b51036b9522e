import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
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

const nothing = (): ZoneCounts => ({ agents: 0, connected: 0, lost: 0, quarantined: 0, absent: 0 });

/** Counts as changes come: every agent, by namespace and zone. */
export class AgentCounts {
  readonly #namespaces = new Map<string, Map<string, ZoneCounts>>();

  /** @param told called after each change, with the agent as it was and is */
  constructor(options: {
    directory: Pick<AgentDirectory, 'listen'>;
    told(namespace: string, agentId: string, after: KnownAgent | undefined): void;
  }) {
    options.directory.listen({
      changed: (before, after) => {
        const known = after ?? before;
        if (known === undefined) return;
        if (before !== undefined) this.#count(known.namespace, standingOf(before.record), -1);
        if (after !== undefined) this.#count(known.namespace, standingOf(after.record), 1);
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

  #count(namespace: string, standing: Standing, by: 1 | -1): void {
    let zones = this.#namespaces.get(namespace);
    if (zones === undefined) {
      zones = new Map();
      this.#namespaces.set(namespace, zones);
    }
    const counts = zones.get(standing.zone) ?? nothing();
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
