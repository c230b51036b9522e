import { create } from '@bufbuild/protobuf';
import {
  type Pending,
  PendingReason,
  PendingSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  Allocation_State,
  AllocationSchema,
  type AllocationSpec,
  AllocationSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type AllocationRecord,
  AllocationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { FieldViolation } from '../../../lib/errors.ts';
import { msFromDuration, timestampFromMs } from '../../../lib/proto-time.ts';
import { quote } from '../../../lib/violations.ts';
import { fingerprintOf } from '../../requests.ts';
import {
  ALLOCATION_FORMAT,
  allocationOf,
  copyAllocation,
  hasEnded,
  isActive,
  isWaiting,
  specOf,
} from './allocation-record.ts';

/** Tells a repetition from another allocation with its id. */
export const specHash = (spec: AllocationSpec): Uint8Array => fingerprintOf(AllocationSpecSchema, spec);

/** An allocation that waits to be granted. Pure. */
export function asked(
  spec: AllocationSpec,
  { id, actor, storeMs, waitUntilMs }: { id: string; actor: string; storeMs: number; waitUntilMs: number },
): AllocationRecord {
  const now = timestampFromMs(storeMs);
  return create(AllocationRecordSchema, {
    format: ALLOCATION_FORMAT,
    waitUntilMs: BigInt(Math.ceil(waitUntilMs)),
    specHash: specHash(spec),
    // Without budgets there is nothing to take over.
    settled: Object.keys(spec.budgets).length === 0,
    allocation: create(AllocationSchema, {
      id,
      spec,
      actor,
      state: Allocation_State.WAITING,
      createTime: now,
      pending: create(PendingSchema, {
        reason: PendingReason.NEW,
        detail: 'it was just stored',
        sinceTime: now,
      }),
    }),
  });
}

/** It is reserved from now on; it must be waiting. Pure. @param agent with the id '': it is on none, see needsAgent */
export function granted(
  record: AllocationRecord,
  agent: { id: string; uid: string },
  storeMs: number,
): AllocationRecord {
  mustBe(isWaiting(record), 'only one that waits can be granted');
  const next = copyAllocation(record);
  const allocation = allocationOf(next);
  allocation.state = Allocation_State.ACTIVE;
  allocation.agentId = agent.id;
  allocation.grantTime = timestampFromMs(storeMs);
  allocation.expireTime = timestampFromMs(storeMs + leaseMsOf(specOf(record)));
  delete allocation.pending;
  next.agentUid = agent.uid;
  next.waitUntilMs = 0n;
  return next;
}

/** It was not granted; it must be waiting. Its `pending` says why. Pure. */
export function refused(
  record: AllocationRecord,
  why: Pick<Pending, 'reason' | 'detail'>,
  storeMs: number,
): AllocationRecord {
  mustBe(isWaiting(record), 'only one that waits can be refused');
  const next = ended(record, Allocation_State.REFUSED, why.detail, storeMs);
  const since = allocationOf(record).pending?.sinceTime;
  allocationOf(next).pending = create(PendingSchema, {
    reason: why.reason,
    detail: why.detail,
    ...(since === undefined ? {} : { sinceTime: since }),
  });
  // Nothing was ever spent.
  next.settled = true;
  return next;
}

/** Kept for longer; it must be active. Pure. @param leaseMs undefined: as long as at first */
export function renewed(
  record: AllocationRecord,
  change: { leaseMs: number | undefined; spent: Spent },
  storeMs: number,
): AllocationRecord {
  mustBe(isActive(record), 'only an active one can be renewed');
  const next = copyAllocation(record);
  const allocation = allocationOf(next);
  allocation.expireTime = timestampFromMs(storeMs + (change.leaseMs ?? leaseMsOf(specOf(record))));
  allocation.spent = { ...allocation.spent, ...change.spent };
  return next;
}

/** Given back by whoever asked for it; it must not have ended. Pure. */
export function released(
  record: AllocationRecord,
  { spent, actor }: { spent: Spent; actor: string },
  storeMs: number,
): AllocationRecord {
  mustBe(!hasEnded(record), 'one that has ended cannot be released');
  const before = isWaiting(record) ? ' before it was granted' : '';
  const next = ended(record, Allocation_State.RELEASED, `${actor} gave it back${before}`, storeMs);
  const allocation = allocationOf(next);
  allocation.spent = { ...allocation.spent, ...spent };
  if (isWaiting(record)) next.settled = true;
  delete allocation.pending;
  return next;
}

/** It was not renewed in time; it must be active. Pure. */
export function expired(record: AllocationRecord, storeMs: number): AllocationRecord {
  mustBe(isActive(record), 'only an active one expires');
  return ended(record, Allocation_State.EXPIRED, 'its lease ended and was not renewed', storeMs);
}

/** Its agent is gone; it must be active. Pure. */
export function agentLost(record: AllocationRecord, why: string, storeMs: number): AllocationRecord {
  mustBe(isActive(record), 'only an active one is on an agent');
  return ended(record, Allocation_State.AGENT_LOST, why, storeMs);
}

/** What it spent is in the quotas now. Pure. */
export function settled(record: AllocationRecord): AllocationRecord {
  const next = copyAllocation(record);
  next.settled = true;
  return next;
}

export type Spent = { readonly [name: string]: bigint };

/** What is wrong with what is told to be spent: never less than before, and not more than was granted. Pure. */
export function spentFaults(record: AllocationRecord, spent: Spent): FieldViolation[] {
  const { budgets } = specOf(record);
  const told = allocationOf(record).spent;
  return Object.entries(spent).flatMap(([name, amount]) => {
    const field = `spent[${quote(name)}]`;
    const granted = Object.hasOwn(budgets, name) ? budgets[name] : undefined;
    if (granted === undefined) return [{ field, description: 'the allocation has no budget of this name' }];
    const before = Object.hasOwn(told, name) ? (told[name] ?? 0n) : 0n;
    if (amount < before) return [{ field, description: `is ${amount}; ${before} was told before` }];
    if (amount > granted) return [{ field, description: `is ${amount}; ${granted} was granted` }];
    return [];
  });
}

function ended(
  record: AllocationRecord,
  state: Allocation_State,
  detail: string,
  storeMs: number,
): AllocationRecord {
  const next = copyAllocation(record);
  const allocation = allocationOf(next);
  allocation.state = state;
  allocation.endTime = timestampFromMs(storeMs);
  allocation.detail = detail;
  next.waitUntilMs = 0n;
  return next;
}

const leaseMsOf = ({ lease }: AllocationSpec): number => (lease === undefined ? 0 : msFromDuration(lease));

function mustBe(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}
