import { create } from '@bufbuild/protobuf';
import {
  type Allocation,
  Allocation_State,
  type ListAllocationsRequest,
  type ListAllocationsResponse,
  ListAllocationsResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { encodePageToken, fingerprint } from '../../../lib/page-token.ts';
import { afterOf, pageSize } from '../../coordination/messages/pages.ts';
import { namespaceOf } from '../../namespaces.ts';
import { publicAllocation } from './allocation-record.ts';
import type { AllocationView } from './allocation-view.ts';
import type { TaskReservations } from './task-reservations.ts';

const PRESENT: readonly Allocation_State[] = [Allocation_State.WAITING, Allocation_State.ACTIVE];
/** Stands before the places of allocations and of tasks' reservations: these come after all others. */
const PLACES = { allocation: 'a', task: 't' };

/** A page of a namespace's allocations by id, those of tasks after the others. @throws DomainError INVALID_FIELDS (page token) */
export function pageOfAllocations(
  request: ListAllocationsRequest,
  { view, reservations }: { view: AllocationView; reservations: TaskReservations },
): ListAllocationsResponse {
  const namespace = namespaceOf(request);
  const { agentId, owner, withTasks } = request;
  const states = new Set<Allocation_State>(request.states.length === 0 ? PRESENT : request.states);
  const print = fingerprint([
    ...[namespace, agentId, owner === undefined ? 'all' : `of ${owner}`],
    [...states].sort(),
    withTasks ? 1 : 0,
  ]);
  const after = afterOf('allocations', request.pageToken, print);
  const size = pageSize(request.pageSize);
  const found: Allocation[] = [];
  const places: string[] = [];
  /** @returns whether there is room for more */
  const take = (place: string, allocation: Allocation): boolean => {
    const isWanted =
      states.has(allocation.state) &&
      (agentId === '' || allocation.agentId === agentId) &&
      (owner === undefined || ownerOf(allocation) === owner);
    if (isWanted) {
      found.push(allocation);
      places.push(place);
    }
    return found.length <= size;
  };
  let room = true;
  for (const id of view.sorted(namespace)) {
    const place = `${PLACES.allocation}${id}`;
    const known = place > after ? view.get(namespace, id) : undefined;
    if (known !== undefined) room = take(place, publicAllocation(known));
    if (!room) break;
  }
  const tasks = withTasks && room ? reservations.all(namespace, agentId) : [];
  for (const allocation of tasks) {
    const place = `${PLACES.task}${allocation.id}`;
    if (place > after && !take(place, allocation)) break;
  }
  const more = found.length > size;
  return create(ListAllocationsResponseSchema, {
    allocations: found.slice(0, size),
    nextPageToken: more
      ? encodePageToken({ kind: 'allocations', fingerprint: print, after: places[size - 1] ?? '' })
      : '',
  });
}

function ownerOf({ spec }: Allocation): string {
  const labels = spec?.labels ?? {};
  return Object.hasOwn(labels, 'owner') ? (labels.owner ?? '') : '';
}
