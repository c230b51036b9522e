import type { Attributes, Meter, ObservableResult } from '@opentelemetry/api';
import type { EventLoopMonitor } from '../lib/event-loop.ts';
import type { StoreOperation } from '../state/store.ts';
import { ATTR, METRIC, type Protocol, rpcSystem } from './names.ts';

export interface FinishedRpc {
  /** Full name of the service. */
  service: string;
  /** Name of the method; both must come from the API, never from a caller. */
  method: string;
  /** The status code's name. */
  code: string;
  elapsedMs: number;
  listener: Protocol;
}

export interface FigureReading {
  metric: string;
  /** Empty: it is of no resource. */
  resource: string;
  /** Undefined: nothing is known. */
  value?: number | undefined;
}

/** What the rest of the service tells telemetry. Reasons are words from the code: never input, never ids. */
export interface Instruments {
  rpcFinished(call: FinishedRpc): void;
  /** An answered ping; the hot path. */
  heartbeat(rttMs: number): void;
  missedPing(): void;
  sessionOpened(): void;
  sessionClosed(reason: string): void;
  sessionCutOff(reason: string): void;
  verdict(liveness: string): void;
  /** A delivery was answered, or given up ("expired", "tries"), so long after it was stored. */
  delivery(outcome: string, item: string, latencyMs: number): void;
  /** Messages, each receiver counted: "sent", "rerouted", "muted" or "throttled". */
  message(outcome: string, count: number): void;
  /** A task was given an attempt, after it had waited for so long. */
  taskAssigned(waitedMs: number): void;
  /** A task ended ("succeeded", "failed", "cancelled", "timed_out"), so long after its submission. */
  taskEnded(state: string, elapsedMs: number): void;
  /** A try to send alerts or an event to a sink of this kind: "sent", "refused" or "failed". */
  sinkTried(kind: string, outcome: string): void;
  connectionRejected(reason: string): void;
  /** `system`: "lmdb" or "redis". */
  storeOperation(operation: StoreOperation, system: string): void;

  // Read at each collection; the last reader that was given counts.
  observeRpcInFlight(read: () => number): void;
  observeSessions(read: () => number): void;
  observeWatches(read: () => number): void;
  /** How many agents there are of each liveness. */
  observeAgents(read: () => Iterable<readonly [liveness: string, count: number]>): void;
  /** How many tasks are pending, assigned and running. */
  observeTasks(read: () => Iterable<readonly [state: string, count: number]>): void;
  /** The four figures that have thresholds, of all namespaces together, as `FiguresReader.readings` gives them. */
  observeFigures(read: () => Iterable<FigureReading>): void;
  /** How many alerts call for somebody, of each state and severity. */
  observeAlerts(read: () => Iterable<readonly [state: string, severity: string, count: number]>): void;
  /** The system services of the configuration, and whether each works. */
  observeServices(read: () => Iterable<readonly [name: string, up: boolean]>): void;
  observeStore(read: () => { kind: string; available: boolean }): void;
  observeEventLoop(monitor: Pick<EventLoopMonitor, 'reading' | 'totalStallMs'>): void;
}

/** Seconds, 0.5 ms to 30 s: loopback to a link that is about to be judged. */
const RTT_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** Seconds: a read of LMDB takes microseconds, an fsync milliseconds, a Redis that fails over seconds. */
const STORE_BUCKETS = [
  0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5,
];
/** Seconds: an agent that is there answers in milliseconds, one that is away when it is back. */
const DELIVERY_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3_600];
/** Seconds: a no-op takes milliseconds, a model's work hours. */
const TASK_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 86_400];
/** Seconds; the conventions' advice for rpc.server.call.duration, and finer below 5 ms. */
const RPC_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
];

