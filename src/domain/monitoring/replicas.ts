import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type ReplicaStatus,
  ReplicaStatusSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type ReplicaRecord,
  ReplicaRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../lib/clock.ts';
import { encode } from '../../lib/encode.ts';
import type { Logger } from '../../lib/logger.ts';
import { durationFromMs, msFromTimestamp, timestampFromMs } from '../../lib/proto-time.ts';
import type { LiveRecord, Store } from '../../state/store.ts';
import type { Shares } from '../agent/rebalancing.ts';
import { SYSTEM_NAMESPACE } from '../namespaces.ts';

/** How a replica is, as it measures itself. */
export interface SelfReading {
  sessions: number;
  eventLoopDelayP99Ms: number;
  eventLoopDelayMaxMs: number;
  cpuCores: number;
  memoryBytes: number;
  pingIntervalMs: number;
  draining: boolean;
  /** Undefined: there were no commits. */
  commitP99Ms?: number | undefined;
  heartbeatsRate?: number | undefined;
}

/** How a replica is, with what its public status does not show. */
export interface MeasuredReplica {
  id: string;
  ageMs: number;
  sessions: number;
  eventLoopDelayP99Ms: number;
  cpuCores: number;
  memoryBytes: number;
  commitP99Ms: number | undefined;
  heartbeatsRate: number;
}

export interface ReplicasOptions {
  store: Store;
  clock: Clock;
  log: Logger;
  replicaId: string;
  maxPingsPerSecond: number;
  /** The software's. */
  version: string;
  read(): SelfReading;
  /** How long this process stood still between two monotonic instants, milliseconds. */
  stallMs(fromMs: number, toMs: number): number;
}

const PREFIX = 'replica/';
/** A replica that did not write for so long is not there any more. */
const GONE_MS = 10_000;
/**
 * The agents of a replica that has said it leaves were told to come back within 1.5 s, and wait a moment of their own: so
 * long it counts as one that looks after them, or all of them would be said to be disconnected on their way.
 */
const RETURN_MS = 5000;
/** A record of one that has been silent for so long is taken off the list: nobody else does it for one that was killed. */
const FORGOTTEN_MS = 3_600_000;
/** How often each replica writes its record. */
export const REPLICA_BEAT_MS = 1000;

interface KnownReplica {
  record: ReplicaRecord;
  live: LiveRecord;
  /** When its record arrived here, on this replica's clock: others' clocks may differ. */
  heardMs: number;
  /** What its wall clock was ahead of ours then; undefined: that record may have been written long before. */
  offsetMs: number | undefined;
}

/** The replicas that share the store: each writes a soft record every second, and hears those of the others. */
export class Replicas {
  readonly #options: ReplicasOptions;
  readonly #others = new Map<string, KnownReplica>();
  /** When replicas that have left said so, monotonic milliseconds. */
  readonly #left = new Map<string, number>();
  readonly #startMs: number;
  readonly #listeningSinceMs: number;
  /** What was last seen of the store, and since when, monotonic milliseconds. */
  #store: { available: boolean; sinceMs: number; changedMs: number } | undefined;
  #lookedMs = -Infinity;
  #sequence = 0;
  #away = false;
  #warned = false;

  constructor(options: ReplicasOptions) {
    this.#options = options;
    this.#startMs = options.clock.wallMs();
    this.#listeningSinceMs = options.clock.monoMs();
  }

