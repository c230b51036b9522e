import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type Agent,
  type Agent_Liveness,
  Agent_LivenessSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentChange,
  AgentChange_Type,
  type WatchAgentsRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Clients } from './clients.ts';
import { within } from './until.ts';

/** A WatchAgents stream that keeps everything it heard, for awaiting changes and for comparing sequences. */
export class AgentWatch {
  readonly changes: AgentChange[] = [];
  cursor = '';
  synced = false;
  /** Resolves with the error that ended the stream; undefined after close(). */
  readonly ended: Promise<unknown>;
  readonly #abort = new AbortController();
  readonly #waiters = new Set<() => void>();

  constructor(clients: Clients, request: MessageInitShape<typeof WatchAgentsRequestSchema> = {}) {
    this.ended = this.#run(clients, request);
  }

  /** Opens a watch and waits until its snapshot (or what was missed) is complete. */
  static async open(
    clients: Clients,
    request: MessageInitShape<typeof WatchAgentsRequestSchema> = {},
  ): Promise<AgentWatch> {
    const watch = new AgentWatch(clients, request);
    await watch.until(() => watch.synced, 'the snapshot of the watch');
    return watch;
  }

  /** Resolves once `condition` holds after some response. */
  async until(condition: () => boolean, what: string, timeoutMs = 15_000): Promise<void> {
    if (condition()) return;
    let check = () => {};
    const held = new Promise<void>((resolve) => {
      check = () => {
        if (condition()) resolve();
      };
    });
    this.#waiters.add(check);
    const failed = this.ended.then((error) => {
      throw new Error(`the watch ended before ${what}: ${String(error)}`);
    });
    failed.catch(() => {});
    try {
      await within(Promise.race([held, failed]), timeoutMs, what);
    } catch (error) {
      throw new Error(`${String(error)}; heard: ${this.changes.map(show).join(', ').slice(-2000)}`);
    } finally {
      this.#waiters.delete(check);
    }
  }

  /** The agent as last heard of. */
  latest(agentId: string): Agent | undefined {
    return this.changes.findLast(({ agent }) => agent?.id === agentId)?.agent;
  }

  async untilLiveness(agentId: string, liveness: Agent_Liveness, timeoutMs?: number): Promise<Agent> {
    const what = `${agentId} to be ${livenessName(liveness)}`;
    await this.until(() => this.latest(agentId)?.liveness === liveness, what, timeoutMs);
    const agent = this.latest(agentId);
    if (agent === undefined) throw new Error('unreachable');
    return agent;
  }

  /** The states of liveness that an agent went through, repeats left out. */
  livenessOf(agentId: string): string[] {
    const states = this.changes.flatMap(({ agent }) =>
      agent?.id === agentId ? [livenessName(agent.liveness)] : [],
    );
    return states.filter((state, index) => state !== states[index - 1]);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.ended;
  }

  async #run(clients: Clients, request: MessageInitShape<typeof WatchAgentsRequestSchema>): Promise<unknown> {
    try {
      for await (const response of clients.agents.watchAgents(request, { signal: this.#abort.signal })) {
        this.changes.push(...response.changes);
        // Empty in the middle of a snapshot or of a large commit: there is no place to resume from yet.
        if (response.cursor !== '') this.cursor = response.cursor;
        this.synced ||= response.synced;
        for (const waiter of this.#waiters) waiter();
      }
      return new Error('the server ended the watch without an error');
    } catch (error) {
      return this.#abort.signal.aborted ? undefined : error;
    }
  }
}

/** "NEVER_SEEN", "CONNECTED"… */
export function livenessName(liveness: Agent_Liveness): string {
  return Agent_LivenessSchema.value[liveness]?.localName ?? `${liveness}`;
}

function show({ type, agent }: AgentChange): string {
  const what = type === AgentChange_Type.REMOVED ? 'removed' : livenessName(agent?.liveness ?? 0);
  return `${agent?.id}@${agent?.revision} ${what}`;
}