export function createInstruments(meter: Meter): Instruments {
  const histogram = (name: string, description: string, boundaries: number[]) =>
    meter.createHistogram(name, {
      description,
      unit: 's',
      advice: { explicitBucketBoundaries: boundaries },
    });
  const counter = (name: string, description: string, unit: string) =>
    meter.createCounter(name, { description, unit });

  /** A counter for what happens thousands of times a second: read when it is collected. */
  const tally = (name: string, description: string, unit: string) => {
    const counts = new Map<string, { count: number; attributes: Attributes }>();
    meter.createObservableCounter(name, { description, unit }).addCallback((result) => {
      for (const { count, attributes } of counts.values()) result.observe(count, attributes);
    });
    /** `key` names the attributes. */
    return (key: string, count: number, attributes: () => Attributes): Attributes => {
      let found = counts.get(key);
      if (found === undefined) {
        found = { count: 0, attributes: attributes() };
        counts.set(key, found);
      }
      found.count += count;
      return found.attributes;
    };
  };

  const rpcDuration = histogram(
    METRIC.rpcDuration,
    'Duration of calls, sessions and watches included.',
    RPC_BUCKETS,
  );
  const heartbeatRtt = histogram(METRIC.heartbeatRtt, 'Round trips of answered pings.', RTT_BUCKETS);
  const storeDuration = histogram(
    METRIC.storeDuration,
    'Duration of operations of the store.',
    STORE_BUCKETS,
  );
  const missedPings = counter(METRIC.missedPings, 'Pings that were not answered in time.', '{ping}');
  const sessionsOpened = counter(METRIC.sessionsOpened, 'Sessions that were opened.', '{session}');
  const sessionsClosed = counter(METRIC.sessionsClosed, 'Sessions that ended, by reason.', '{session}');
  const sessionsCutOff = counter(
    METRIC.sessionsCutOff,
    'Sessions that were cut off, by reason.',
    '{session}',
  );
  const deliveries = tally(METRIC.deliveries, 'What became of deliveries to agents.', '{delivery}');
  const deliveryLatency = histogram(
    METRIC.deliveryLatency,
    'From the storing of a delivery to its answer.',
    DELIVERY_BUCKETS,
  );
  const messages = tally(METRIC.messages, 'Messages, each receiver counted.', '{message}');
  const sinkSends = tally(METRIC.sinkSends, 'Tries to send alerts and events to sinks.', '{try}');
  const taskWait = histogram(METRIC.taskWait, 'How long tasks waited for an agent.', TASK_BUCKETS);
  const taskDuration = histogram(
    METRIC.taskDuration,
    'From the submission of a task to its end.',
    TASK_BUCKETS,
  );
  const verdicts = counter(METRIC.verdicts, 'Changes of an agent’s liveness, by the new one.', '{verdict}');
  const rejected = counter(
    METRIC.connectionsRejected,
    'Connections that were refused, by reason.',
    '{connection}',
  );
  // Counters without labels exist from the start, so that rates see their first step.
  missedPings.add(0);
  sessionsOpened.add(0);

  const gauge = (name: string, description: string, unit: string) => {
    let read: ((result: ObservableResult) => void) | undefined;
    meter.createObservableGauge(name, { description, unit }).addCallback((result) => read?.(result));
    return (reader: (result: ObservableResult) => void) => {
      read = reader;
    };
  };
  const rpcInFlight = gauge(METRIC.rpcInFlight, 'Calls under way, sessions and watches included.', '{call}');
  const sessions = gauge(METRIC.sessions, 'Open sessions on this replica.', '{session}');
  const watches = gauge(METRIC.watches, 'Open watch streams on this replica.', '{stream}');
  const agents = gauge(METRIC.agents, 'Registered agents, by liveness.', '{agent}');
  const tasks = gauge(METRIC.tasks, 'Tasks that have not ended, by state.', '{task}');
  const figures = figureGauges(meter);
  const alerts = gauge(METRIC.alerts, 'Alerts that call for somebody, by state and severity.', '{alert}');
  const services = gauge(METRIC.serviceUp, 'Whether a system service works: 1 or 0.', '{state}');
  const available = gauge(METRIC.storeAvailable, 'Whether the store answers: 1 or 0.', '{state}');
  const loop = eventLoopGauges(meter);

  return {
    rpcFinished: (call) => {
      const attributes: Attributes = {
        [ATTR.rpcSystem]: rpcSystem(call.listener),
        [ATTR.rpcMethod]: `${call.service}/${call.method}`,
        [ATTR.rpcStatus]: call.code,
      };
      rpcDuration.record(call.elapsedMs / 1_000, attributes);
    },
    heartbeat: (rttMs) => heartbeatRtt.record(rttMs / 1_000),
    missedPing: () => missedPings.add(1),
    sessionOpened: () => sessionsOpened.add(1),
    sessionClosed: (reason) => sessionsClosed.add(1, { [ATTR.reason]: reason }),
    sessionCutOff: (reason) => sessionsCutOff.add(1, { [ATTR.reason]: reason }),
    delivery: (outcome, item, latencyMs) => {
      const attributes = deliveries(`${outcome} ${item}`, 1, () => ({
        [ATTR.deliveryOutcome]: outcome,
        [ATTR.deliveryItem]: item,
      }));
      deliveryLatency.record(latencyMs / 1_000, attributes);
    },
    message: (outcome, count) => {
      messages(outcome, count, () => ({ [ATTR.messageOutcome]: outcome }));
    },
    taskAssigned: (waitedMs) => taskWait.record(waitedMs / 1_000),
    taskEnded: (state, elapsedMs) => taskDuration.record(elapsedMs / 1_000, { [ATTR.taskState]: state }),
    verdict: (liveness) => verdicts.add(1, { [ATTR.liveness]: liveness }),
    sinkTried: (kind, outcome) => {
      sinkSends(`${kind} ${outcome}`, 1, () => ({ [ATTR.sinkKind]: kind, [ATTR.sinkOutcome]: outcome }));
    },
    connectionRejected: (reason) => rejected.add(1, { [ATTR.reason]: reason }),
    storeOperation: (operation, system) => {
      storeDuration.record(operation.elapsedMs / 1_000, {
        [ATTR.dbSystem]: system,
        [ATTR.dbOperation]: operation.name,
        ...outcomeAttributes(operation.outcome),
      });
    },
    observeRpcInFlight: (read) => rpcInFlight((result) => result.observe(read())),
    observeSessions: (read) => sessions((result) => result.observe(read())),
    observeWatches: (read) => watches((result) => result.observe(read())),
    observeAgents: (read) =>
      agents((result) => {
        for (const [liveness, count] of read()) result.observe(count, { [ATTR.liveness]: liveness });
      }),
    observeTasks: (read) =>
      tasks((result) => {
        for (const [state, count] of read()) result.observe(count, { [ATTR.taskState]: state });
      }),
    observeFigures: figures,
    observeAlerts: (read) =>
      alerts((result) => {
        for (const [state, severity, count] of read())
          result.observe(count, { [ATTR.alertState]: state, [ATTR.alertSeverity]: severity });
      }),
    observeServices: (read) =>
      services((result) => {
        for (const [name, up] of read()) result.observe(up ? 1 : 0, { [ATTR.service]: name });
      }),
    observeStore: (read) =>
      available((result) => {
        const { kind, available: answers } = read();
        result.observe(answers ? 1 : 0, { [ATTR.dbSystem]: kind });
      }),
    observeEventLoop: loop,
  };
}

