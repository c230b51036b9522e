import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type AlertSink,
  AlertSinkSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { SinkRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import { durationFromMs, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import type { LiveRecord, Store } from '../../../state/store.ts';
import { SYSTEM_NAMESPACE } from '../../namespaces.ts';
import type { GateStatus } from './gate.ts';

export interface SinkBoardOptions {
  store: Pick<Store, 'putLive'>;
  clock: Clock;
  replicaId: string;
  replicaAlive(replicaId: string): boolean;
}

/** A sink as this replica sees it. */
export interface OwnSink {
  name: string;
  kind: string;
  target: string;
  status: GateStatus;
  waiting: number;
}

const PREFIX = 'sink/';
/** Written at least this often by whoever sends: a replica that starts hears of it then. */
const REPEAT_MS = 10_000;

interface Heard {
  sink: AlertSink;
  heardMs: number;
}

/** How the sinks are, at whichever replica sends: each tells the others by a soft record a sink, "sink/<name>/<replica>". */
export class SinkBoard {
  readonly #options: SinkBoardOptions;
  /** By sink, then by replica. */
  readonly #others = new Map<string, Map<string, Heard>>();
  readonly #written = new Map<string, { text: string; ms: number }>();
  readonly #startMs: number;
  #sequence = 0;

  constructor(options: SinkBoardOptions) {
    this.#options = options;
    this.#startMs = options.clock.wallMs();
  }

  live(records: readonly LiveRecord[]): void {
    const { replicaId, clock } = this.#options;
    for (const { namespace, key, value } of records) {
      if (namespace !== SYSTEM_NAMESPACE || !key.startsWith(PREFIX)) continue;
      const at = key.lastIndexOf('/');
      const [name, replica] = [key.slice(PREFIX.length, at), key.slice(at + 1)];
      if (replica === replicaId) continue;
      const replicas = this.#others.get(name) ?? new Map<string, Heard>();
      this.#others.set(name, replicas);
      const sink = value === undefined ? undefined : fromBinary(SinkRecordSchema, value).sink;
      if (sink === undefined) replicas.delete(replica);
      else replicas.set(replica, { sink, heardMs: clock.monoMs() });
    }
  }

  /** Tells the others, where something has changed. @throws StoreUnavailableError */
  async publish(own: readonly OwnSink[]): Promise<void> {
    const { clock, replicaId, store } = this.#options;
    const nowMs = clock.monoMs();
    const records: LiveRecord[] = [];
    for (const sink of own) {
      if (!hasTried(sink) && sink.waiting === 0) continue;
      const { retryIn: _, ...rest } = this.#own(sink);
      const text = [rest.healthy, rest.error, rest.failures, rest.waiting, rest.sent].join('\n');
      const written = this.#written.get(sink.name);
      if (written?.text === text && nowMs - written.ms < REPEAT_MS) continue;
      this.#written.set(sink.name, { text, ms: nowMs });
      this.#sequence += 1;
      const record = create(SinkRecordSchema, { sink: this.#own(sink), timeMs: BigInt(clock.wallMs()) });
      records.push({
        namespace: SYSTEM_NAMESPACE,
        key: `${PREFIX}${sink.name}/${replicaId}`,
        epoch: BigInt(this.#startMs),
        sequence: this.#sequence,
        value: encode(SinkRecordSchema, record),
      });
    }
    if (records.length > 0) await store.putLive(records);
  }

  /** Each sink with what all replicas know of it, by name. */
  all(own: readonly OwnSink[]): AlertSink[] {
    return own
      .map((sink) => this.#merged(sink))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  }

  #merged(own: OwnSink): AlertSink {
    const nowMs = this.#options.clock.monoMs();
    const heard: AlertSink[] = [];
    for (const [replica, { sink, heardMs }] of this.#others.get(own.name) ?? []) {
      if (!this.#options.replicaAlive(replica)) continue;
      heard.push(sink.retryIn === undefined ? sink : { ...sink, retryIn: left(sink, nowMs - heardMs) });
    }
    const mine = this.#own(own);
    const all = hasTried(own) || own.waiting > 0 || heard.length === 0 ? [mine, ...heard] : heard;
    // Whoever has something to send counts, and of these the one that cannot; else who tried last.
    const sending = all.filter(({ waiting }) => waiting > 0);
    const candidates = sending.length > 0 ? sending : all;
    const shown = candidates.reduce((best, each) => (order(each) > order(best) ? each : best));
    return create(AlertSinkSchema, {
      ...shown,
      // Of this replica's configuration.
      ...{ kind: own.kind, target: own.target },
      waiting: all.reduce((sum, { waiting }) => sum + waiting, 0),
      sent: all.reduce((sum, { sent }) => sum + sent, 0n),
    });

    function order(sink: AlertSink): number {
      const triedMs = Math.max(timeOf(sink.successTime), timeOf(sink.failureTime));
      return triedMs + (sending.length > 0 && !sink.healthy ? FAR_MS : 0);
    }
  }

  #own({ name, kind, target, status, waiting }: OwnSink): AlertSink {
    const { healthy, successMs, failureMs, error, failures, retryInMs, sent } = status;
    return create(AlertSinkSchema, {
      ...{ name, kind, target, healthy, error, failures, waiting },
      ...(successMs === undefined ? {} : { successTime: timestampFromMs(successMs) }),
      ...(failureMs === undefined ? {} : { failureTime: timestampFromMs(failureMs) }),
      ...(retryInMs === undefined ? {} : { retryIn: durationFromMs(retryInMs) }),
      sent: BigInt(sent),
      replicaId: this.#options.replicaId,
    });
  }
}

/** Beyond all times. */
const FAR_MS = 1e15;

const hasTried = ({ status }: OwnSink): boolean =>
  status.successMs !== undefined || status.failureMs !== undefined;

const timeOf = (time: AlertSink['successTime']): number => (time === undefined ? 0 : msFromTimestamp(time));

function left(sink: AlertSink, passedMs: number) {
  const { seconds = 0n, nanos = 0 } = sink.retryIn ?? {};
  return durationFromMs(Math.max(0, Number(seconds) * 1000 + nanos / 1e6 - passedMs));
}
