import type {
  Alert,
  AlertDelivery,
  AlertSink,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Config } from '../../../config/config.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import type { Logger } from '../../../lib/logger.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { View, Views } from '../../../state/views.ts';
import type { CareRecords } from '../../agent/care/care-records.ts';
import { Leases } from '../../agent/care/leases.ts';
import { type Troubles, zoneOf } from '../../agent/care/troubles.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import type { SelfWatch } from '../../agent/observer.ts';
import { agentOf } from '../../agent/record.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import { EventWriter } from '../events.ts';
import type { FiguresReader, Reading } from '../ports.ts';
import { Acknowledge } from './acknowledge.ts';
import { AlertReader } from './alert-reader.ts';
import { AlertView } from './alert-view.ts';
import { watchAlerts } from './alert-watch.ts';
import { SINK_UP } from './builtin-rules.ts';
import { ChangeSilences } from './change-silences.ts';
import { compileRules } from './compile-rules.ts';
import { ALERTS, Evaluator } from './evaluator.ts';
import { PresentAlerts } from './present-alert.ts';
import { isMetricRule } from './rule.ts';
import { StoreOutage } from './store-outage.ts';
import { isGone } from './subjects-gone.ts';

export interface CreateAlertingOptions {
  config: Pick<Config, 'id' | 'alerts' | 'alertThresholds' | 'services' | 'limits'>;
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor' | 'position'>;
  /** A view: it must follow the store. */
  careRecords: CareRecords;
  directory: AgentDirectory;
  troubles: Pick<Troubles, 'of'>;
  self: SelfWatch;
  figures: FiguresReader;
  clock: Clock;
  ids: Ids;
  log: Logger;
  background: Background;
  replicaAlive(replicaId: string): boolean;
  /** Ids of all replicas, those included that were heard lately. */
  replicas(): Iterable<string>;
}

/** What alerts need of sinks, which are made after them. */
export interface Senders {
  status(): AlertSink[];
  deliveries(namespace: string, id: string, record: AlertRecord): AlertDelivery[];
  sendNow(alert: Alert, what: 'firing' | 'resolved', ruleSinks: readonly string[]): void;
  takeBack(alert: Alert): void;
}

/** Alerts, wired together. `views` have to follow the store in this order, after those of agents. */
export function createAlerting(options: CreateAlertingOptions) {
  const { config, store, storeTime, views, directory, figures, clock, ids, log, background, self } = options;
  const rules = compileRules(config);
  const served = new Set([...config.services, ...config.alerts.sinks].map(({ name }) => name));
  const view = new AlertView();
  const sending: { senders: Senders | undefined } = { senders: undefined };
  const events = new EventWriter({ replicaId: config.id, wallMs: () => clock.wallMs() });
  const leases = new Leases({
    ...{ store, clock, self, records: options.careRecords },
    replicaId: config.id,
    startMs: clock.wallMs(),
    replicaAlive: options.replicaAlive,
  });
  const present = new PresentAlerts({
    view,
    storeMs: () => storeTime.ms(),
    deliveries: (...given) => sending.senders?.deliveries(...given) ?? [],
  });
  const observerDelayMs = (): number => self.eventLoopDelayMs();
  const evaluator = new Evaluator({
    ...{ store, storeTime, views, view, rules, events, clock, ids, leases, background, log, observerDelayMs },
    sinks: config.alerts.sinks,
    replicaId: config.id,
    retentionMs: config.alerts.retentionMs,
    each: (namespace, metric, scope) =>
      metric === SINK_UP
        ? sinkReadings(sending.senders?.status() ?? [])
        : figures.each(namespace, metric, scope),
    ofAgent: (namespace, metric, agentId) => figures.ofAgent(namespace, metric, agentId),
    agentLabels: (namespace, agentId) => {
      const known = directory.get(namespace, agentId);
      return known && (agentOf(known.record).spec?.labels ?? {});
    },
    zoneOf: (namespace, agentId) => {
      const known = directory.get(namespace, agentId);
      return known === undefined ? '' : zoneOf(known.record);
    },
    agents: (namespace) => options.troubles.of(namespace).agents,
    isGone: (namespace, of) =>
      isGone({ directory, services: served, replicas: () => options.replicas() }, namespace, of),
    inUse: () => directory.namespaces().filter((namespace) => directory.count(namespace) > 0),
  });
  figures.listen((namespace) => evaluator.moved(namespace));
  figures.listenAgents((namespace, agentId) => evaluator.crossed(namespace, agentId));
  const outage = new StoreOutage({
    ...{ store, clock, rules, events, observerDelayMs, replicaId: config.id, sinks: config.alerts.sinks },
    lastRevision: () => views.position(SYSTEM_NAMESPACE).revision,
    sendNow: (alert, what, ruleSinks) => sending.senders?.sendNow(alert, what, ruleSinks),
    takeBack: (alert) => sending.senders?.takeBack(alert),
  });
  const followers: View[] = [view, evaluator];
  return {
    view,
    views: followers,
    rules,
    leases,
    present,
    evaluator,
    outage,
    reader: new AlertReader({
      ...{ view, present, rules },
      outage: () => outage.known,
      storeMs: () => storeTime.ms(),
      sinks: () => sending.senders?.status() ?? [],
    }),
    acknowledge: new Acknowledge({ store, storeTime, view, present, directory, events }),
    silences: new ChangeSilences({
      ...{ store, storeTime, view, present, directory, events, ids },
      maxNamespaces: config.limits.maxNamespaces,
    }),
    watch: (request: Parameters<typeof watchAlerts>[0], signal: AbortSignal) =>
      watchAlerts(request, signal, { view, present, outage, watchBuffer: config.limits.watchBuffer }),
    /** Who sends what is to be told. */
    lease: {
      held: (namespace: string) => leases.held(namespace, ALERTS),
      lost: (namespace: string) => leases.refused(namespace, ALERTS),
    },
    connect: (senders: Senders): void => {
      sending.senders = senders;
    },
    /** The values at which figures are to be told to other replicas at once. */
    thresholds: [...rules.values()].filter(isMetricRule).flatMap(({ disabled, condition }) => {
      const { metric, scope, threshold, clear } = condition;
      return disabled ? [] : [threshold, clear].map((value) => ({ metric, scope, value }));
    }),
    tick: async (): Promise<void> => {
      evaluator.tick();
      await outage.tick();
    },
    leave: () => evaluator.leave(),
  };
}

/** Failed tries in a row after which a sink is taken for down. */
const FAILURES = 3;

function* sinkReadings(sinks: readonly AlertSink[]): IterableIterator<Reading> {
  for (const { name, failures } of sinks) {
    const value = failures < FAILURES ? 1 : 0;
    yield {
      metric: SINK_UP,
      scope: MetricScope.SERVICE,
      id: name,
      resource: '',
      value,
      ageMs: 0,
      samples: 1,
    };
  }
}
