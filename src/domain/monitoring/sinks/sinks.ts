import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  type AlertDelivery,
  AlertDeliverySchema,
  type AlertSink,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { EventFilterSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { SinkConfig } from '../../../config/monitoring-config.ts';
import type { Background } from '../../../lib/background.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Logger } from '../../../lib/logger.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { ChangeBatch, LiveRecord, Position, Store } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { sinksOf } from '../alerts/telling.ts';
import { compileEventFilter } from '../event-log.ts';
import { EVENT_SERIES, type EventWriter } from '../events.ts';
import { AlertQueue } from './alert-queue.ts';
import { EventFeed } from './event-feed.ts';
import { SinkGate } from './gate.ts';
import type { AlertRecords, SenderLease, SinkAdapter, Told } from './ports.ts';
import { type OwnSink, SinkBoard } from './sink-board.ts';

export interface SinksOptions {
  sinks: readonly SinkConfig[];
  /** `alerts.resend`, milliseconds. */
  resendMs: number;
  /** `events.retention`, milliseconds. */
  retentionMs: number;
  adapterFor(sink: SinkConfig): SinkAdapter;
  records: AlertRecords;
  lease: SenderLease;
  store: Store;
  storeMs: () => number;
  events: EventWriter;
  clock: Clock;
  random: () => number;
  background: Background;
  log: Logger;
  replicaId: string;
  replicaAlive(replicaId: string): boolean;
  metrics?: SinkMetrics;
}

export interface SinkMetrics {
  sinkTried(kind: string, outcome: 'sent' | 'refused' | 'failed', elapsedMs: number): void;
}

/** How often `tick` is to be called. */
export const SINKS_TICK_MS = 100;
const SWEEP_MS = 1000;
/** A sink that is new hears what happened so long before the start: an event may be quicker than its first sender. */
const BEFORE_START_MS = 60_000;

/** How long what is under way may take when the service ends. */
const LEAVE_MS = 500;

interface Outlet {
  config: SinkConfig;
  adapter: SinkAdapter;
  gate: SinkGate;
  queue: AlertQueue;
  /** By namespace, in the order of their turns. */
  feeds: Map<string, EventFeed>;
}

/**
 * Tells sinks of alerts and events. What is to be told stands in the alerts' records and in the series of events; the replica
 * that holds the lease of alerts in a namespace sends it, and stores afterwards that it was taken. So each is told at least
 * once, under one id, whoever dies in between. Each sink has its own queue, pauses and time-outs: none waits for another.
 */
export class Sinks implements View {
  readonly #options: SinksOptions;
  readonly #outlets: readonly Outlet[];
  readonly #board: SinkBoard;
  readonly #namespaces = new Set<string>();
  readonly #startMs: number;
  readonly #work = new Set<Promise<void>>();
  readonly #acquiring = new Set<string>();
  #sweptMs = -Infinity;

  constructor(options: SinksOptions) {
    this.#options = options;
    this.#startMs = options.clock.monoMs();
    this.#board = new SinkBoard(options);
    this.#outlets = options.sinks.map((config) => this.#outlet(config));
    options.records.listen((namespace, alertId) => this.changed(namespace, alertId));
  }

  #outlet(config: SinkConfig): Outlet {
    const { adapterFor, metrics } = this.#options;
    const adapter = adapterFor(config);
    const gate = new SinkGate({
      ...this.#options,
      ...{ timeoutMs: config.timeoutMs, retryMinMs: config.retryMinMs, retryMaxMs: config.retryMaxMs },
      concurrency: adapter.concurrency,
      onTry: (outcome, elapsedMs) => metrics?.sinkTried(adapter.kind, outcome, elapsedMs),
    });
    const queue = new AlertQueue({
      ...{ ...this.#options, sink: config.name, adapter, gate },
      run: (name, work) => this.#run(name, work),
    });
    return { config, adapter, gate, queue, feeds: new Map() };
  }

  /** An alert changed. */
  changed(namespace: string, alertId: string): void {
    for (const { queue } of this.#outlets) {
      queue.offer(namespace, alertId);
      queue.pump();
    }
  }

  /** Tells of an alert that cannot be stored, under its id; again until each sink took it, or something newer of it. */
  sendNow(alert: Alert, what: Told, ruleSinks: readonly string[] = []): void {
    const names = new Set(sinksOf(alert, ruleSinks, this.#options.sinks));
    for (const { config, queue } of this.#outlets) {
      if (!names.has(config.name)) continue;
      queue.offerNow(alert, what);
      queue.pump();
    }
  }

  /** What `sendNow` told of is over, and stored: who does not have it yet is not to hear that it fires. */
  takeBack(alert: Alert): void {
    for (const { queue } of this.#outlets) {
      queue.takeBack(alert);
      queue.pump();
    }
  }

  /** Each sink, by name. */
  status(): AlertSink[] {
    return this.#board.all(this.#own());
  }

  /** What became of an alert at each sink: what is stored, with what this replica knows of tries under way. */
  deliveries(namespace: string, alertId: string, record: AlertRecord): AlertDelivery[] {
    return Object.keys(record.tellings)
      .filter((sink) => record.tellings[sink]?.want !== '')
      .sort()
      .map((sink) => {
        const telling = record.tellings[sink];
        const queue = this.#outlets.find(({ config }) => config.name === sink)?.queue;
        const progress = queue?.progress(namespace, alertId);
        const done = telling?.want === telling?.told;
        const timeMs = done ? Number(telling?.toldMs ?? 0n) : (progress?.lastTryMs ?? 0);
        return create(AlertDeliverySchema, {
          ...{ sink, told: telling?.want ?? '', done },
          ...(timeMs === 0 ? {} : { time: timestampFromMs(timeMs) }),
          ...(done ? {} : { tries: progress?.tries ?? 0, error: progress?.error ?? '' }),
        });
      });
  }

  reset(namespace: string, _position: Position): void {
    this.#namespaces.add(namespace);
    this.#wake(namespace);
  }

  apply(batch: ChangeBatch): void {
    this.#namespaces.add(batch.namespace);
    if (batch.appends.some(({ series }) => series === EVENT_SERIES)) this.#wake(batch.namespace);
  }

  live(records: readonly LiveRecord[]): void {
    this.#board.live(records);
  }

  /** Time-outs, retries, what is to be told again, and what a replica before left over. @throws StoreUnavailableError */
  async tick(): Promise<void> {
    const nowMs = this.#options.clock.monoMs();
    const sweep = nowMs - this.#sweptMs >= SWEEP_MS;
    if (sweep) this.#sweptMs = nowMs;
    for (const outlet of this.#outlets) {
      outlet.gate.tick();
      if (sweep) outlet.queue.sweep();
      outlet.queue.pump();
      if (sweep) this.#addFeeds(outlet);
      this.#pumpFeeds(outlet, sweep);
    }
    if (sweep) await this.#board.publish(this.#own());
  }

  /** Begins nothing more, gives what is under way a moment to end, and stores how far feeds came. Before leases are let go. */
  async close(): Promise<void> {
    for (const { gate } of this.#outlets) gate.stop();
    await this.#idle(LEAVE_MS);
    for (const { gate, adapter } of this.#outlets) {
      gate.close();
      adapter.close();
    }
    await this.#idle(LEAVE_MS);
    const feeds = this.#outlets.flatMap((outlet) => [...outlet.feeds.values()]);
    await Promise.all(feeds.map((feed) => feed.save()));
  }

  async #idle(timeoutMs: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([Promise.allSettled(this.#work), late]);
    clearTimeout(timer);
  }

  /** In the background; but `close` waits for it. */
  #run(name: string, work: () => Promise<void>): void {
    this.#options.background.run(name, () => {
      const task: Promise<void> = work().finally(() => this.#work.delete(task));
      this.#work.add(task);
      return task;
    });
  }

  #own(): OwnSink[] {
    return this.#outlets.map(({ config, adapter, gate, queue, feeds }) => {
      let { waiting } = queue;
      for (const feed of feeds.values()) waiting += feed.waiting;
      const { kind, target } = adapter;
      return { name: config.name, kind, target, status: gate.status(), waiting };
    });
  }

  #wake(namespace: string): void {
    for (const { feeds } of this.#outlets) {
      const feed = feeds.get(namespace);
      if (feed === undefined) continue;
      feed.wake();
      if (feed.ready) feed.start();
    }
  }

  /** Those whose turn it is: who had one goes to the end. @param all also those that seem to have nothing to do */
  #pumpFeeds({ feeds, gate }: Outlet, all = false): void {
    for (const [namespace, feed] of [...feeds]) {
      if (!(all || feed.busy) || !feed.ready) continue;
      feed.start();
      feeds.delete(namespace);
      feeds.set(namespace, feed);
      if (!gate.open('feed')) return;
    }
  }

  /** Where nobody judges alerts, as there are no agents, events are to be told all the same. */
  #acquire(namespace: string): void {
    const { acquire } = this.#options.lease;
    if (acquire === undefined || this.#acquiring.has(namespace)) return;
    this.#acquiring.add(namespace);
    this.#run('take the lease of alerts', () =>
      acquire(namespace).finally(() => this.#acquiring.delete(namespace)),
    );
  }

  #addFeeds(outlet: Outlet): void {
    const { config, adapter, gate, feeds } = outlet;
    if (config.events.length === 0 || adapter.sendEvent === undefined) return;
    const { clock, storeMs } = this.#options;
    const sinceMs = storeMs() - (clock.monoMs() - this.#startMs) - BEFORE_START_MS;
    const matches = compileEventFilter(create(EventFilterSchema, { types: [...config.events] }));
    for (const namespace of this.#namespaces) {
      const isWanted = config.namespaces.length === 0 || config.namespaces.includes(namespace);
      if (!isWanted) continue;
      if (this.#options.lease.held(namespace) === undefined) {
        this.#acquire(namespace);
        continue;
      }
      if (feeds.has(namespace)) continue;
      const feed = new EventFeed({
        ...this.#options,
        ...{ sink: config.name, namespace, adapter, gate, matches, sinceMs },
        run: (name, work) => this.#run(name, work),
        onTurn: () => this.#pumpFeeds(outlet),
      });
      feeds.set(namespace, feed);
    }
  }
}
