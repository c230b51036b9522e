import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Alert, AlertSink } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  CreateSilenceRequestSchema,
  ListAlertsRequestSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type Event,
  Event_Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { AgentRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Config } from '../../../../src/config/config.ts';
import { loadConfig } from '../../../../src/config/load.ts';
import type { RuleConfig, SinkConfig } from '../../../../src/config/monitoring-config.ts';
import { CareRecords } from '../../../../src/domain/agent/care/care-records.ts';
import { Troubles, ZONE_LABEL } from '../../../../src/domain/agent/care/troubles.ts';
import { AgentDirectory } from '../../../../src/domain/agent/directory.ts';
import { agentKey, encodeRecord } from '../../../../src/domain/agent/record.ts';
import { createAlerting, type Senders } from '../../../../src/domain/monitoring/alerts/create-alerting.ts';
import {
  EVENT_SERIES,
  EventWriter,
  type NewEvent,
  readEvent,
} from '../../../../src/domain/monitoring/events.ts';
import type { FiguresReader, Reading } from '../../../../src/domain/monitoring/ports.ts';
import { Background } from '../../../../src/lib/background.ts';
import { type Logger, silentLogger } from '../../../../src/lib/logger.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';
import type { Store } from '../../../../src/state/store.ts';
import { StoreTime } from '../../../../src/state/store-time.ts';
import { Views } from '../../../../src/state/views.ts';
import { FakeClock, seededIds } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

/** Figures as a test sets them. */
export class FakeFigures implements FiguresReader {
  readonly #values = new Map<string, Reading>();
  readonly #listeners: ((namespace: string) => void)[] = [];

  set(
    metric: string,
    value: number | undefined,
    given: Partial<Reading> & { namespace?: string } = {},
  ): void {
    const { namespace = 'default', ...rest } = given;
    const reading: Reading = {
      ...{ metric, scope: MetricScope.FLEET, id: '', resource: '', value, ageMs: 0, samples: 1 },
      ...rest,
    };
    this.#values.set(keyOf(namespace, reading), reading);
    for (const listener of this.#listeners) listener(namespace);
  }

  /** Nothing is told of it any more. */
  remove(metric: string, given: Partial<Reading> & { namespace?: string } = {}): void {
    const { namespace = 'default', ...rest } = given;
    this.#values.delete(
      keyOf(namespace, { metric, scope: MetricScope.FLEET, id: '', resource: '', ...rest }),
    );
  }

  readonly #crossed: ((namespace: string, agentId: string) => void)[] = [];

  *ofAgent(namespace: string, metric: string, agentId: string): Iterable<Reading> {
    for (const reading of this.each(namespace, metric, MetricScope.AGENT))
      if (reading.id === agentId) yield reading;
  }

  listenAgents(listener: (namespace: string, agentId: string) => void): void {
    this.#crossed.push(listener);
  }

