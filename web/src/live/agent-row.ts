import type {
  Agent,
  Agent_Liveness,
  Agent_Phase,
  Drain_State,
  Observation,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { durationMs, timeMs } from '../lib/time.ts';

/** What was measured of an agent, flat. */
export interface Reading {
  /** When, by `steadyNow`; reckoned from its age, so that nobody's clock matters. */
  at: number;
  health: number;
  /** Why the health is below 1. */
  reasons: string[];
  load: number | undefined;
  rttLast: number | undefined;
  rttP50: number | undefined;
  rttP95: number | undefined;
  activity: string;
  replicaId: string;
}

/** An agent as a table shows it. */
export interface AgentRow {
  id: string;
  name: string;
  kind: string;
  version: string;
  zone: string;
  phase: Agent_Phase;
  liveness: Agent_Liveness;
  drain: Drain_State | undefined;
  /** What the liveness was judged by, and when by the replica's clock. */
  rule: string;
  detail: string;
  judgedMs: number | undefined;
  capabilities: string[];
  labels: Record<string, string>;
  /** All that a search looks at, in lower case. */
  haystack: string;
  /** The id with its numbers filled up, so that a plain comparison has "web-2" before "web-10". */
  sortKey: string;
  revision: number;
  reading: Reading | undefined;
  /** Tasks that it has, and deliveries in its mailbox; undefined: not told yet. */
  tasks: number | undefined;
  deliveries: number | undefined;
}

/** What is told of an agent between its changes. */
export interface AgentSampled {
  id: string;
  reading: Reading | undefined;
  tasks: number;
  deliveries: number;
}

export interface AgentNews {
  upserts: AgentRow[];
  removed: string[];
  samples: AgentSampled[];
  /** The whole record of agents that were asked for by id. */
  whole: Agent[];
  /** From here on what is not mentioned since `begin` is gone. */
  synced: boolean;
}

const ZONE = 'topology.kubernetes.io/zone';

/** @param heardAt when it came, by `steadyNow` */
export function rowOf(agent: Agent, heardAt: number): AgentRow {
  const { spec, verdict } = agent;
  const labels = spec?.labels ?? {};
  const capabilities = (spec?.capabilities ?? []).map(({ name }) => name);
  const kind = spec?.kind ?? '';
  const name = spec?.displayName ?? '';
  const pairs = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return {
    id: agent.id,
    name,
    kind,
    version: spec?.version ?? '',
    zone: labels[ZONE] ?? '',
    phase: agent.phase,
    liveness: agent.liveness,
    drain: agent.drain?.state,
    rule: verdict?.rule ?? '',
    detail: verdict?.detail ?? '',
    judgedMs: timeMs(verdict?.time),
    capabilities,
    labels,
    haystack: [agent.id, name, kind, ...capabilities, ...pairs].join(' ').toLowerCase(),
    sortKey: agent.id.replace(/\d+/g, (digits) => digits.padStart(12, '0')),
    revision: Number(agent.revision),
    reading: readingOf(agent.observation, heardAt),
    tasks: undefined,
    deliveries: undefined,
  };
}

export function readingOf(observation: Observation | undefined, heardAt: number): Reading | undefined {
  if (observation === undefined) return undefined;
  const { health, roundTrip, report } = observation;
  return {
    at: heardAt - (durationMs(observation.age) ?? 0),
    health: health?.score ?? 0,
    reasons: health?.reasons ?? [],
    load: report?.load,
    rttLast: durationMs(roundTrip?.last),
    rttP50: durationMs(roundTrip?.p50),
    rttP95: durationMs(roundTrip?.p95),
    activity: report?.activity ?? '',
    replicaId: observation.replicaId,
  };
}
