import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type Lock,
  LockSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import {
  type LockRecord,
  LockRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Binding } from '../bindings.ts';

/** The format that this version writes. */
export const LOCK_FORMAT = 1;

const PREFIX = 'lock/';

export const lockKey = (name: string): string => PREFIX + name;
export const isLockKey = (key: string): boolean => key.startsWith(PREFIX);
export const nameOfLock = (key: string): string => key.slice(PREFIX.length);

export const encodeLock = (record: LockRecord): Uint8Array => encode(LockRecordSchema, record);
export const decodeLock = (bytes: Uint8Array): LockRecord => fromBinary(LockRecordSchema, bytes);

/** The public part of a record; every record has one. */
export function lockOf(record: LockRecord): Lock {
  return record.lock ?? create(LockSchema);
}

/** A copy that can be changed without touching the original. */
export function copyLock(record: LockRecord): LockRecord {
  const copy = create(LockRecordSchema);
  Object.assign(copy, record);
  copy.lock = Object.assign(create(LockSchema), lockOf(record));
  return copy;
}

/** To whose session it is bound; undefined: to none. */
export function lockBinding(record: LockRecord): Binding | undefined {
  const agentId = lockOf(record).boundAgentId;
  if (agentId === '') return undefined;
  return { agentId, instanceId: record.boundInstanceId, epoch: record.boundEpoch };
}

export const msOf = (time: Lock['expireTime']): number | undefined =>
  time === undefined ? undefined : msFromTimestamp(time);
