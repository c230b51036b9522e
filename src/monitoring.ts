import type { Config } from './config/config.ts';
import { createDiagnosis } from './diagnosis.ts';
import { createAlerting } from './domain/monitoring/alerts/create-alerting.ts';
import { TICK_MS as ALERTS_TICK_MS } from './domain/monitoring/alerts/evaluator.ts';
import type { DashboardsOptions } from './domain/monitoring/diagnosis/checks/dashboards.ts';
import type { ExporterHealth } from './domain/monitoring/diagnosis/ports.ts';
import type { EventLog } from './domain/monitoring/event-log.ts';
import { createFigures, FIGURES_TICK_MS } from './domain/monitoring/figures/create-figures.ts';
import { HISTORY_TICK_MS } from './domain/monitoring/history/create-history.ts';
import type { Replicas } from './domain/monitoring/replicas.ts';
import { SERVICES_TICK_MS } from './domain/monitoring/services/services.ts';
import { sinksInForce } from './domain/monitoring/sinks/default-sink.ts';
import { SINKS_TICK_MS, type SinkMetrics } from './domain/monitoring/sinks/sinks.ts';
import type { Fleet } from './fleet.ts';
import { createReplicaHistory } from './history.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import { CloseStack } from './lib/close-stack.ts';
import type { EventLoopMonitor } from './lib/event-loop.ts';
import { every } from './lib/every.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import { createReports } from './reports.ts';
import { createSinks } from './sinks.ts';
import type { Store } from './state/store.ts';
import { type Stores, unlessStoreAway } from './stores.ts';
import { createSystemServices } from './system-services.ts';

export interface MonitoringOptions {
  config: Config;
  stores: Stores;
  /** That of the agents, traced. */
  store: Store;
  fleet: Fleet;
  replicas: Replicas;
  events: EventLog;
  clock: Clock;
  ids: Ids;
  log: Logger;
  background: Background;
  loop: EventLoopMonitor;
  version: string;
  /** How exports of telemetry go. */
  exporters(): ExporterHealth[];
  dashboards: DashboardsOptions;
  metrics: SinkMetrics;
  env: NodeJS.ProcessEnv;
}

/** Figures, history, alerts, sinks, services, diagnosis and reports, wired together. */
export type Monitoring = ReturnType<typeof createMonitoring>;

