import { Allocation_State } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import {
  allocationKey,
  allocationOf,
  type KnownAllocation,
} from '../../resource/allocations/allocation-record.ts';
import { type Amounts, amountsOf, withSlots } from '../../resource/amounts.ts';
import type { Want } from '../../resource/pool/types.ts';
import { ownBudgets } from './budgets.ts';
import { createMsOf, isPresent, type KnownTask, ownerOf, specOf, taskKey, taskOf } from './task-record.ts';
import type { Item } from './waiting.ts';

const NO_REFUSALS: ReadonlyMap<string, number> = new Map();
const NOTHING: Amounts = {};

/** What a task needs of an agent. */
export function wantOf({ record }: Pick<KnownTask, 'record'>): Want {
  const { capability, placement, resources } = specOf(record);
  return { capability, placement, resources: withSlots(amountsOf(resources), 1) };
}

/** A task as something that waits for room. */
export function itemOfTask(known: KnownTask, agingMs: number): Item {
  const { id, record, createdRevision } = known;
  const spec = specOf(record);
  const task = taskOf(record);
  const createMs = createMsOf(record);
  const want = wantOf(known);
  const owner = ownerOf(record);
  const since = task.pending?.sinceTime;
  const notBefore = task.pending?.notBeforeTime;
  return {
    key: taskKey(id),
    kind: 'task',
    id,
    owner,
    want,
    hold: { owner, resources: want.resources, tasks: 1, budgets: ownBudgets(record) ?? NOTHING },
    rank: createMs - spec.priority * agingMs,
    order: [createdRevision, record.index],
    notBeforeMs: notBefore === undefined ? 0 : msFromTimestamp(notBefore),
    refusals: refusalsOf(known),
    orderingKey: spec.orderingKey,
    sinceMs: since === undefined ? createMs : msFromTimestamp(since),
  };
}

/** Agents that are left out: they refused it of late, or hold an attempt at it that may come back. */
function refusalsOf({ record }: KnownTask): ReadonlyMap<string, number> {
  if (record.refusals.length === 0 && record.live.length === 0) return NO_REFUSALS;
  const refusals = new Map<string, number>();
  for (const { agentId, untilMs } of record.refusals) refusals.set(agentId, Number(untilMs));
  for (const live of record.live) if (!isPresent(live)) refusals.set(live.agentId, Number.POSITIVE_INFINITY);
  return refusals;
}

/** An allocation as something that waits; undefined: it does not. */
export function itemOfAllocation(known: KnownAllocation, agingMs: number): Item | undefined {
  const allocation = allocationOf(known.record);
  const { spec } = allocation;
  if (allocation.state !== Allocation_State.WAITING || spec === undefined) return undefined;
  const owner = spec.labels.owner ?? '';
  const resources = amountsOf(spec.resources);
  const createMs = allocation.createTime === undefined ? 0 : msFromTimestamp(allocation.createTime);
  return {
    key: allocationKey(known.id),
    kind: 'allocation',
    id: known.id,
    owner,
    want: { capability: spec.capability, placement: spec.placement, resources },
    hold: { owner, resources, tasks: 0, budgets: amountsOf(spec.budgets) },
    rank: createMs - spec.priority * agingMs,
    order: [known.revision, 0],
    notBeforeMs: 0,
    refusals: NO_REFUSALS,
    orderingKey: '',
    sinceMs: createMs,
  };
}
