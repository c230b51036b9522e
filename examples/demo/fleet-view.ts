import { createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import {
  type Agent,
  Agent_Liveness,
  type Health,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentChange_Type, AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { pause, type World } from './simulation.ts';

/** What the service says of an agent. */
export interface Seen {
  liveness: string;
  /** 0..1, or undefined while nothing was measured. */
  health: number | undefined;
  /** Smoothed, in milliseconds. */
  roundTripMs: number | undefined;
}

const livenessNames = new Map<number, string>(
  Object.entries(Agent_Liveness).map(([name, number]) => [number as number, name]),
);

/** Follows the fleet as an operator would: by WatchAgents, resumed with its cursor when it breaks. */
export class FleetView {
  readonly agents = new Map<string, Seen>();

  async follow(world: World): Promise<void> {
    const client = createClient(AgentService, createGrpcTransport({ baseUrl: `http://${world.server}` }));
    let cursor = '';
    while (!world.stop.aborted) {
      try {
        const request = { namespace: world.namespace, cursor, sampleInterval: { seconds: 1n } };
        for await (const news of client.watchAgents(request, { signal: world.stop })) {
          for (const { type, agent } of news.changes) {
            if (agent === undefined) continue;
            if (type === AgentChange_Type.REMOVED) this.agents.delete(agent.id);
            else this.#seen(agent);
          }
          for (const { agentId, observation } of news.samples) {
            const seen = this.agents.get(agentId);
            if (seen === undefined || observation === undefined) continue;
            Object.assign(seen, measured(observation.health, observation.roundTrip?.smoothed));
          }
          cursor = news.cursor;
        }
      } catch {
        cursor = ''; // whatever it was, a snapshot mends it
      }
      await pause(1, world);
    }
  }

  #seen(agent: Agent): void {
    const liveness = livenessNames.get(agent.liveness) ?? '?';
    const { health, roundTrip } = agent.observation ?? {};
    const before = this.agents.get(agent.id);
    const now = measured(health, roundTrip?.smoothed);
    this.agents.set(agent.id, {
      liveness,
      health: now.health ?? before?.health,
      roundTripMs: now.roundTripMs ?? before?.roundTripMs,
    });
  }
}

function measured(health: Health | undefined, smoothed: { seconds: bigint; nanos: number } | undefined) {
  return {
    health: health?.score,
    roundTripMs: smoothed && Number(smoothed.seconds) * 1_000 + smoothed.nanos / 1e6,
  };
}
