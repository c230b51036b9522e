import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type StateEntry,
  StateEntrySchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import {
  type StateRecord,
  StateRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Binding } from '../bindings.ts';

/** The format that this version writes. */
export const STATE_FORMAT = 1;

/** Stands before every key of the shared state. */
export const STATE_PREFIX = 'state/';

export const stateKey = (key: string): string => STATE_PREFIX + key;
export const isStateKey = (key: string): boolean => key.startsWith(STATE_PREFIX);
export const keyOfState = (key: string): string => key.slice(STATE_PREFIX.length);

export const encodeState = (record: StateRecord): Uint8Array => encode(StateRecordSchema, record);
export const decodeState = (bytes: Uint8Array): StateRecord => fromBinary(StateRecordSchema, bytes);

/** The public part of a record; every record has one. */
export function entryOf(record: StateRecord): StateEntry {
  return record.entry ?? create(StateEntrySchema);
}

/** The entry as callers see it. */
export function publicEntry(namespace: string, key: string, value: Uint8Array, revision: bigint): StateEntry {
  return Object.assign(entryOf(decodeState(value)), { namespace, key, revision });
}

/** When it goes by itself, on the store's clock; undefined: never. */
export const expireMsOf = (entry: StateEntry): number | undefined =>
  entry.expireTime === undefined ? undefined : msFromTimestamp(entry.expireTime);

export function hasExpired(entry: StateEntry, storeMs: number): boolean {
  const expireMs = expireMsOf(entry);
  return expireMs !== undefined && expireMs <= storeMs;
}

/** To whose session it is bound; undefined: to none. */
export function bindingOf(record: StateRecord): Binding | undefined {
  const agentId = entryOf(record).boundAgentId;
  if (agentId === '') return undefined;
  return { agentId, instanceId: record.boundInstanceId, epoch: record.boundEpoch };
}
