import { type Agent, Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Clients } from '../support/clients.ts';
import { until } from '../support/until.ts';

export interface Sighting {
  agent: Agent;
  /** "CONNECTED", "LOST"… */
  liveness: string;
  /** performance.now() when the change came. */
  at: number;
}

const names = new Map<number, string>(Object.entries(Agent_Liveness).map(([name, number]) => [number, name]));

/** Follows WatchAgents and keeps what it was told. */
export class FleetWatch {
  readonly sightings: Sighting[] = [];
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(clients: Clients) {
    this.#done = this.#follow(clients);
  }

  /** The n-th sighting of an agent in this liveness, among those after `since`. */
  async seen(id: string, liveness: string, since = 0, timeoutMs = 20_000): Promise<Sighting> {
    const find = () =>
      this.sightings.find((one) => one.agent.id === id && one.liveness === liveness && one.at >= since);
    await until(
      () => find() !== undefined || this.path(id),
      (found) => found === true,
      { timeoutMs, what: `${id} to be ${liveness}` },
    );
    return find() as Sighting;
  }

  /** All the states an agent went through, repeats left out. */
  path(id: string): string[] {
    const states = this.sightings.filter(({ agent }) => agent.id === id).map(({ liveness }) => liveness);
    return states.filter((state, index) => state !== states[index - 1]);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async #follow(clients: Clients): Promise<void> {
    try {
      for await (const news of clients.agents.watchAgents({}, { signal: this.#abort.signal })) {
        for (const { agent } of news.changes) {
          if (agent === undefined) continue;
          const liveness = names.get(agent.liveness) ?? String(agent.liveness);
          this.sightings.push({ agent, liveness, at: performance.now() });
        }
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) throw error;
    }
  }
}
