import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type AlertRecord,
  AlertRecord_TellingSchema,
  AlertRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { SinkConfig } from '../../../../src/config/monitoring-config.ts';
import { leaseKey } from '../../../../src/domain/agent/care/care-records.ts';
import type { HeldLease } from '../../../../src/domain/agent/care/leases.ts';
import { alertKey, decodeAlert, encodeAlert } from '../../../../src/domain/monitoring/alerts/alert-record.ts';
import { AlertView } from '../../../../src/domain/monitoring/alerts/alert-view.ts';
import { EventWriter } from '../../../../src/domain/monitoring/events.ts';
import type { CloudEvent } from '../../../../src/domain/monitoring/sinks/envelopes.ts';
import type { Notice, SinkAdapter, Told } from '../../../../src/domain/monitoring/sinks/ports.ts';
import { SINKS_TICK_MS, Sinks } from '../../../../src/domain/monitoring/sinks/sinks.ts';
import { Background } from '../../../../src/lib/background.ts';
import { type Logger, silentLogger } from '../../../../src/lib/logger.ts';
import { FakeClock, seededRandom } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

export const sinkConfig = (fields: Partial<SinkConfig> = {}): SinkConfig => ({
  name: 'hook',
  kind: 'webhook',
  timeoutMs: 5000,
  retryMinMs: 1000,
  retryMaxMs: 60_000,
  alerts: true,
  minSeverity: 'info',
  events: [],
  namespaces: [],
  ...fields,
});

/** A sink that keeps what it was sent, and behaves as a test says. */
export class FakeSink implements SinkAdapter {
  readonly kind;
  readonly target = 'https://sink.example';
  batch = 1;
  concurrency = 4;
  resends = false;
  /** What came, whether it was taken or not. */
  readonly tried: Notice[] = [];
  readonly taken: Notice[] = [];
  readonly events: CloudEvent[] = [];
  readonly signals: AbortSignal[] = [];
  /** Throws, hangs or returns, before something is taken. */
  behave: (what: readonly (Notice | CloudEvent)[], signal: AbortSignal) => Promise<void> = async () => {};

  constructor(kind: SinkConfig['kind'] = 'webhook') {
    this.kind = kind;
  }

  sendAlerts = async (notices: readonly Notice[], signal: AbortSignal): Promise<void> => {
    this.tried.push(...notices);
    this.signals.push(signal);
    await this.behave(notices, signal);
    this.taken.push(...notices);
  };

  sendEvent = async (event: CloudEvent, signal: AbortSignal): Promise<void> => {
    await this.behave([event], signal);
    this.events.push(event);
  };

  close(): void {}

  /** Ids of what it took. */
  get ids(): string[] {
    return this.taken.map(({ event }) => event.id);
  }
}

export interface ReplicaOptions {
  sinks: Record<string, FakeSink>;
  configs: readonly SinkConfig[];
  replicaId?: string;
  log?: Logger;
  retentionMs?: number;
}

/** One store and one clock, on which replicas send. The holder of the lease is set by hand. */
export class SinksRig {
  readonly clock = new FakeClock();
  readonly store = new MemoryStore({ wallMs: () => this.clock.wallMs() });
  readonly replicas: Replica[] = [];
  readonly writer = new EventWriter({ replicaId: 'r0', wallMs: () => this.clock.wallMs() });

  async replica(options: ReplicaOptions): Promise<Replica> {
    const replica = new Replica(this, options);
    await replica.start();
    this.replicas.push(replica);
    return replica;
  }

  /** Lets a replica hold the lease of a namespace; whoever had it has lost it. */
  async give(replica: Replica, namespace = 'default'): Promise<void> {
    const outcome = await this.store.commit({
      namespace,
      puts: [{ key: leaseKey('alerts'), value: new TextEncoder().encode(replica.id) }],
    });
    if (outcome.kind !== 'committed') throw new Error('no lease');
    replica.hold(namespace, outcome.revision);
  }

