import { create } from '@bufbuild/protobuf';
import { Agent_Liveness, Agent_Phase } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AlertCount, AlertSink } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type FleetStatus,
  FleetStatusSchema,
  type FreezeStatus,
  LivenessCountSchema,
  PhaseCountSchema,
  type ReplicaStatus,
  type ServiceStatus,
  ServiceStatus_State,
  type StoreStatus,
  StoreStatusSchema,
  type SystemStatus,
  SystemStatus_State,
  SystemStatusSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Config } from '../../config/config.ts';
import type { Clock } from '../../lib/clock.ts';
import { durationFromMs, msFromDuration, timestampFromMs } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { AgentReader } from '../agent/agent-reader.ts';
import type { Outlook } from '../agent/care/outlook.ts';
import type { AgentDirectory } from '../agent/directory.ts';
import type { VerdictWriter } from '../agent/verdict-writer.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { Replicas } from './replicas.ts';

export interface SystemStatusOptions {
  config: Pick<Config, 'id' | 'name' | 'capabilities' | 'alertThresholds'>;
  version: string;
  clock: Clock;
  store: Store;
  directory: AgentDirectory;
  reader: AgentReader;
  verdicts: VerdictWriter;
  replicas: Replicas;
  outlook: Pick<Outlook, 'brakes' | 'freezes'>;
  mailboxes: Pick<Mailboxes, 'total'>;
  /** Things that are no agents; see Services. */
  services(): ServiceStatus[];
  /** Where alerts and events are sent. */
  sinks(): AlertSink[];
  /** Alerts that call for somebody, by severity; of one namespace or of all. */
  alerts(namespace: string | undefined): AlertCount[];
  /** 99th percentile of the commits of the last ten seconds; undefined if there was none. */
  commitP99Ms(): number | undefined;
}

/** A count that took this long is kept for ten times as long: however many ask, it takes a tenth of the time at most. */
const COSTLY_MS = 5;
const KEPT_TIMES = 10;

/** How the system is, from this replica's views. */
export class SystemStatusReader {
  readonly #options: SystemStatusOptions;
  /** Costly counts, by namespace. */
  readonly #counted = new Map<string | undefined, { fleet: FleetStatus; atMs: number; untilMs: number }>();

  constructor(options: SystemStatusOptions) {
    this.#options = options;
  }

  /** @param namespace only its agents; empty: those of all */
  read(namespace: string): SystemStatus {
    const { config, version, clock, replicas, outlook, mailboxes } = this.#options;
    const only = namespace === '' ? undefined : namespace;
    const fleet = this.#fleet(only);
    const brakes = outlook.brakes(only);
    const freezes = outlook.freezes(only);
    const store = this.#store();
    const replica = replicas.own();
    const services = this.#options.services();
    const sinks = this.#options.sinks();
    const reasons = [
      ...storeReasons(store),
      ...brakes.map(({ detail }) => `mass failure: ${detail}`),
      ...freezes.map(freezeReason),
      ...fleetReasons(fleet, config),
      ...replicaReasons(replica),
      ...services.flatMap(serviceReasons),
      ...sinks.flatMap(sinkReasons),
    ];
    const critical = !store.available;
    const state = critical
      ? SystemStatus_State.CRITICAL
      : reasons.length > 0
        ? SystemStatus_State.DEGRADED
        : SystemStatus_State.OK;
    return create(SystemStatusSchema, {
      time: timestampFromMs(clock.wallMs()),
      state,
      reasons,
      orchestratorId: config.id,
      orchestratorName: config.name,
      version,
      fleet,
      replica,
      store,
      capabilities: [...config.capabilities],
      replicas: replicas.all(),
      brakes,
      freezes,
      pendingDeliveries: mailboxes.total(only),
      services,
      sinks,
      alerts: this.#options.alerts(only),
    });
  }

