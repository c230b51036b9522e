import { create } from '@bufbuild/protobuf';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AlertCount, AlertSink } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { MetricReading } from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type FleetStatus,
  type FreezeStatus,
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
import type { Outlook } from '../agent/care/outlook.ts';
import type { AgentDirectory } from '../agent/directory.ts';
import type { VerdictWriter } from '../agent/verdict-writer.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { Figures } from './figures/figures.ts';
import type { Replicas } from './replicas.ts';

export interface SystemStatusOptions {
  config: Pick<Config, 'id' | 'name' | 'capabilities' | 'alertThresholds'>;
  version: string;
  clock: Clock;
  store: Store;
  /** The figures that rules judge too: there is one truth. */
  figures: Pick<Figures, 'fleetStatus' | 'readings'>;
  /** When the figures were last reckoned as a whole, wall clock; undefined: not yet. */
  analysedMs(): number | undefined;
  verdicts: VerdictWriter;
  replicas: Replicas;
  outlook: Pick<Outlook, 'brakes' | 'freezes'>;
  mailboxes: Pick<Mailboxes, 'total'>;
  directory: Pick<AgentDirectory, 'namespaces' | 'count'>;
  /** Things that are no agents; see Services. */
  services(): ServiceStatus[];
  /** Where alerts and events are sent. */
  sinks(): AlertSink[];
  /** Alerts that call for somebody, by severity; of one namespace or of all. */
  alerts(namespace: string | undefined): AlertCount[];
  /** 99th percentile of the commits of the last ten seconds; undefined if there was none. */
  commitP99Ms(): number | undefined;
}

/** How the system is, from this replica's views. */
export class SystemStatusReader {
  readonly #options: SystemStatusOptions;

  constructor(options: SystemStatusOptions) {
    this.#options = options;
  }

  /** @param namespace only its agents; empty: those of all */
  read(namespace: string): SystemStatus {
    const { config, version, clock, replicas, outlook, mailboxes } = this.#options;
    const only = namespace === '' ? undefined : namespace;
    const { figures } = this.#options;
    const fleet = figures.fleetStatus(only);
    const readings = figures.readings(only);
    const analysedMs = this.#options.analysedMs();
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
      ...readings.flatMap((reading) => usageReasons(reading, config)),
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
      readings,
      ...(analysedMs === undefined ? {} : { analysedTime: timestampFromMs(analysedMs) }),
      services,
      sinks,
      alerts: this.#options.alerts(only),
      namespaces: this.#namespaces(),
    });
  }

  #namespaces(): string[] {
    const { directory } = this.#options;
    const names = directory.namespaces().filter((name) => directory.count(name) > 0);
    return names.sort().slice(0, MAX_NAMESPACES);
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

/** Namespaces that are named. */
const MAX_NAMESPACES = 1_000;
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

function usageReasons(
  { metric, resource, value }: MetricReading,
  { alertThresholds }: Pick<Config, 'alertThresholds'>,
): string[] {
  const { resourceUsage } = alertThresholds;
  if (metric !== 'resource_usage' || value === undefined || value <= resourceUsage) return [];
  return [`usage of ${resource} ${value.toFixed(2)} is above ${resourceUsage}`];
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