  /** Stores an alert as the rules would. */
  async alert(id: string, wants: Record<string, Told>, fields: Partial<Alert> = {}): Promise<void> {
    const namespace = fields.namespace ?? 'default';
    const before = await this.store.get(namespace, alertKey(id));
    const record =
      before === undefined ? create(AlertRecordSchema) : decodeAlert(before.value, before.revision);
    // The same rule with the same labels is about the same.
    record.fingerprint = `${fields.rule ?? id} ${JSON.stringify(fields.labels ?? {})}`;
    record.alert = create(AlertSchema, {
      state: Object.values(wants).includes('resolved') ? Alert_State.RESOLVED : Alert_State.FIRING,
      rule: 'rule',
      summary: 'it is so',
      ...(fields as object),
      id,
      namespace,
    });
    for (const [sink, want] of Object.entries(wants)) {
      const telling = record.tellings[sink] ?? create(AlertRecord_TellingSchema);
      telling.want = want;
      record.tellings[sink] = telling;
    }
    await this.store.commit({ namespace, puts: [{ key: alertKey(id), value: encodeAlert(record) }] });
  }

  async record(id: string, namespace = 'default'): Promise<AlertRecord> {
    const entry = await this.store.get(namespace, alertKey(id));
    if (entry === undefined) throw new Error(`no alert ${id}`);
    return decodeAlert(entry.value, entry.revision);
  }

  async told(id: string, sink = 'hook'): Promise<string | undefined> {
    return (await this.record(id)).tellings[sink]?.told;
  }

  /** Something happens, in one commit. */
  async happen(types: readonly string[], namespace = 'default'): Promise<void> {
    const appends = types.map((type) =>
      this.writer.append({ type, severity: Event_Severity.INFO, message: `it is ${type}`, actor: 'test' }),
    );
    await this.store.commit({ namespace, appends });
  }

  /** Time passes for all replicas, as their timers tell it. */
  async pass(ms: number, stepMs = SINKS_TICK_MS): Promise<void> {
    for (let left = ms; left > 0; left -= stepMs) {
      this.clock.advance(Math.min(stepMs, left));
      for (const replica of this.replicas) if (!replica.dead) await replica.sinks.tick().catch(() => {});
      await settled();
    }
  }
}

/** Work that needs no time is done. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export class Replica {
  readonly id: string;
  readonly view = new AlertView();
  readonly sinks: Sinks;
  readonly tries: string[] = [];
  dead = false;
  readonly #rig: SinksRig;
  readonly #held = new Map<string, HeldLease>();
  #unfollow: (() => void) | undefined;

  constructor(rig: SinksRig, options: ReplicaOptions) {
    this.#rig = rig;
    this.id = options.replicaId ?? 'r1';
    const log = options.log ?? silentLogger;
    this.sinks = new Sinks({
      sinks: options.configs,
      resendMs: 60_000,
      retentionMs: options.retentionMs ?? 7 * 86_400_000,
      adapterFor: ({ name }) => options.sinks[name] ?? new FakeSink(),
      records: this.view,
      lease: {
        held: (namespace) => (this.dead ? undefined : this.#held.get(namespace)),
        lost: (namespace) => void this.#held.delete(namespace),
      },
      store: rig.store,
      storeMs: () => rig.clock.wallMs(),
      events: rig.writer,
      clock: rig.clock,
      random: seededRandom(1),
      background: new Background({ log }),
      log,
      replicaId: this.id,
      replicaAlive: (id) => rig.replicas.some((replica) => replica.id === id && !replica.dead),
      metrics: { sinkTried: (kind, outcome) => void this.tries.push(`${kind} ${outcome}`) },
    });
  }

  async start(): Promise<void> {
    const views = [this.view, this.sinks];
    this.#unfollow = await this.#rig.store.follow({
      batch: (batch) => {
        for (const view of views) view.apply(batch);
      },
      snapshot: (namespace, position, entries) => {
        for (const view of views) view.reset(namespace, position, entries);
      },
      live: (records) => this.sinks.live(records),
    });
  }

  hold(namespace: string, revision: bigint): void {
    this.#held.set(namespace, {
      fence: { key: leaseKey('alerts'), revision },
      fencingToken: revision,
      sinceMs: this.#rig.clock.monoMs(),
      inherited: false,
    });
  }

  /** Killed: it hears and stores nothing more. */
  die(): void {
    this.dead = true;
    this.#unfollow?.();
  }
}

/** A promise and what ends it. */
export function gateOf(): { passed: Promise<void>; open: () => void } {
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

/** Never. */
export const hanging = (): Promise<void> => new Promise(() => {});