  /** As the figures do when one went past a threshold. */
  crossed(agentId: string): void {
    for (const listener of this.#crossed) listener('default', agentId);
  }

  *each(namespace: string, metric: string, scope: MetricScope): Iterable<Reading> {
    for (const [key, reading] of this.#values) {
      if (key.startsWith(`${namespace} `) && reading.metric === metric && reading.scope === scope)
        yield reading;
    }
  }

  readings() {
    return [];
  }

  listen(listener: (namespace: string) => void): void {
    this.#listeners.push(listener);
  }

  namespaces() {
    return ['default'];
  }
}

const keyOf = (
  namespace: string,
  { metric, scope, id, resource }: Pick<Reading, 'metric' | 'scope' | 'id' | 'resource'>,
) => `${namespace} ${metric} ${scope} ${id} ${resource}`;

export const webhook = (given: Partial<SinkConfig> = {}): SinkConfig => ({
  ...{
    name: 'hook',
    kind: 'webhook',
    url: 'http://127.0.0.1:1/',
    timeoutMs: 1000,
    retryMinMs: 100,
    retryMaxMs: 1000,
  },
  ...{ alerts: true, minSeverity: 'info', events: [], namespaces: [] },
  ...given,
});

export interface RigOptions {
  store?: Store;
  clock?: FakeClock;
  figures?: FakeFigures;
  replicaId?: string;
  rules?: readonly RuleConfig[];
  sinks?: readonly SinkConfig[];
  services?: Config['services'];
  replicaAlive?: (id: string) => boolean;
  flags?: Record<string, string>;
  senders?: Partial<Senders>;
}

export type Rig = Awaited<ReturnType<typeof startRig>>;

/** Alerts as one replica judges them, with figures and time that a test sets. */
export async function startRig(options: RigOptions = {}) {
  const clock = options.clock ?? new FakeClock();
  const store = options.store ?? new MemoryStore({ wallMs: () => clock.wallMs() });
  const figures = options.figures ?? new FakeFigures();
  const replicaId = options.replicaId ?? 'replica-1';
  const { config: loaded } = loadConfig({ env: {}, flags: { id: replicaId, ...options.flags } });
  const config = {
    ...loaded,
    services: options.services ?? [],
    alerts: { ...loaded.alerts, rules: options.rules ?? [], sinks: options.sinks ?? [webhook()] },
  };
  const problems: string[] = [];
  const log: Logger = {
    ...silentLogger,
    error: (fields, message) => problems.push(`${message}: ${String((fields as { err?: unknown }).err)}`),
    child: () => log,
  };
  const background = new Background({ log });
  const directory = new AgentDirectory();
  const careRecords = new CareRecords();
  const troubles = new Troubles({ directory });
  const storeTime = new StoreTime({ store, clock });
  const views: Views = new Views({ store, watchBuffer: 1000, views: [careRecords, directory] });
  const alerting = createAlerting({
    ...{ config, store, storeTime, views, careRecords, directory, troubles, figures, clock, log, background },
    ids: seededIds(replicaId.length + replicaId.charCodeAt(replicaId.length - 1)),
    self: { stallMs: () => 0, eventLoopDelayMs: () => 7, storeAvailable: () => store.status().available },
    replicaAlive: options.replicaAlive ?? (() => false),
    replicas: () => [replicaId],
  });
  alerting.connect({
    status: (): AlertSink[] => [],
    deliveries: () => [],
    sendNow: () => {},
    takeBack: () => {},
    ...options.senders,
  });
  for (const view of alerting.views) views.add(view);
  await views.start();
  await storeTime.exact();
  const events = new EventWriter({ replicaId, wallMs: () => clock.wallMs() });

  /** One call of the evaluator, with all that it starts. */
  const tick = async (): Promise<void> => {
    await alerting.tick();
    await background.idle();
  };
  const rig = {
    ...alerting,
    alerting,
    clock,
    store,
    figures,
    views,
    directory,
    background,
    problems,
    config,
    storeTimeExact: () => storeTime.exact(),
    tick,
    /** Lets time pass, with a call each 100 ms. */
    pass: async (ms: number): Promise<void> => {
      for (let left = ms; left > 0; left -= 100) {
        clock.advance(Math.min(100, left));
        await tick();
      }
    },
    /** Until the lease is taken and everything was judged once. */
    settle: async (): Promise<void> => {
      for (let round = 0; round < 3; round += 1) await tick();
    },
    alerts: (request: MessageInitShape<typeof ListAlertsRequestSchema> = {}): Alert[] =>
      alerting.reader.list(
        create(ListAlertsRequestSchema, { states: [1, 2, 3, 4], withGrouped: true, ...request }),
      ).alerts,
    only: (rule: string): Alert => {
      const found = rig.alerts({ rules: [rule] });
      if (found.length !== 1) throw new Error(`${found.length} alerts of ${rule}`);
      return found[0] as Alert;
    },
    record: (id: string) => {
      const known = alerting.view.get(id);
      if (known === undefined) throw new Error(`no alert ${id}`);
      return known.record;
    },
    /** What sinks are to be told of it: "hook:firing". */
    wants: (id: string): string[] =>
      Object.entries(rig.record(id).tellings).map(([sink, { want }]) => `${sink}:${want}`),
    events: async (type = '', namespace = 'default'): Promise<Event[]> => {
      const entries = await store.readSeries(namespace, EVENT_SERIES, { limit: 1000 });
      return entries
        .map((entry) => readEvent(namespace, entry, entry.value))
        .filter((event) => event.type.startsWith(type));
    },
    /** Something happened. */
    happen: (...what: Happening[]): Promise<bigint> => rig.happenIn('default', ...what),
    happenIn: async (namespace: string, ...what: Happening[]): Promise<bigint> => {
      const outcome = await store.commit({
        namespace,
        appends: what.map((event) =>
          events.append({
            severity: Event_Severity.WARNING,
            message: `${event.type} happened`,
            actor: 'test',
            ...event,
          }),
        ),
      });
      if (outcome.kind !== 'committed') throw new Error(outcome.kind);
      return outcome.revision;
    },
    putAgents: async (ids: readonly string[], given: AgentGiven = {}): Promise<void> => {
      for (let at = 0; at < ids.length; at += 200) {
        await store.commit({
          namespace: given.namespace ?? 'default',
          puts: ids.slice(at, at + 200).map((id) => ({ key: agentKey(id), value: agentBytes(id, given) })),
        });
      }
    },
    removeAgent: (id: string) => store.commit({ namespace: 'default', deletes: [agentKey(id)] }),
    silence: async (given: MessageInitShape<typeof CreateSilenceRequestSchema>) => {
      const request = create(CreateSilenceRequestSchema, {
        namespace: 'default',
        comment: 'a test',
        endTime: timestampFromMs(clock.wallMs() + 3_600_000),
        ...given,
      });
      const { silence } = await alerting.silences.create(request, { principal: 'ann', token: undefined });
      if (silence === undefined) throw new Error('no silence');
      return silence;
    },
    stop: async (): Promise<void> => {
      views.stop();
      await background.idle();
    },
  };
  return rig;
}

type Happening = Pick<NewEvent, 'type'> & Partial<NewEvent>;

interface AgentGiven {
  namespace?: string;
  zone?: string;
  labels?: Record<string, string>;
  liveness?: Agent_Liveness;
  phase?: Agent_Phase;
  capacity?: Record<string, bigint>;
}

function agentBytes(id: string, given: AgentGiven): Uint8Array {
  const { zone, labels = {}, liveness = Agent_Liveness.CONNECTED, namespace = 'default' } = given;
  const { phase = Agent_Phase.ACTIVE, capacity = {} } = given;
  const record = create(AgentRecordSchema, {
    format: 1,
    agent: {
      ...{ id, namespace, liveness, phase },
      spec: {
        kind: 'worker',
        capacity,
        labels: { ...labels, ...(zone === undefined ? {} : { [ZONE_LABEL]: zone }) },
      },
    },
  });
  return encodeRecord(record);
}
