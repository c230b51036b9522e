import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type FiguresRecord,
  FiguresRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import type { LiveRecord, Store } from '../../../state/store.ts';
import type { OwnAgents } from './own-agents.ts';
import { decodeZone, encodeZone, type ZoneSums } from './zone-sums.ts';

const PREFIX = 'figures/';
/** Written so often while it changes. */
const PUBLISH_MS = 500;
/** And so often although it does not, so that a standing one can be told from one whose writer is gone. */
const RENEW_MS = 5000;
/** One that is older counts no more. */
const STALE_MS = 15_000;

interface Shard {
  zones: Map<string, ZoneSums>;
  heardMs: number;
}

export interface ShardsOptions {
  store: Store;
  clock: Clock;
  own: OwnAgents;
  replicaId: string;
  /** Tells the lives of this replica apart, and orders them. */
  startMs: number;
  replicaAlive(replicaId: string): boolean;
  /** Whether any other replica is there that could read what this one writes. */
  others(): boolean;
  moved(namespace: string): void;
}

/** What the agents of each replica add to the figures: this one's is written for the others, theirs are kept here. */
export class Shards {
  readonly #options: ShardsOptions;
  /** By namespace, then by replica. */
  readonly #others = new Map<string, Map<string, Shard>>();
  /** Namespaces of which this replica has written something, with when, monotonic. */
  readonly #written = new Map<string, number>();
  readonly #changed = new Set<string>();
  #sequence = 0;
  #publishing = false;

  constructor(options: ShardsOptions) {
    this.#options = options;
  }

  /** What the agents of other replicas add, those left out that are not there any more. */
  *of(namespace: string): IterableIterator<ReadonlyMap<string, ZoneSums>> {
    const { clock, replicaAlive } = this.#options;
    const nowMs = clock.monoMs();
    for (const [replicaId, { zones, heardMs }] of this.#others.get(namespace) ?? []) {
      if (nowMs - heardMs <= STALE_MS && replicaAlive(replicaId)) yield zones;
    }
  }

  namespaces(): IterableIterator<string> {
    return this.#others.keys();
  }

  changed(namespace: string): void {
    this.#changed.add(namespace);
  }

  live(records: readonly LiveRecord[]): void {
    const { replicaId: own, clock, moved } = this.#options;
    for (const { namespace, key, value } of records) {
      if (!key.startsWith(PREFIX)) continue;
      const replicaId = key.slice(PREFIX.length);
      if (replicaId === own) continue;
      let shards = this.#others.get(namespace);
      if (value === undefined) {
        shards?.delete(replicaId);
        if (shards?.size === 0) this.#others.delete(namespace);
      } else {
        if (shards === undefined) {
          shards = new Map();
          this.#others.set(namespace, shards);
        }
        shards.set(replicaId, read(fromBinary(FiguresRecordSchema, value), clock.monoMs()));
      }
      moved(namespace);
    }
  }

  /**
   * Writes what changed and is due. @param urgent namespaces in which something crossed a threshold: they are due at once
   * @throws StoreUnavailableError
   */
  async publish(urgent: ReadonlySet<string>): Promise<void> {
    const { clock, own, others } = this.#options;
    if (this.#publishing || !others()) return;
    const nowMs = clock.monoMs();
    const due = new Set<string>();
    for (const namespace of urgent) due.add(namespace);
    for (const namespace of this.#changed)
      if (this.#sinceMs(namespace, nowMs) >= PUBLISH_MS) due.add(namespace);
    for (const namespace of own.namespaces())
      if (this.#sinceMs(namespace, nowMs) >= RENEW_MS) due.add(namespace);
    if (due.size === 0) return;
    const records = [...due].map((namespace) => this.#record(namespace, nowMs));
    const before = new Map([...due].map((namespace) => [namespace, this.#written.get(namespace)]));
    for (const namespace of due) {
      this.#changed.delete(namespace);
      if (own.of(namespace) === undefined) this.#written.delete(namespace);
      else this.#written.set(namespace, nowMs);
    }
    this.#publishing = true;
    try {
      await this.#options.store.putLive(records);
    } catch (error) {
      for (const [namespace, atMs] of before) {
        this.#changed.add(namespace);
        if (atMs !== undefined) this.#written.set(namespace, atMs);
      }
      throw error;
    } finally {
      this.#publishing = false;
    }
  }

  /** Takes back what was written: the agents are on their way to other replicas. */
  async leave(): Promise<void> {
    const records = [...this.#written.keys()].map((namespace) => this.#removal(namespace));
    this.#written.clear();
    this.#publishing = true;
    if (records.length > 0) await this.#options.store.putLive(records);
  }

  #sinceMs(namespace: string, nowMs: number): number {
    return nowMs - (this.#written.get(namespace) ?? Number.NEGATIVE_INFINITY);
  }

  #record(namespace: string, nowMs: number): LiveRecord {
    const found = this.#options.own.of(namespace);
    const record = this.#removal(namespace);
    if (found === undefined) return record;
    const zones = [...found.zones].map(([zone, sums]) => encodeZone(zone, sums, nowMs));
    const timeMs = BigInt(Math.round(this.#options.clock.wallMs()));
    return { ...record, value: encode(FiguresRecordSchema, create(FiguresRecordSchema, { timeMs, zones })) };
  }

  #removal(namespace: string): LiveRecord {
    const { replicaId, startMs } = this.#options;
    this.#sequence += 1;
    return {
      namespace,
      key: PREFIX + replicaId,
      epoch: BigInt(Math.round(startMs)),
      sequence: this.#sequence,
    };
  }
}

function read(record: FiguresRecord, heardMs: number): Shard {
  return { zones: new Map(record.zones.map((zone) => [zone.zone, decodeZone(zone, heardMs)])), heardMs };
}
