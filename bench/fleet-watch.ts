import type { Agent } from '../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Clients } from '../test/support/clients.ts';

/** What a WatchAgents client heard of one agent, and when it was in its hands. */
export interface Heard {
  agent: Agent;
  /** Wall clock with fractions, as `nowMs()`. */
  atMs: number;
}

/** The wall clock of this machine with fractions of a millisecond. */
export const nowMs = (): number => performance.timeOrigin + performance.now();

/** A WatchAgents client. */
export class FleetWatch {
  readonly #abort = new AbortController();
  readonly #listeners = new Set<(heard: Heard) => void>();
  #synced: () => void = () => {};
  #failed: ((error: Error) => void) | undefined;
  #ended: Promise<void> = Promise.resolve();

  static async open(clients: Clients): Promise<FleetWatch> {
    const watch = new FleetWatch();
    await new Promise<void>((resolve, reject) => {
      watch.#synced = resolve;
      watch.#failed = reject;
      watch.#ended = watch.#run(clients);
    });
    return watch;
  }

  listen(listener: (heard: Heard) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves with the next news of an agent that fit, or rejects after the time. */
  next(agentId: string, fits: (agent: Agent) => boolean, timeoutMs: number): Promise<Heard> {
    return new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer);
        stop();
      };
      const stop = this.listen((heard) => {
        if (heard.agent.id !== agentId || !fits(heard.agent)) return;
        end();
        resolve(heard);
      });
      const timer = setTimeout(() => {
        end();
        reject(new Error(`nothing that fits was heard of ${agentId} for ${timeoutMs} ms`));
      }, timeoutMs);
    });
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#ended;
  }

  async #run(clients: Clients): Promise<void> {
    try {
      for await (const response of clients.agents.watchAgents({}, { signal: this.#abort.signal })) {
        const atMs = nowMs();
        for (const { agent } of response.changes) {
          if (agent !== undefined) for (const listener of this.#listeners) listener({ agent, atMs });
        }
        if (response.synced) this.#synced();
      }
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#failed?.(error as Error);
    }
  }
}
