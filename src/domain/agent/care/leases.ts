import { create } from '@bufbuild/protobuf';
import {
  type LeaseRecord,
  LeaseRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check, Store } from '../../../state/store.ts';
import { nextEpoch } from '../attach.ts';
import { type SelfWatch, silenceMs } from '../observer.ts';
import { type CareRecords, encodeLease, type Kept, leaseKey } from './care-records.ts';

export interface LeasesOptions {
  store: Store;
  records: CareRecords;
  clock: Clock;
  self: SelfWatch;
  replicaId: string;
  /** When this replica started, milliseconds by its clock: tells its lives apart. */
  startMs: number;
  /** Whether another replica is heard; it is deaf to others at first, see `LISTEN_MS`. */
  replicaAlive(replicaId: string): boolean;
}

/** A lease that this replica holds. */
export interface HeldLease {
  fence: Check;
  fencingToken: bigint;
  /** When this replica learnt that it is the holder, monotonic milliseconds. */
  sinceMs: number;
  /** Somebody held it before, or another life of this replica did. */
  inherited: boolean;
}

/** So long a replica listens for others, stalls and outages of the store left out, before it takes one for gone. */
export const LISTEN_MS = 10_000;

/**
 * Leases of duties that must happen once. A lease is a record that is written only when it changes hands: whoever holds it
 * has its commits check that the record still is as he wrote it, so the store refuses those of a holder that was replaced
 * without noticing (it was paused, cut off, or slow). That the holder is there is known from the replicas' beats, which cost
 * no commits; a wrong guess costs a change of hands, and never a duty done twice.
 */
export class Leases {
  readonly #options: LeasesOptions;
  /** Leases taken whose record this replica's view has not heard of yet; by "namespace duty". */
  readonly #taken = new Map<string, Kept<LeaseRecord>>();
  /** Since when the record names this replica, by "namespace duty". */
  readonly #held = new Map<string, HeldLease>();
  readonly #inherited = new Set<string>();
  /** Revisions at which a commit was refused although the view still says that this replica is the holder. */
  readonly #refused = new Map<string, bigint>();
  /** What was ever asked for here, by "namespace duty"; each of this replica's leases is among it. */
  readonly #asked = new Map<string, { namespace: string; duty: string }>();
  readonly #taking = new Set<Promise<unknown>>();
  #listeningSinceMs: number;
  #leaving = false;

  constructor(options: LeasesOptions) {
    this.#options = options;
    this.#listeningSinceMs = options.clock.monoMs();
  }

  /** The lease, if this replica holds it as far as it knows. */
  held(namespace: string, duty: string): HeldLease | undefined {
    const name = `${namespace} ${duty}`;
    const kept = this.#newest(namespace, duty);
    const mine = kept !== undefined && this.#isOwn(kept.record) && this.#refused.get(name) !== kept.revision;
    if (!mine || this.#leaving) {
      this.#held.delete(name);
      return undefined;
    }
    const known = this.#held.get(name);
    if (known !== undefined && known.fence.revision === kept.revision) return known;
    const lease: HeldLease = {
      fence: { key: leaseKey(duty), revision: kept.revision },
      fencingToken: kept.record.fencingToken,
      sinceMs: this.#options.clock.monoMs(),
      inherited: this.#inherited.has(name),
    };
    this.#held.set(name, lease);
    return lease;
  }

