import { create } from '@bufbuild/protobuf';
import {
  type Allocation,
  type GetAllocationRequest,
  type GetAllocationResponse,
  GetAllocationResponseSchema,
  type ListAllocationsRequest,
  type ListAllocationsResponse,
  type ReleaseAllocationRequest,
  ReleaseAllocationRequestSchema,
  type ReleaseAllocationResponse,
  ReleaseAllocationResponseSchema,
  type RenewAllocationRequest,
  type RenewAllocationResponse,
  RenewAllocationResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, invalidFields } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { allocationEnded, allocationNotFound, isOfTask, mustHaveRevision } from './allocation-errors.ts';
import { pageOfAllocations } from './allocation-list.ts';
import {
  allocationKey,
  encodeAllocation,
  hasEnded,
  isActive,
  type KnownAllocation,
  knownAllocation,
  publicAllocation,
} from './allocation-record.ts';
import { released, renewed, type Spent, spentFaults } from './allocation-rules.ts';
import type { AllocationView } from './allocation-view.ts';
import { reservationOf, type TaskReservations } from './task-reservations.ts';

export interface AllocationsOptions {
  store: Store;
  storeTime: StoreTime;
  view: AllocationView;
  directory: AgentDirectory;
  reservations: TaskReservations;
}

const ATTEMPTS = 16;

/** Keeps, gives back and shows allocations. */
export class Allocations {
  readonly #options: AllocationsOptions;

  constructor(options: AllocationsOptions) {
    this.#options = options;
  }

  /**
   * One whose lease has passed is kept as long as nobody has taken it away: what it reserves is still its own.
   * @throws DomainError ALLOCATION_NOT_FOUND, ALLOCATION_ENDED, REVISION_MISMATCH, INVALID_FIELDS, CONTENTION
   */
  async renew(request: RenewAllocationRequest): Promise<RenewAllocationResponse> {
    const { store, storeTime } = this.#options;
    const { allocationId: id, spent, lease } = request;
    const namespace = namespaceOf(request);
    const key = allocationKey(id);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await this.#stored(namespace, id);
      if (!isActive(known.record)) throw allocationEnded(id, known.record);
      mustHaveRevision(id, request.expectedRevision, known.revision);
      mustBeSpent(known, spent);
      const leaseMs = lease === undefined ? undefined : msFromDuration(lease);
      const next = renewed(known.record, { leaseMs, spent }, await storeTime.exact());
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: known.revision }],
        puts: [{ key, value: encodeAllocation(next) }],
      });
      if (outcome.kind === 'committed') {
        const { revision } = outcome;
        return create(RenewAllocationResponseSchema, {
          allocation: publicAllocation({ ...known, record: next, revision }),
        });
      }
    }
    throw contention();
  }

  /**
   * @throws DomainError ALLOCATION_NOT_FOUND, ALLOCATION_ENDED, REVISION_MISMATCH, INVALID_FIELDS, REQUEST_ID_REUSED,
   * CONTENTION
   */
  async release(request: ReleaseAllocationRequest, caller: Caller): Promise<ReleaseAllocationResponse> {
    const { store, storeTime, directory } = this.#options;
    const { allocationId: id, spent } = request;
    const namespace = namespaceOf(request);
    const key = allocationKey(id);
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'ReleaseAllocation' },
      requestId: request.requestId,
      input: { schema: ReleaseAllocationRequestSchema, message: request },
      output: ReleaseAllocationResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await this.#stored(namespace, id);
      if (hasEnded(known.record)) throw allocationEnded(id, known.record);
      mustHaveRevision(id, request.expectedRevision, known.revision);
      mustBeSpent(known, spent);
      const next = released(
        known.record,
        { spent, actor: actorOf(caller, directory) },
        await storeTime.exact(),
      );
      const answer = (revision: bigint): ReleaseAllocationResponse =>
        create(ReleaseAllocationResponseSchema, {
          allocation: publicAllocation({ ...known, record: next, revision }),
        });
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: known.revision }],
        puts: [{ key, value: encodeAllocation(next) }],
        ...mutation.record(answer(0n)),
      });
      if (outcome.kind === 'repeated') {
        const first = mutation.repeated(outcome);
        return stamped(first.response, first.revision);
      }
      if (outcome.kind === 'committed') return answer(outcome.revision);
    }
    throw contention();
  }

  /** @throws DomainError ALLOCATION_NOT_FOUND; StoreUnavailableError */
  async get(request: GetAllocationRequest): Promise<GetAllocationResponse> {
    const namespace = namespaceOf(request);
    const { allocationId: id } = request;
    if (reservationOf(id) === undefined) {
      return create(GetAllocationResponseSchema, {
        allocation: publicAllocation(await this.#stored(namespace, id)),
      });
    }
    const allocation: Allocation | undefined = this.#options.reservations.get(namespace, id);
    if (allocation === undefined) throw allocationNotFound(namespace, id);
    return create(GetAllocationResponseSchema, { allocation });
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  list(request: ListAllocationsRequest): ListAllocationsResponse {
    return pageOfAllocations(request, this.#options);
  }

  async #stored(namespace: string, id: string): Promise<KnownAllocation> {
    if (reservationOf(id) !== undefined) {
      const isThere = this.#options.reservations.get(namespace, id) !== undefined;
      throw isThere ? isOfTask(id) : allocationNotFound(namespace, id);
    }
    const key = allocationKey(id);
    const entry = await this.#options.store.get(namespace, key);
    if (entry === undefined) throw allocationNotFound(namespace, id);
    return knownAllocation(namespace, key, entry.value, entry.revision);
  }
}

function mustBeSpent({ record }: KnownAllocation, spent: Spent): void {
  const faults = spentFaults(record, spent);
  if (faults.length === 0) return;
  const told = faults.map(({ field, description }) => `${field} ${description}`).join('; ');
  throw invalidFields(told, faults);
}

function stamped(response: ReleaseAllocationResponse, revision: bigint): ReleaseAllocationResponse {
  if (response.allocation !== undefined) response.allocation.revision = revision;
  return response;
}
