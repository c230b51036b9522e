import { join } from 'node:path';
import { Alert_State, type AlertSink } from '../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { ServiceStatus } from '../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Config } from './config/config.ts';
import { storeKind } from './config/store-url.ts';
import type { AlertReader } from './domain/monitoring/alerts/alert-reader.ts';
import type { AlertView, KnownAlert } from './domain/monitoring/alerts/alert-view.ts';
import type { PresentAlerts } from './domain/monitoring/alerts/present-alert.ts';
import type { DashboardsOptions } from './domain/monitoring/diagnosis/checks/dashboards.ts';
import type { MetricsOptions } from './domain/monitoring/diagnosis/checks/metrics.ts';
import { type CheckOptions, createChecks } from './domain/monitoring/diagnosis/create-checks.ts';
import { Diagnosis } from './domain/monitoring/diagnosis/diagnosis.ts';
import type { ExporterHealth, HistoryHealth } from './domain/monitoring/diagnosis/ports.ts';
import type { Replicas } from './domain/monitoring/replicas.ts';
import { SYSTEM_NAMESPACE } from './domain/namespaces.ts';
import type { Fleet } from './fleet.ts';
import type { Clock } from './lib/clock.ts';
import { readDisks, readHost } from './lib/host.ts';
import type { Logger } from './lib/logger.ts';
import type { Stores } from './stores.ts';

/** What other parts of monitoring know. */
export interface Sight {
  metrics: Pick<MetricsOptions, 'readings' | 'analysedMs'>;
  alerts: {
    view: Pick<AlertView, 'open' | 'records'>;
    present: Pick<PresentAlerts, 'alert'>;
    reader: Pick<AlertReader, 'rules'>;
  };
  history(): Omit<HistoryHealth, 'available' | 'detail'>;
  sinks(): AlertSink[];
  services(): ServiceStatus[];
}

export interface CreateDiagnosisOptions {
  config: Config;
  stores: Stores;
  fleet: Fleet;
  replicas: Replicas;
  clock: Clock;
  log: Logger;
  /** Undefined: this replica does no monitoring. */
  sight: Sight | undefined;
  dashboards: DashboardsOptions;
  exporters(): ExporterHealth[];
  /** See Scope. */
  settleMs?: number;
}

/** The checks of the diagnosis, wired to what they look at. */
export function createDiagnosis(options: CreateDiagnosisOptions): Diagnosis {
  const { config, stores, fleet, replicas, clock, log, sight, dashboards, exporters } = options;
  const { directory, mailboxes, views, reader } = fleet;
  const storeMs = (): number => fleet.storeTime.ms();
  const isKnown = (namespace: string): boolean =>
    directory.count(namespace) > 0 ||
    fleet.tasks.view.count(namespace) > 0 ||
    fleet.tasks.allocations.count(namespace) > 0 ||
    fleet.tasks.quotas.count(namespace) > 0;
  const ledger = (namespace: string) =>
    isKnown(namespace) ? fleet.tasks.scheduling.ledger(namespace) : undefined;
  const directories = storeDirectories(config);
  const checks = createChecks({
    ...(sight === undefined ? {} : monitored(options, sight)),
    dashboards,
    exporters,
    interactions: { directory, links: fleet.coordination.traffic.counts },
    state: {
      stores: { ...stores },
      views,
      replicaId: config.id,
      disks: () => readDisks(directories),
      monoMs: () => clock.monoMs(),
    },
    stability: {
      records: fleet.records,
      outlook: fleet.outlook,
      replicas,
      store: stores.agents,
      clock,
      host: readHost,
    },
    operations: { operations: fleet.coordination.operationView, storeMs },
    registration: { directory, storeMs, limits: config.limits },
    health: { directory, reader, threshold: config.alertThresholds.agentHealth },
    failures: { directory, storeMs },
    communications: {
      ...{ store: stores.agents, directory, mailboxes, storeMs },
      maxMailbox: config.limits.maxMailbox,
      acceptWithinMs: config.deliveries.acceptWithinMs,
    },
    allocation: {
      ...{ directory, mailboxes, ledger, storeMs },
      tasks: fleet.tasks.view,
      allocations: fleet.tasks.allocations,
    },
    usage: { ledger, threshold: config.alertThresholds.resourceUsage },
    constraints: { tasks: fleet.tasks.view, ledger, storeMs },
    optimization: {
      plan: (namespace) => (isKnown(namespace) ? fleet.resources.rebalancing.dry(namespace) : undefined),
      tasks: fleet.tasks.view,
    },
    versions: { replicas: () => replicas.all(), host: readHost },
    configuration: config,
  });
  return new Diagnosis({
    ...{ checks, clock, log, replicaId: config.id },
    ...(options.settleMs === undefined ? {} : { settleMs: options.settleMs }),
    namespaces: () => directory.namespaces().filter((namespace) => namespace !== SYSTEM_NAMESPACE),
  });
}

/** The checks of monitoring itself. */
function monitored(
  { config, stores, replicas, clock, fleet }: CreateDiagnosisOptions,
  { metrics, alerts, history, sinks, services }: Sight,
): Pick<CheckOptions, 'metrics' | 'alerts' | 'history' | 'sinks' | 'services'> {
  return {
    metrics: {
      ...metrics,
      startedMs: clock.wallMs(),
      wallMs: () => clock.wallMs(),
      monitoringIntervalMs: config.monitoringIntervalMs,
      own: () => replicas.own(),
    },
    alerts: {
      open: (namespace) => Array.from(alerts.view.open(namespace), (known) => alerts.present.alert(known)),
      untold: (namespace) => {
        const isUntold = ([, { record }]: readonly [string, KnownAlert]): boolean =>
          record.alert?.state === Alert_State.RESOLVED &&
          Object.values(record.tellings).some(({ want, told }) => want !== '' && want !== told);
        const untold = Array.from(alerts.view.records(namespace)).filter(isUntold);
        return untold.map(([, known]) => alerts.present.alert(known));
      },
      rules: () => alerts.reader.rules().rules,
      sinks,
      storeMs: () => fleet.storeTime.ms(),
    },
    history: {
      history: () => {
        const { available, detail } = stores.monitoring.status();
        return { ...history(), available, detail };
      },
    },
    sinks,
    services,
  };
}

/** Where embedded stores keep their files. */
function storeDirectories({ store, databases }: Pick<Config, 'store' | 'databases'>): string[] {
  const directories = Object.entries(databases).flatMap(([role, value]) => {
    const isUrl = storeKind(value) !== undefined;
    const url = isUrl ? value : store;
    if (storeKind(url) !== 'lmdb') return [];
    return [join(url.slice('lmdb:'.length), isUrl ? role : value)];
  });
  return [...new Set(directories)];
}
