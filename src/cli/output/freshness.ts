import { type Agent, Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { SystemStatus } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { durationMs } from './time.ts';

/**
 * Whether an agent's last reading says how the agent is now. A reading outlives its agent in the store; shown as if it
 * were of today it would make a dead worker look alive.
 */
export type Freshness =
  /** Being measured. */
  | { kind: 'current'; ageMs: number }
  /** A session is said to be open, yet nobody measured for too long. */
  | { kind: 'stale'; ageMs: number | undefined }
  /** No session: what is left is the last reading before the end. */
  | { kind: 'past'; ageMs: number | undefined }
  /** Never measured. */
  | { kind: 'none' };

/** When the service's ping interval cannot be asked for: its default. */
const usualPingMs = 5_000;
/** Between a measurement and its sight at another replica: flush and travel. */
const allowanceMs = 10_000;

/** The age from which a reading is stale, by the slowest replica's ping interval: three missed and the allowance. */
export function staleAfterMs(status: SystemStatus | undefined): number {
  const replicas =
    status === undefined ? [] : [...status.replicas, ...(status.replica ? [status.replica] : [])];
  const intervals = replicas.map(({ pingInterval }) => (pingInterval ? durationMs(pingInterval) : 0));
  return 3 * (Math.max(0, ...intervals) || usualPingMs) + allowanceMs;
}

/** `sinceMs`: how long ago the response came that brought the agent. */
export function freshnessOf(agent: Agent, staleMs: number, sinceMs = 0): Freshness {
  const { observation } = agent;
  if (observation === undefined) return { kind: 'none' };
  const ageMs = observation.age === undefined ? undefined : durationMs(observation.age) + sinceMs;
  const attached = agent.liveness === Agent_Liveness.CONNECTED || agent.liveness === Agent_Liveness.SUSPECT;
  if (!attached) return { kind: 'past', ageMs };
  return ageMs !== undefined && ageMs <= staleMs ? { kind: 'current', ageMs } : { kind: 'stale', ageMs };
}

/** The server's clock when it answered, as far as the agent's reading tells it; else the reader's own. */
export function answeredAtMs(agent: Agent, ownMs: number): number {
  const { observeTime, age } = agent.observation ?? {};
  if (observeTime === undefined || age === undefined) return ownMs;
  return Number(observeTime.seconds) * 1000 + observeTime.nanos / 1e6 + durationMs(age);
}
