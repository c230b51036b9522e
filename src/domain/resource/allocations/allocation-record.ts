import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type Allocation,
  Allocation_State,
  AllocationSchema,
  type AllocationSpec,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  type AllocationRecord,
  AllocationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { AccountHold } from '../accounts/accounts.ts';
import { type Amounts, amountsOf } from '../amounts.ts';
import type { Want } from '../pool/types.ts';

/** The format that this version writes. */
export const ALLOCATION_FORMAT = 1;

const PREFIX = 'alloc/';

export const allocationKey = (id: string): string => PREFIX + id;
export const isAllocationKey = (key: string): boolean => key.startsWith(PREFIX);
export const allocationIdOf = (key: string): string => key.slice(PREFIX.length);

/** What was encoded here and comes back through the store's news as the same bytes need not be decoded. */
const encoded = new WeakMap<Uint8Array, AllocationRecord>();

/** The record must not be changed afterwards. */
export function encodeAllocation(record: AllocationRecord): Uint8Array {
  const bytes = encode(AllocationRecordSchema, record);
  encoded.set(bytes, record);
  return bytes;
}

/** The record must not be changed; see `copyAllocation`. */
export const decodeAllocation = (bytes: Uint8Array): AllocationRecord =>
  encoded.get(bytes) ?? fromBinary(AllocationRecordSchema, bytes);

/** The public part; every record has one. */
export function allocationOf(record: AllocationRecord): Allocation {
  if (record.allocation === undefined) throw new Error('an allocation record without its allocation');
  return record.allocation;
}

/** What was asked for; every allocation has it. */
export function specOf(record: AllocationRecord): AllocationSpec {
  const { spec } = allocationOf(record);
  if (spec === undefined) throw new Error('an allocation without its spec');
  return spec;
}

export const isWaiting = (record: AllocationRecord): boolean =>
  allocationOf(record).state === Allocation_State.WAITING;
export const isActive = (record: AllocationRecord): boolean =>
  allocationOf(record).state === Allocation_State.ACTIVE;
export const hasEnded = (record: AllocationRecord): boolean =>
  allocationOf(record).state > Allocation_State.ACTIVE;
export const ownerOf = (record: AllocationRecord): string => {
  const { labels } = specOf(record);
  return Object.hasOwn(labels, 'owner') ? (labels.owner ?? '') : '';
};

/** An allocation as this replica knows it. */
export interface KnownAllocation {
  readonly namespace: string;
  readonly id: string;
  readonly record: AllocationRecord;
  readonly revision: bigint;
  /** When its lease ends, by the store's clock, milliseconds; undefined: it has none. */
  readonly expireMs: number | undefined;
}

export function knownAllocation(
  namespace: string,
  key: string,
  value: Uint8Array,
  revision: bigint,
): KnownAllocation {
  const record = decodeAllocation(value);
  const { expireTime } = allocationOf(record);
  const expireMs = expireTime === undefined ? undefined : msFromTimestamp(expireTime);
  return { namespace, id: allocationIdOf(key), record, revision, expireMs };
}

/** A copy that can be changed without touching the original. */
export function copyAllocation(record: AllocationRecord): AllocationRecord {
  const copy = Object.assign(create(AllocationRecordSchema), record);
  copy.allocation = Object.assign(create(AllocationSchema), allocationOf(record));
  return copy;
}

/** As callers see it. */
export function publicAllocation({ namespace, record, revision }: KnownAllocation): Allocation {
  return Object.assign(create(AllocationSchema), allocationOf(record), { namespace, revision });
}

const NOTHING: Amounts = {};

/** What it needs of an agent: what it says, and no slot besides. */
export function wantOf(record: AllocationRecord): Want {
  const { capability, placement, resources } = specOf(record);
  return { capability, placement, resources: amountsOf(resources) };
}

/** Whether it reserves anything on an agent: one that asks for budgets alone may be on none. */
export function needsAgent({ capability, placement, resources }: AllocationSpec): boolean {
  return capability !== '' || placement !== undefined || Object.keys(resources).length > 0;
}

/** What a grant takes of quotas. */
export function grantHold(record: AllocationRecord): AccountHold {
  const { resources, budgets } = specOf(record);
  return {
    owner: ownerOf(record),
    resources: amountsOf(resources),
    tasks: 0,
    budgets: amountsOf(budgets),
  };
}

/** What an allocation takes: of an agent (none with agentId ''), and of quotas. */
export interface AllocationHold {
  agentId: string;
  group: string;
  account: AccountHold;
}

/**
 * What it takes as it stands; undefined: nothing. Of one that has ended what it spent stays held until that is taken over into
 * the quotas; the rest of its grant is free at once.
 */
export function holdOfAllocation(record: AllocationRecord): AllocationHold | undefined {
  const { capability, placement } = specOf(record);
  const group = placement?.group || capability;
  const { agentId, spent } = allocationOf(record);
  if (isActive(record)) return { agentId, group, account: grantHold(record) };
  if (!hasEnded(record) || record.settled) return undefined;
  const budgets = amountsOf(spent);
  return { agentId: '', group, account: { owner: ownerOf(record), resources: NOTHING, tasks: 0, budgets } };
}

/** When it was asked for, by the store's clock, milliseconds: with the revision its place among those that wait. */
export function createMsOf(record: AllocationRecord): number {
  const { createTime } = allocationOf(record);
  return createTime === undefined ? 0 : msFromTimestamp(createTime);
}