/** Has to be made before the views start: figures count what the store has from its first snapshot on. */
export function createMonitoring(options: MonitoringOptions) {
  const { config, fleet, replicas, clock, log, background } = options;
  const figures = createFigures({
    ...{ store: options.store, clock, log, replicaId: config.id, replicas },
    ...{ context: fleet.context, sessions: fleet.sessions, directory: fleet.directory },
    ...{ observations: fleet.observations, verdicts: fleet.verdicts, mailboxes: fleet.mailboxes },
    tasks: fleet.tasks.view,
    pool: (namespace) => fleet.tasks.scheduling.ledger(namespace).pool,
    waiting: (namespace) => fleet.tasks.scheduling.scheduler(namespace).waiting.all(),
    storeMs: () => fleet.storeTime.ms(),
  });
  fleet.views.add(figures.view);
  const served = config.capabilities.includes('monitoring');
  const history = createReplicaHistory({ ...options, figures });
  if (served) {
    fleet.context.measuring = {
      heard: (session, rttMs, nowMs) => {
        figures.measuring.heard(session, nowMs);
        history.heard(session, rttMs);
      },
      ended: (session) => {
        figures.measuring.ended(session);
        history.ended(session);
      },
    };
  }
  const alerts = { ...config.alerts, sinks: sinksInForce(config.alerts.sinks) };
  const alerting = createAlerting({
    ...{
      config: { ...config, alerts },
      store: options.store,
      storeTime: fleet.storeTime,
      views: fleet.views,
      log,
      background,
    },
    ...{ careRecords: fleet.records, directory: fleet.directory, troubles: fleet.troubles, clock },
    ...{ self: fleet.context.self, figures: figures.figures, ids: options.ids },
    replicaAlive: (id) => replicas.isAlive(id),
    replicas: () => replicas.all().map(({ id }) => id),
  });
  for (const view of alerting.views) fleet.views.add(view);
  if (served) figures.thresholds(alerting.thresholds);
  const sinks = createSinks({
    ...{
      config,
      store: options.store,
      storeTime: fleet.storeTime,
      views: fleet.views,
      clock,
      log,
      background,
    },
    ...{ leases: alerting.leases, alerts: alerting.view, metrics: options.metrics, env: options.env },
    ids: options.ids,
    replicaAlive: (id) => replicas.isAlive(id),
  });
  alerting.connect(sinks);
  fleet.views.add(sinks);
  const services = createSystemServices({
    ...{ config, store: options.store, fleet, figures, clock, ids: options.ids, log, background },
    replicaAlive: (id) => replicas.isAlive(id),
  });
  const reports = createReports({
    ...{ config, store: options.store, fleet, events: options.events, clock, log, background },
    readings: (namespace) => figures.figures.readings(namespace),
    history: history.query,
    alerts: alerting.view,
  });
  const diagnosis = createDiagnosis({
    ...{ config, stores: options.stores, fleet, replicas, clock, log },
    sight: served
      ? {
          metrics: {
            readings: (namespace) => figures.figures.readings(namespace),
            analysedMs: () => figures.analysedMs(),
          },
          alerts: alerting,
          history: () => history.backlog(),
          sinks: () => sinks.status(),
          services: () => services.statuses(),
        }
      : undefined,
    dashboards: options.dashboards,
    exporters: options.exporters,
  });
  return {
    alerting,
    diagnosis,
    figures,
    history,
    reports,
    services,
    sinks,
    /** Begins what is done again and again; what is pushed to `closing` ends it. */
    start: (closing: CloseStack): void => {
      const repeat = (name: string, intervalMs: number, work: () => Promise<void>): void =>
        closing.push(name, every(background, name, intervalMs, unlessStoreAway(work)));
      if (served) repeat('tell figures', FIGURES_TICK_MS, async () => figures.tick());
      if (served) repeat('judge alerts', ALERTS_TICK_MS, () => alerting.tick());
      if (served) repeat('send to sinks', SINKS_TICK_MS, () => sinks.tick());
      if (served) {
        figures.sweep();
        repeat('publish figures', FIGURES_TICK_MS, () => figures.publish());
        repeat('analyse figures', config.monitoringIntervalMs, async () => figures.sweep());
        repeat('sample figures', HISTORY_TICK_MS, () => history.tick());
        repeat('store history', HISTORY_TICK_MS, () => history.store());
        repeat('tend history', HISTORY_TICK_MS, () => history.chores());
      }
      background.run(
        'read figures',
        unlessStoreAway(() => figures.load()),
      );
      background.run(
        'read services',
        unlessStoreAway(() => services.load()),
      );
      repeat('ask services', SERVICES_TICK_MS, async () => services.tick());
    },
    /** Before the sessions are sent away. */
    leave: (onError: OnError) => leaveParts({ services, sinks, alerting, figures, history }, onError),
  };
}

type OnError = (name: string, error: unknown) => void;

interface Leaving {
  leave(): Promise<void>;
}

/** Each of them, whatever becomes of the others: the store may be away. */
export function leaveParts(
  parts: Record<'services' | 'alerting' | 'figures' | 'history', Leaving> & {
    sinks: { close(): Promise<void> };
  },
  onError: OnError,
): Promise<void> {
  const { services, sinks, alerting, figures, history } = parts;
  // It begins with what was pushed last.
  const steps = new CloseStack();
  steps.push('history', () => history.leave());
  steps.push('figures', () => figures.leave());
  // Sinks store how far they came under the lease of the alerts.
  steps.push('alerts', () => alerting.leave());
  steps.push('sinks', () => sinks.close());
  steps.push('services', () => services.leave());
  return steps.close(onError);
}
