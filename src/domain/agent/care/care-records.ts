import { fromBinary } from '@bufbuild/protobuf';
import {
  type BrakesRecord,
  BrakesRecordSchema,
  type FreezeRecord,
  FreezeRecordSchema,
  type LeaseRecord,
  LeaseRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import type { ChangeBatch, Check, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';

export const FREEZE_KEY = 'freeze';
export const BRAKES_KEY = 'brakes';
const LEASE = 'lease/';

export const leaseKey = (duty: string): string => LEASE + duty;
export const isLeaseKey = (key: string): boolean => key.startsWith(LEASE);

export const encodeFreeze = (record: FreezeRecord): Uint8Array => encode(FreezeRecordSchema, record);
export const encodeBrakes = (record: BrakesRecord): Uint8Array => encode(BrakesRecordSchema, record);
export const encodeLease = (record: LeaseRecord): Uint8Array => encode(LeaseRecordSchema, record);

/** A record with the revision of its key. */
export interface Kept<T> {
  record: T;
  revision: bigint;
}

interface NamespaceRecords {
  freeze: Kept<FreezeRecord> | undefined;
  brakes: Kept<BrakesRecord> | undefined;
  /** By their keys. */
  leases: Map<string, Kept<LeaseRecord>>;
  epoch: bigint | undefined;
}

const nothing = (): NamespaceRecords => ({
  freeze: undefined,
  brakes: undefined,
  leases: new Map(),
  epoch: undefined,
});

/** Automatic action may be taken: a condition of every commit that takes some. */
export const NOT_FROZEN: Check = { key: FREEZE_KEY, revision: 0n };

/** The duty of care, whose holder looks after the failures of a namespace. */
export const CARE = 'care';

/** Who looks after a namespace; undefined: nobody. */
export function leaseHolder(records: CareRecords, namespace: string): string | undefined {
  const id = records.lease(namespace, CARE)?.record.replicaId ?? '';
  return id === '' ? undefined : id;
}

/** The view of what care itself keeps: who holds which lease, which brakes are set, and where automation is frozen. */
export class CareRecords implements View {
  readonly #namespaces = new Map<string, NamespaceRecords>();
  readonly #onEpoch = new Set<(namespace: string) => void>();

  /** Tells of namespaces whose store has another epoch: it was lost, or a replica of it took over. */
  onEpoch(listener: (namespace: string) => void): void {
    this.#onEpoch.add(listener);
  }

  lease(namespace: string, duty: string): Kept<LeaseRecord> | undefined {
    return this.#namespaces.get(namespace)?.leases.get(leaseKey(duty));
  }

  /** Who has which duty. */
  *leases(namespace: string): IterableIterator<LeaseRecord> {
    for (const { record } of this.#namespaces.get(namespace)?.leases.values() ?? []) yield record;
  }

  freeze(namespace: string): Kept<FreezeRecord> | undefined {
    return this.#namespaces.get(namespace)?.freeze;
  }

  brakes(namespace: string): Kept<BrakesRecord> | undefined {
    return this.#namespaces.get(namespace)?.brakes;
  }

  /** Where brakes are set. */
  *braked(): IterableIterator<[string, Kept<BrakesRecord>]> {
    for (const [namespace, { brakes }] of this.#namespaces) {
      if (brakes !== undefined) yield [namespace, brakes];
    }
  }

  /** Where automatic action is frozen. */
  *frozen(): IterableIterator<[string, Kept<FreezeRecord>]> {
    for (const [namespace, { freeze }] of this.#namespaces) {
      if (freeze !== undefined) yield [namespace, freeze];
    }
  }

  reset(namespace: string, position: Position, entries: readonly Entry[]): void {
    const before = this.#namespaces.get(namespace)?.epoch;
    const records = nothing();
    records.epoch = position.epoch;
    this.#namespaces.set(namespace, records);
    for (const { key, value, revision } of entries) take(records, key, value, revision);
    if (before === undefined || before === position.epoch) return;
    for (const listener of this.#onEpoch) listener(namespace);
  }

  apply(batch: ChangeBatch): void {
    let records = this.#namespaces.get(batch.namespace);
    if (records === undefined) {
      records = nothing();
      this.#namespaces.set(batch.namespace, records);
    }
    records.epoch = batch.epoch;
    for (const { key, value } of batch.changes) take(records, key, value, batch.revision);
  }
}

function take(records: NamespaceRecords, key: string, value: Uint8Array | undefined, revision: bigint): void {
  if (key === FREEZE_KEY) {
    records.freeze =
      value === undefined ? undefined : { record: fromBinary(FreezeRecordSchema, value), revision };
  } else if (key === BRAKES_KEY) {
    records.brakes =
      value === undefined ? undefined : { record: fromBinary(BrakesRecordSchema, value), revision };
  } else if (isLeaseKey(key)) {
    if (value === undefined) records.leases.delete(key);
    else records.leases.set(key, { record: fromBinary(LeaseRecordSchema, value), revision });
  }
}