  #fleet(namespace: string | undefined): FleetStatus {
    const { clock } = this.#options;
    const startMs = clock.monoMs();
    const kept = this.#counted.get(namespace);
    if (kept !== undefined && startMs < kept.untilMs) {
      const { oldestReading } = kept.fleet;
      const oldestMs = oldestReading === undefined ? 0 : msFromDuration(oldestReading);
      const age = durationFromMs(oldestMs + startMs - kept.atMs);
      return create(FleetStatusSchema, { ...kept.fleet, oldestReading: age });
    }
    const fleet = this.#count(namespace);
    const endMs = clock.monoMs();
    if (endMs - startMs < COSTLY_MS) this.#counted.delete(namespace);
    else {
      const untilMs = endMs + KEPT_TIMES * (endMs - startMs);
      this.#counted.set(namespace, { fleet, atMs: startMs, untilMs });
    }
    return fleet;
  }

  #count(namespace: string | undefined): FleetStatus {
    const liveness = new Map<Agent_Liveness, number>();
    const phases = new Map<Agent_Phase, number>();
    const health: number[] = [];
    const loads: number[] = [];
    const p50: number[] = [];
    const p95: number[] = [];
    let agents = 0;
    let oldestMs = 0;
    for (const known of this.#options.directory.all(namespace)) {
      const agent = this.#options.reader.present(known);
      agents += 1;
      liveness.set(agent.liveness, (liveness.get(agent.liveness) ?? 0) + 1);
      phases.set(agent.phase, (phases.get(agent.phase) ?? 0) + 1);
      if (!shouldWork(agent.liveness, agent.phase)) continue;
      const { observation } = agent;
      const connected =
        agent.liveness === Agent_Liveness.CONNECTED || agent.liveness === Agent_Liveness.SUSPECT;
      // Just attached to another replica, whose first reading has not come yet: unknown is not unhealthy.
      const unknown = connected && observation?.health === undefined;
      if (!unknown) health.push(observation?.health?.score ?? 0);
      if (observation === undefined || !connected) continue;
      if (observation.age !== undefined) oldestMs = Math.max(oldestMs, msFromDuration(observation.age));
      if (observation.report?.load !== undefined) loads.push(Math.min(1, observation.report.load));
      if (observation.roundTrip?.p50 !== undefined) p50.push(msFromDuration(observation.roundTrip.p50));
      if (observation.roundTrip?.p95 !== undefined) p95.push(msFromDuration(observation.roundTrip.p95));
    }
    const status = create(FleetStatusSchema, {
      agents,
      byLiveness: [...liveness]
        .sort(byKey)
        .map(([key, count]) => create(LivenessCountSchema, { liveness: key, count })),
      byPhase: [...phases].sort(byKey).map(([key, count]) => create(PhaseCountSchema, { phase: key, count })),
      oldestReading: durationFromMs(oldestMs),
    });
    if (health.length > 0) status.health = mean(health);
    if (loads.length > 0) status.load = mean(loads);
    if (p50.length > 0) status.rttP50 = durationFromMs(quantile(p50, 0.5));
    if (p95.length > 0) status.rttP95 = durationFromMs(quantile(p95, 0.95));
    return status;
  }

  #store(): StoreStatus {
    const { store, verdicts } = this.#options;
    const status = store.status();
    const p99 = this.#options.commitP99Ms();
    return create(StoreStatusSchema, {
      kind: status.kind,
      available: status.available,
      durability: status.durability,
      epoch: status.epoch,
      since: timestampFromMs(status.sinceMs),
      detail: status.detail,
      pendingVerdicts: verdicts.size,
      ...(p99 === undefined ? {} : { commitP99: durationFromMs(p99) }),
    });
  }
}

/** Agents that are expected to be there. */
function shouldWork(liveness: Agent_Liveness, phase: Agent_Phase): boolean {
  return (
    liveness !== Agent_Liveness.NEVER_SEEN &&
    liveness !== Agent_Liveness.LEFT &&
    phase !== Agent_Phase.STOPPED
  );
}

/** An event-loop delay that makes verdicts doubtful. */
const SLOW_LOOP_MS = 500;

function storeReasons(store: StoreStatus): string[] {
  return store.available ? [] : [`the store is away: ${store.detail}`];
}

function freezeReason({ namespace, actor, reason }: FreezeStatus): string {
  const why = reason === '' ? '' : `: ${reason}`;
  return `automatic action on agents of namespace ${namespace} is frozen by ${actor}${why}`;
}

function fleetReasons(fleet: FleetStatus, config: Pick<Config, 'alertThresholds'>): string[] {
  const reasons: string[] = [];
  const { agentHealth, systemLoad, communicationLatencyMs } = config.alertThresholds;
  const count = (liveness: Agent_Liveness): number =>
    fleet.byLiveness.find((entry) => entry.liveness === liveness)?.count ?? 0;
  const lost = count(Agent_Liveness.LOST);
  if (lost > 0) reasons.push(`${lost} of ${fleet.agents} agents are lost`);
  if (fleet.health !== undefined && fleet.health < agentHealth) {
    reasons.push(`fleet health ${fleet.health.toFixed(2)} is below ${agentHealth}`);
  }
  if (fleet.load !== undefined && fleet.load > systemLoad) {
    reasons.push(`fleet load ${fleet.load.toFixed(2)} is above ${systemLoad}`);
  }
  const rtt = fleet.rttP95 === undefined ? 0 : msFromDuration(fleet.rttP95);
  if (rtt > communicationLatencyMs) {
    reasons.push(`communication latency p95 ${rtt.toFixed(0)} ms is above ${communicationLatencyMs} ms`);
  }
  return reasons;
}

function replicaReasons(replica: ReplicaStatus): string[] {
  const delayMs = replica.eventLoopDelayMax === undefined ? 0 : msFromDuration(replica.eventLoopDelayMax);
  if (delayMs <= SLOW_LOOP_MS) return [];
  return [`replica ${replica.id} stood still for ${delayMs.toFixed(0)} ms in the last ten seconds`];
}

/** Failed tries in a row that are no passing trouble. */
const SINK_FAILURES = 3;

function sinkReasons({ name, failures, error }: AlertSink): string[] {
  return failures < SINK_FAILURES ? [] : [`sink ${name} takes nothing: ${error}`];
}

function serviceReasons({ name, state, detail }: ServiceStatus): string[] {
  if (state === ServiceStatus_State.DOWN) return [`service ${name} is down: it ${detail}`];
  return state === ServiceStatus_State.SLOW ? [`service ${name} is slow: it ${detail}`] : [];
}

const byKey = ([a]: readonly [number, number], [b]: readonly [number, number]): number => a - b;
const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;
const quantile = (values: readonly number[], q: number): number =>
  [...values].sort((a, b) => a - b)[Math.max(0, Math.ceil(q * values.length) - 1)] ?? 0;