  /**
   * Takes the lease if it is free, or its holder is gone; returns it if this replica holds it now.
   * @throws StoreUnavailableError
   */
  async acquire(namespace: string, duty: string): Promise<HeldLease | undefined> {
    if (this.#leaving) return undefined;
    const held = this.held(namespace, duty);
    if (held !== undefined) return held;
    this.#asked.set(`${namespace} ${duty}`, { namespace, duty });
    const taking = this.#take(namespace, duty);
    this.#taking.add(taking);
    try {
      return await taking;
    } finally {
      this.#taking.delete(taking);
    }
  }

  async #take(namespace: string, duty: string): Promise<HeldLease | undefined> {
    const kept = this.#newest(namespace, duty);
    if (kept !== undefined && !this.#mayTake(kept.record)) return undefined;
    const { store, replicaId, startMs } = this.#options;
    const { epoch } = store.status();
    const record = create(LeaseRecordSchema, {
      duty,
      replicaId,
      replicaStartMs: BigInt(Math.round(startMs)),
      fencingToken: nextEpoch(kept?.record.fencingToken ?? 0n, epoch),
      time: timestampFromMs(await store.now()),
    });
    const name = `${namespace} ${duty}`;
    const outcome = await store.commit({
      namespace,
      epoch,
      checks: [{ key: leaseKey(duty), revision: kept?.revision ?? 0n }],
      puts: [{ key: leaseKey(duty), value: encodeLease(record) }],
    });
    // Another one was faster; the view will tell who.
    if (outcome.kind !== 'committed') return undefined;
    if (kept === undefined) this.#inherited.delete(name);
    else this.#inherited.add(name);
    this.#taken.set(name, { record, revision: outcome.revision });
    return this.held(namespace, duty);
  }

  /** A commit was refused because of the lease: this replica holds it no more, whatever its view says. */
  refused(namespace: string, duty: string): void {
    const name = `${namespace} ${duty}`;
    const held = this.#held.get(name);
    if (held !== undefined) this.#refused.set(name, held.fence.revision);
    this.#taken.delete(name);
    this.#held.delete(name);
  }

  /** Gives back everything that this replica holds, and takes nothing more. */
  async leave(): Promise<void> {
    const { store } = this.#options;
    this.#leaving = true;
    // What is being taken is given back, too.
    await Promise.allSettled(this.#taking);
    const given: Promise<unknown>[] = [];
    for (const { namespace, duty } of this.#asked.values()) {
      const kept = this.#newest(namespace, duty);
      if (kept === undefined || !this.#isOwn(kept.record)) continue;
      // The record stays, so that fencing tokens go on growing.
      const record = create(LeaseRecordSchema, { ...kept.record, replicaId: '', replicaStartMs: 0n });
      given.push(
        store.commit({
          namespace,
          checks: [{ key: leaseKey(duty), revision: kept.revision }],
          puts: [{ key: leaseKey(duty), value: encodeLease(record) }],
        }),
      );
    }
    await Promise.all(given);
  }

  #newest(namespace: string, duty: string): Kept<LeaseRecord> | undefined {
    const name = `${namespace} ${duty}`;
    const seen = this.#options.records.lease(namespace, duty);
    const taken = this.#taken.get(name);
    if (taken === undefined) return seen;
    const { epoch } = this.#options.store.status();
    if (
      (seen !== undefined && seen.revision >= taken.revision) ||
      taken.record.fencingToken >> 32n !== epoch
    ) {
      this.#taken.delete(name);
      return seen;
    }
    return taken;
  }

  #isOwn(record: LeaseRecord): boolean {
    const { replicaId, startMs } = this.#options;
    return record.replicaId === replicaId && record.replicaStartMs === BigInt(Math.round(startMs));
  }

  #mayTake({ replicaId }: LeaseRecord): boolean {
    // An earlier life of this replica, or given back.
    if (replicaId === this.#options.replicaId || replicaId === '') return true;
    return this.#hasListened() && !this.#options.replicaAlive(replicaId);
  }

  /** Others could not be heard (the store was away): from now on they can. */
  listenAnew(): void {
    this.#listeningSinceMs = this.#options.clock.monoMs();
  }

  /** Whether others could have been heard for long enough, stalls of this process left out. */
  #hasListened(): boolean {
    const { clock, self } = this.#options;
    return silenceMs(self, this.#listeningSinceMs, clock.monoMs()) >= LISTEN_MS;
  }
}