/** An outcome is a word, or the class of the error. */
export function outcomeAttributes(outcome: string): Attributes {
  if (outcome === '') return {};
  return /Error$/.test(outcome) ? { [ATTR.errorType]: outcome } : { [ATTR.storeOutcome]: outcome };
}

function eventLoopGauges(meter: Meter): Instruments['observeEventLoop'] {
  const options = (description: string) => ({ description, unit: 's' });
  const p99 = meter.createObservableGauge(
    METRIC.loopDelayP99,
    options('Event-loop delay over ten seconds, 99th percentile.'),
  );
  const max = meter.createObservableGauge(
    METRIC.loopDelayMax,
    options('Event-loop delay over ten seconds, longest.'),
  );
  const stalls = meter.createObservableCounter(
    METRIC.stallTime,
    options('Time in which this process stood still.'),
  );
  let source: Pick<EventLoopMonitor, 'reading' | 'totalStallMs'> | undefined;
  meter.addBatchObservableCallback(
    (result) => {
      if (source === undefined) return;
      const { delayP99Ms, delayMaxMs } = source.reading();
      result.observe(p99, delayP99Ms / 1_000);
      result.observe(max, delayMaxMs / 1_000);
      result.observe(stalls, source.totalStallMs() / 1_000);
    },
    [p99, max, stalls],
  );
  return (monitor) => {
    source = monitor;
  };
}

/** Resources are named by agents: no more of them become labels. */
const MOST_RESOURCES = 50;

function figureGauges(meter: Meter): Instruments['observeFigures'] {
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(name, { description, unit });
  const load = gauge(METRIC.systemLoad, '1', 'What agents report of their load, weighted by capacity.');
  const health = gauge(METRIC.agentHealth, '1', 'Health of the agents that should work, averaged.');
  const usage = gauge(METRIC.resourceUsage, '1', 'Reserved or used over capacity, the larger, by resource.');
  const latency = gauge(
    METRIC.communicationLatency,
    's',
    'Round trips, 95th percentile over agents of theirs.',
  );
  const kinds = {
    system_load: { gauge: load, scale: 1 },
    agent_health: { gauge: health, scale: 1 },
    resource_usage: { gauge: usage, scale: 1 },
    communication_latency: { gauge: latency, scale: 0.001 },
  };
  let source: (() => Iterable<FigureReading>) | undefined;
  meter.addBatchObservableCallback(
    (result) => {
      let resources = 0;
      for (const { metric, resource, value } of source?.() ?? []) {
        const kind = Object.hasOwn(kinds, metric) ? kinds[metric as keyof typeof kinds] : undefined;
        if (kind === undefined || value === undefined) continue;
        if (resource !== '' && ++resources > MOST_RESOURCES) continue;
        result.observe(kind.gauge, value * kind.scale, resource === '' ? {} : { [ATTR.resource]: resource });
      }
    },
    [load, health, usage, latency],
  );
  return (read) => {
    source = read;
  };
}