  /** Hears what the others wrote. Follow the system store with it. */
  live(records: readonly LiveRecord[]): void {
    const { clock, replicaId, log } = this.#options;
    for (const live of records) {
      const { key, value, epoch } = live;
      if (!key.startsWith(PREFIX)) continue;
      const id = key.slice(PREFIX.length);
      if (id === replicaId) {
        if (epoch === BigInt(this.#startMs) || this.#warned || epoch < BigInt(this.#startMs)) continue;
        this.#warned = true;
        log.error({ replica: id }, 'another replica has the same id: give each its own `id`');
      } else if (value === undefined) {
        if (this.#others.delete(id)) this.#left.set(id, clock.monoMs());
      } else {
        this.#left.delete(id);
        const record = fromBinary(ReplicaRecordSchema, value);
        // The first one is what the store had kept.
        const isNews = this.#others.get(id)?.live.epoch === epoch;
        const offsetMs =
          isNews && record.time !== undefined ? msFromTimestamp(record.time) - clock.wallMs() : undefined;
        this.#others.set(id, { record, live, heardMs: clock.monoMs(), offsetMs });
      }
    }
  }

  /**
   * Whether a replica looks after its agents: it is there, or has only just left. One that was never heard counts as there
   * until it could have been for as long as silence may last.
   */
  isAlive(replicaId: string): boolean {
    if (replicaId === this.#options.replicaId) return true;
    const leftMs = this.#left.get(replicaId);
    if (leftMs !== undefined) return this.#options.clock.monoMs() - leftMs < RETURN_MS;
    const { heardMs } = this.#others.get(replicaId) ?? { heardMs: this.#listeningSinceMs };
    return this.#silenceMs({ heardMs }) < GONE_MS;
  }

  /** Writes this replica's record; none any more once it has left. */
  async beat(): Promise<void> {
    this.#lookAtStore();
    if (this.#away) return;
    const { store, replicaId } = this.#options;
    this.#sequence += 1;
    const value = encode(ReplicaRecordSchema, this.#own());
    await store.putLive([this.#live(replicaId, value), ...this.#forgotten()]);
  }

  /** Removals of the records of others that are long gone. Should one of them beat again, it is on the list again. */
  #forgotten(): LiveRecord[] {
    const nowMs = this.#options.clock.monoMs();
    for (const [id, leftMs] of this.#left) if (nowMs - leftMs >= FORGOTTEN_MS) this.#left.delete(id);
    const removals: LiveRecord[] = [];
    for (const [id, other] of this.#others) {
      if (this.#silenceMs(other) < FORGOTTEN_MS) continue;
      this.#others.delete(id);
      const { value: _, ...record } = other.live;
      removals.push({ ...record, sequence: record.sequence + 1 });
    }
    return removals;
  }

  /** Takes this replica off the list. */
  async leave(): Promise<void> {
    this.#away = true;
    this.#sequence += 1;
    const { value: _, ...record } = this.#live(this.#options.replicaId, new Uint8Array());
    await this.#options.store.putLive([record]);
  }

  /** The sessions of those that are there to stay, this one included; undefined: it is the only one, or leaves. */
  shares(): Shares | undefined {
    const own = this.#options.read();
    const counts = [...this.#others.values()]
      .filter((other) => !other.record.draining && this.#silenceMs(other) < GONE_MS)
      .map(({ record }) => record.sessions);
    if (counts.length === 0 || own.draining) return undefined;
    const sum = counts.reduce((total, sessions) => total + sessions, own.sessions);
    return { share: sum / (counts.length + 1), least: Math.min(own.sessions, ...counts) };
  }

  own(): ReplicaStatus {
    return statusOf(this.#own(), 0);
  }

  /** All that are there, this one first. */
  all(): ReplicaStatus[] {
    const nowMs = this.#options.clock.monoMs();
    const others = [...this.#others.values()]
      .filter((other) => this.#silenceMs(other) < GONE_MS)
      .sort((a, b) => (a.record.id < b.record.id ? -1 : 1));
    return [this.own(), ...others.map(({ record, heardMs }) => statusOf(record, nowMs - heardMs))];
  }

  /** All that are there, this one first. */
  measured(): MeasuredReplica[] {
    const nowMs = this.#options.clock.monoMs();
    const others = [...this.#others.values()].filter((other) => this.#silenceMs(other) < GONE_MS);
    return [
      measuredOf(this.#own(), 0),
      ...others.map(({ record, heardMs }) => measuredOf(record, nowMs - heardMs)),
    ];
  }

  /** Whether any other replica is there. */
  hasOthers(): boolean {
    for (const other of this.#others.values()) if (this.#silenceMs(other) < GONE_MS) return true;
    return false;
  }

  /** What the wall clocks of the others are ahead of ours, less the time that their records took to arrive. */
  clockOffsets(): { id: string; offsetMs: number }[] {
    return [...this.#others].flatMap(([id, { offsetMs }]) =>
      offsetMs === undefined ? [] : [{ id, offsetMs }],
    );
  }

  /** Looked at with every beat: when the store came or went is told by the wall clock, which may be set at any time. */
  #lookAtStore(): { available: boolean; changedMs: number } {
    const { clock, store } = this.#options;
    const { available, sinceMs } = store.status();
    const nowMs = clock.monoMs();
    const seen = this.#store;
    const since = nowMs - Math.max(0, clock.wallMs() - sinceMs);
    const same = seen?.available === available && seen.sinceMs === sinceMs;
    const changedMs = same ? seen.changedMs : Math.max(this.#lookedMs, since);
    this.#store = { available, sinceMs, changedMs };
    this.#lookedMs = nowMs;
    return this.#store;
  }

  /** How long it could have been heard and was not: nobody is while the store is away, or this process stands still. */
  #silenceMs({ heardMs }: Pick<KnownReplica, 'heardMs'>): number {
    const { clock, stallMs } = this.#options;
    const nowMs = clock.monoMs();
    const { available, changedMs } = this.#lookAtStore();
    const fromMs = available ? Math.max(heardMs, changedMs) : heardMs;
    const untilMs = available ? nowMs : Math.max(heardMs, changedMs);
    return untilMs - fromMs - stallMs(fromMs, untilMs);
  }

  #live(replicaId: string, value: Uint8Array): LiveRecord {
    return {
      namespace: SYSTEM_NAMESPACE,
      key: PREFIX + replicaId,
      epoch: BigInt(this.#startMs),
      sequence: this.#sequence,
      value,
    };
  }

  #own(): ReplicaRecord {
    const { clock, replicaId, maxPingsPerSecond, version } = this.#options;
    const reading = this.#options.read();
    return create(ReplicaRecordSchema, {
      id: replicaId,
      startTime: timestampFromMs(this.#startMs),
      time: timestampFromMs(clock.wallMs()),
      sessions: reading.sessions,
      eventLoopDelayP99Nanos: nanos(reading.eventLoopDelayP99Ms),
      eventLoopDelayMaxNanos: nanos(reading.eventLoopDelayMaxMs),
      cpuCores: reading.cpuCores,
      memoryBytes: BigInt(reading.memoryBytes),
      pingIntervalNanos: nanos(reading.pingIntervalMs),
      maxPingsPerSecond,
      draining: reading.draining,
      heartbeatsRate: reading.heartbeatsRate ?? 0,
      ...(reading.commitP99Ms === undefined ? {} : { commitP99Nanos: nanos(reading.commitP99Ms) }),
      version,
    });
  }
}

function statusOf(record: ReplicaRecord, ageMs: number): ReplicaStatus {
  return create(ReplicaStatusSchema, {
    id: record.id,
    ...(record.startTime === undefined ? {} : { startTime: record.startTime }),
    sessions: record.sessions,
    eventLoopDelayP99: fromNanos(record.eventLoopDelayP99Nanos),
    eventLoopDelayMax: fromNanos(record.eventLoopDelayMaxNanos),
    cpuCores: record.cpuCores,
    memoryBytes: record.memoryBytes,
    pingInterval: fromNanos(record.pingIntervalNanos),
    maxPingsPerSecond: record.maxPingsPerSecond,
    age: durationFromMs(ageMs),
    draining: record.draining,
    version: record.version,
  });
}

function measuredOf(record: ReplicaRecord, ageMs: number): MeasuredReplica {
  const { id, sessions, cpuCores, memoryBytes, commitP99Nanos, heartbeatsRate } = record;
  return {
    ...{ id, ageMs, sessions, cpuCores, heartbeatsRate, memoryBytes: Number(memoryBytes) },
    eventLoopDelayP99Ms: Number(record.eventLoopDelayP99Nanos) / 1e6,
    commitP99Ms: commitP99Nanos === undefined ? undefined : Number(commitP99Nanos) / 1e6,
  };
}

const nanos = (ms: number): bigint => BigInt(Math.round((Number.isFinite(ms) ? ms : 0) * 1e6));
const fromNanos = (value: bigint) => durationFromMs(Number(value) / 1e6);
