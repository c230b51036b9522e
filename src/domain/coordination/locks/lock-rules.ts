import { create } from '@bufbuild/protobuf';
import type { Payload } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { LockSchema } from '../../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import {
  type LockRecord,
  LockRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { nextEpoch } from '../../agent/attach.ts';
import type { Binding } from '../bindings.ts';
import { copyLock, LOCK_FORMAT, lockOf, msOf } from './lock-record.ts';

/** What a lock is asked for with. */
export interface LockClaim {
  holder: string;
  leaseMs: number;
  lockDelayMs: number;
  value: Payload | undefined;
  binding: Binding | undefined;
}

/** Whether somebody may take a lock now. */
export type Freedom =
  | { free: true }
  /** `untilMs`: on the store's clock, when that changes by itself; undefined: when its holder lets it go. */
  | { free: false; untilMs: number | undefined };

const FREE: Freedom = { free: true };

/** Pure. @param record undefined: it was never taken */
export function freedomOf(record: LockRecord | undefined, storeMs: number): Freedom {
  if (record === undefined) return FREE;
  const lock = lockOf(record);
  if (!lock.held)
    return storeMs < (msOf(lock.freeTime) ?? 0) ? { free: false, untilMs: msOf(lock.freeTime) } : FREE;
  const expireMs = msOf(lock.expireTime);
  if (expireMs === undefined) return { free: false, untilMs: undefined };
  const freeMs = expireMs + record.lockDelayMs;
  return storeMs < freeMs ? { free: false, untilMs: freeMs } : FREE;
}

/**
 * The lock with its new holder. Pure.
 * @param floor a token that no grant of this lock ever exceeded, for one that nobody remembers
 */
export function granted(
  record: LockRecord | undefined,
  claim: LockClaim,
  { storeMs, storeEpoch, floor }: { storeMs: number; storeEpoch: bigint; floor: bigint },
): LockRecord {
  const last = record === undefined ? floor : lockOf(record).fencingToken;
  const lock = create(LockSchema, {
    held: true,
    holder: claim.holder,
    fencingToken: nextEpoch(last, storeEpoch),
    grantTime: timestampFromMs(storeMs),
    ...(claim.value === undefined ? {} : { value: claim.value }),
  });
  const next = create(LockRecordSchema, {
    format: LOCK_FORMAT,
    lock,
    leaseMs: claim.leaseMs,
    lockDelayMs: claim.lockDelayMs,
  });
  if (claim.binding === undefined) {
    lock.expireTime = timestampFromMs(storeMs + claim.leaseMs);
  } else {
    // Held for as long as the agent is there: its heartbeats are the renewals.
    lock.boundAgentId = claim.binding.agentId;
    next.boundInstanceId = claim.binding.instanceId;
    next.boundEpoch = claim.binding.epoch;
  }
  return next;
}

/** Whether a grant still is the present one. Pure. */
export function isHeldWith(record: LockRecord | undefined, token: bigint, storeMs: number): boolean {
  if (record === undefined) return false;
  const lock = lockOf(record);
  const expireMs = msOf(lock.expireTime);
  return lock.held && lock.fencingToken === token && (expireMs === undefined || storeMs < expireMs);
}

/** The lock kept for longer. Pure. */
export function renewed(
  record: LockRecord,
  storeMs: number,
  change: { leaseMs: number | undefined; value: Payload | undefined },
): LockRecord {
  const next = copyLock(record);
  const lock = lockOf(next);
  if (change.leaseMs !== undefined) next.leaseMs = change.leaseMs;
  if (lock.boundAgentId === '') lock.expireTime = timestampFromMs(storeMs + next.leaseMs);
  if (change.value !== undefined) lock.value = change.value;
  return next;
}

/** The lock given back: whoever waits may have it at once. Pure. */
export function released(record: LockRecord): LockRecord {
  const next = copyLock(record);
  const lock = lockOf(next);
  lock.held = false;
  delete lock.expireTime;
  delete lock.freeTime;
  return next;
}

/** The lock taken from a holder that is lost: nobody has it before its lock delay has passed. Pure. */
export function takenAway(record: LockRecord, storeMs: number): LockRecord {
  const next = released(record);
  if (record.lockDelayMs > 0) lockOf(next).freeTime = timestampFromMs(storeMs + record.lockDelayMs);
  return next;
}
