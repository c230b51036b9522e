import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentChange_Type } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Alert } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type {
  Event,
  SystemStatus,
  WatchLiveResponse,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

/** An agent with what was last measured of it. */
export interface TopAgent {
  agent: Agent;
  /** When its reading came, monotonic milliseconds. */
  atMs: number;
  deliveries: number;
  tasks: number;
}

const EVENTS = 500;

/** What the live stream has told so far. */
export class TopModel {
  status: SystemStatus | undefined;
  agents = new Map<string, TopAgent>();
  readonly alerts = new Map<string, Alert>();
  /** Oldest first; the last ones. */
  events: Event[] = [];
  /** By part: why it is not served. */
  readonly faults = new Map<number, string>();
  /** When something came last, monotonic milliseconds; undefined: nothing has. */
  heardMs: number | undefined;
  replicaId = '';
  /** All agents were told. */
  synced = false;
  /** Agents of a stream that begins anew: they take the place of the others once all were told. */
  #renewed: Map<string, TopAgent> | undefined;

  /** The stream broke and will tell everything again. */
  anew(): void {
    this.#renewed = new Map();
    this.synced = false;
    this.alerts.clear();
    this.faults.clear();
  }

  apply(response: WatchLiveResponse, nowMs: number): void {
    this.heardMs = nowMs;
    this.replicaId = response.replicaId;
    const { part } = response;
    switch (part.case) {
      case 'status':
        this.status = part.value;
        break;
      case 'agents':
        this.#agents(part.value, nowMs);
        break;
      case 'alerts':
        for (const alert of part.value.alerts) this.alerts.set(alert.id, alert);
        for (const id of part.value.removedIds) this.alerts.delete(id);
        break;
      case 'events': {
        const known = new Set(this.events.slice(-EVENTS).map(({ id }) => id));
        const fresh = part.value.events.filter(({ id }) => !known.has(id));
        this.events = [...this.events, ...fresh].slice(-EVENTS);
        break;
      }
      case 'fault':
        this.faults.set(part.value.part, part.value.message);
        break;
      default:
    }
  }

  #agents(
    { changes, samples, synced }: Extract<WatchLiveResponse['part'], { case: 'agents' }>['value'],
    nowMs: number,
  ): void {
    const agents = this.#renewed ?? this.agents;
    for (const { type, agent } of changes) {
      if (agent === undefined) continue;
      if (type === AgentChange_Type.REMOVED) {
        agents.delete(agent.id);
        continue;
      }
      const known = agents.get(agent.id);
      // A change tells nothing of readings: those that are known stay.
      if (agent.observation === undefined && known?.agent.observation !== undefined) {
        agent.observation = known.agent.observation;
        agents.set(agent.id, { ...known, agent });
      } else {
        agents.set(agent.id, {
          agent,
          atMs: nowMs,
          deliveries: known?.deliveries ?? 0,
          tasks: known?.tasks ?? 0,
        });
      }
    }
    for (const { agentId, observation, pendingDeliveries, tasks } of samples) {
      const known = agents.get(agentId);
      if (known === undefined) continue;
      if (observation !== undefined) {
        known.agent.observation = observation;
        known.atMs = nowMs;
      }
      known.deliveries = pendingDeliveries;
      known.tasks = tasks;
    }
    if (!synced) return;
    this.synced = true;
    if (this.#renewed !== undefined) this.agents = this.#renewed;
    this.#renewed = undefined;
  }
}
