import { create, type JsonObject } from '@bufbuild/protobuf';
import {
  GetConfigResponseSchema,
  GetSystemStatusResponseSchema,
  ListMetricsResponseSchema,
  MonitoringService,
  type SystemStatus,
  type WatchSystemStatusResponse,
  WatchSystemStatusResponseSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Diagnosis } from '../domain/monitoring/diagnosis/diagnosis.ts';
import type { EventLog } from '../domain/monitoring/event-log.ts';
import { METRICS } from '../domain/monitoring/figures/catalogue.ts';
import type { HistoryQuery } from '../domain/monitoring/history/query.ts';
import type { LiveStreams } from '../domain/monitoring/live/live-streams.ts';
import type { Reports } from '../domain/monitoring/report/reports.ts';
import type { SystemStatusReader } from '../domain/monitoring/status.ts';
import type { Topology } from '../domain/monitoring/topology/topology.ts';
import { msFromDuration } from '../lib/proto-time.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface MonitoringServiceOptions {
  status: SystemStatusReader;
  events: EventLog;
  live: LiveStreams;
  topology: Topology;
  diagnosis: Pick<Diagnosis, 'run'>;
  history: Pick<HistoryQuery, 'run'>;
  reports: Pick<Reports, 'get'>;
  /** The effective configuration, secrets blanked, and where it came from. */
  config: { config: JsonObject; sources: Record<string, string> };
  /** At the latest after this the status is sent again, changed or not. */
  updateIntervalMs: number;
}

const DEFAULT_INTERVAL_MS = 1000;

export function createMonitoringService(options: MonitoringServiceOptions): ServiceBinding {
  const { status, events, live, topology, diagnosis, history, reports, config, updateIntervalMs } = options;
  return bindService(MonitoringService, {
    getSystemStatus: async (request) =>
      create(GetSystemStatusResponseSchema, { status: status.read(request.namespace) }),
    watchSystemStatus: (request, context) => {
      const intervalMs =
        request.minInterval === undefined ? DEFAULT_INTERVAL_MS : msFromDuration(request.minInterval);
      return watchStatus(() => status.read(request.namespace), intervalMs, updateIntervalMs, context.signal);
    },
    listEvents: (request) => events.list(request),
    watchEvents: (request, context) => events.watch(request, context.signal),
    getEvent: (request) => events.chain(request),
    queryMetrics: (request) => history.run(request),
    listMetrics: async () => create(ListMetricsResponseSchema, { metrics: [...METRICS] }),
    getTopology: (request) => topology.get(request),
    diagnose: (request) => diagnosis.run(request),
    getReport: (request) => reports.get(request),
    watchLive: (request, context) => live.watch(request, context.json === true, context.signal),
    getConfig: async () => create(GetConfigResponseSchema, config),
  });
}

/** Yields the status at once, when it changed (at most every `intervalMs`), and at the latest every `updateMs`. */
export async function* watchStatus(
  read: () => SystemStatus,
  intervalMs: number,
  updateMs: number,
  signal: AbortSignal,
): AsyncGenerator<WatchSystemStatusResponse, void, undefined> {
  let told = '';
  let toldMs = Number.NEGATIVE_INFINITY;
  while (!signal.aborted) {
    const status = read();
    const print = changePrint(status);
    const nowMs = performance.now();
    if (print !== told || nowMs - toldMs >= updateMs) {
      told = print;
      toldMs = nowMs;
      yield create(WatchSystemStatusResponseSchema, { status });
    }
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, intervalMs);
      signal.addEventListener('abort', end, { once: true });
    });
  }
}

/** What counts as a change: everything but the readings that differ at every look. */
function changePrint(status: SystemStatus): string {
  const { state, reasons, fleet, store, replicas, services, sinks, alerts } = status;
  return JSON.stringify([
    state,
    reasons,
    fleet?.agents,
    fleet?.byLiveness.map(({ liveness, count }) => [liveness, count]),
    fleet?.byPhase.map(({ phase, count }) => [phase, count]),
    fleet?.health?.toFixed(2),
    fleet?.load?.toFixed(2),
    store?.available,
    `${store?.epoch}`,
    store?.pendingVerdicts,
    replicas.map(({ id, sessions, draining }) => [id, sessions, draining]),
    services.map((service) => [service.name, service.state]),
    sinks.map(({ name, healthy }) => [name, healthy]),
    alerts.map(({ severity, firing, acknowledged }) => [severity, firing, acknowledged]),
  ]);
}
