import { create } from '@bufbuild/protobuf';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  Allocation_State,
  type AllocationSpec,
  AllocationSpecSchema,
  type CreateAllocationRequest,
  CreateAllocationRequestSchema,
  type CreateAllocationResponse,
  CreateAllocationResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Ids } from '../../../lib/ids.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, limitReached } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import type { Accounts } from '../accounts/accounts.ts';
import { amountsOf } from '../amounts.ts';
import type { AgentPool } from '../pool/agent-pool.ts';
import {
  allocationExists,
  allocationNotFound,
  budgetUnknown,
  noScheduler,
  notGranted,
  unplaceable,
} from './allocation-errors.ts';
import {
  allocationKey,
  allocationOf,
  decodeAllocation,
  encodeAllocation,
  isWaiting,
  type KnownAllocation,
  knownAllocation,
  needsAgent,
  publicAllocation,
} from './allocation-record.ts';
import { asked, refused, specHash } from './allocation-rules.ts';
import type { AllocationView } from './allocation-view.ts';
import type { AllocationWaits } from './allocation-waits.ts';

export interface CreateAllocationOptions {
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor'>;
  view: AllocationView;
  waits: AllocationWaits;
  directory: AgentDirectory;
  clock: Clock;
  ids: Ids;
  /** Of a namespace: what there is and what is taken, as far as this replica has seen. */
  ledger(namespace: string): { pool: AgentPool; accounts: Accounts };
  /** Allocations of a namespace that have not ended. */
  maxAllocations: number;
}

/** How a caller waits: until its deadline, and not when it has gone away. */
export interface Waiting {
  signal: AbortSignal;
  /** Milliseconds until the call's deadline, or undefined. */
  timeLeftMs: number | undefined;
}

const ATTEMPTS = 16;
/** The answer has to reach the caller before its deadline. */
const MARGIN_MS = 100;
/** So long beyond the wait the scheduler has to say no. */
const SCHEDULER_MS = 3000;
const SEEN_MS = 2000;

/** Asks for allocations: stores that one is wanted, and waits for what the namespace's scheduler makes of it. */
export class CreateAllocation {
  readonly #options: CreateAllocationOptions;

  constructor(options: CreateAllocationOptions) {
    this.#options = options;
  }

  /**
   * @throws DomainError NO_ROOM, BUDGET_SPENT, UNPLACEABLE, BUDGET_UNKNOWN, ALLOCATION_EXISTS, NO_SCHEDULER, LIMIT_REACHED,
   * REQUEST_ID_REUSED, CONTENTION; StoreUnavailableError
   */
  async create(
    request: CreateAllocationRequest,
    caller: Caller,
    waiting: Waiting,
  ): Promise<CreateAllocationResponse> {
    const { store, clock, ids } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'CreateAllocation' },
      requestId: request.requestId,
      input: { schema: CreateAllocationRequestSchema, message: request },
      output: CreateAllocationResponseSchema,
    });
    const waitMs = request.wait === undefined ? 0 : msFromDuration(request.wait);
    const leftMs = Math.max(0, (waiting.timeLeftMs ?? Number.POSITIVE_INFINITY) - MARGIN_MS);
    const waitedMs = Math.min(waitMs, leftMs);
    const untilMs = clock.monoMs() + waitedMs;
    const spec = request.spec ?? create(AllocationSpecSchema);
    const earlier = await mutation.earlier();
    const id = earlier?.response.allocation?.id ?? (request.allocationId || `a-${ids.uuid()}`);
    const ask = { namespace, id, spec, waitMs: waitedMs, actor: actorOf(caller, this.#options.directory) };
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      // What is remembered of a request is which allocation it made; one that was refused begins anew.
      const outcome = await this.#ask(ask, earlier === undefined ? mutation : undefined);
      if (outcome.kind === 'again') continue;
      if (outcome.kind === 'repeated') {
        const first = mutation.repeated(outcome).response.allocation?.id ?? id;
        return this.#settled({ namespace, id: first, revision: 0n }, untilMs, waiting, false);
      }
      const { revision, own } = outcome;
      return this.#settled({ namespace, id, revision }, untilMs, waiting, own);
    }
    throw contention();
  }

  async #ask(
    wanted: { namespace: string; id: string; spec: AllocationSpec; waitMs: number; actor: string },
    mutation:
      | Mutation<typeof CreateAllocationRequestSchema, typeof CreateAllocationResponseSchema>
      | undefined,
  ): Promise<
    | { kind: 'asked'; revision: bigint; own: boolean }
    | { kind: 'again' }
    | { kind: 'repeated'; revision: bigint; fingerprint: Uint8Array; response: Uint8Array }
  > {
    const { store, storeTime, view, maxAllocations } = this.#options;
    const { namespace, id, spec, waitMs, actor } = wanted;
    const key = allocationKey(id);
    const entry = await store.get(namespace, key);
    if (entry !== undefined) {
      const present = decodeAllocation(entry.value);
      if (!Buffer.from(present.specHash).equals(specHash(spec))) throw allocationExists(id);
      if (allocationOf(present).state !== Allocation_State.REFUSED) {
        return { kind: 'asked', revision: entry.revision, own: false };
      }
    }
    await this.#mustBePossible(namespace, spec);
    if (view.open(namespace) >= maxAllocations) {
      throw limitReached(`namespace ${namespace} has its maximum of ${maxAllocations} allocations`);
    }
    const storeMs = await storeTime.exact();
    const record = asked(spec, { id, actor, storeMs, waitUntilMs: storeMs + waitMs });
    const allocation = Object.assign({}, allocationOf(record), { namespace });
    const outcome = await store.commit({
      namespace,
      checks: [{ key, revision: entry?.revision ?? 0n }],
      puts: [{ key, value: encodeAllocation(record) }],
      ...(mutation?.record(create(CreateAllocationResponseSchema, { allocation })) ?? {}),
    });
    if (outcome.kind === 'repeated') return outcome;
    if (outcome.kind === 'conflict') return { kind: 'again' };
    return { kind: 'asked', revision: outcome.revision, own: true };
  }

  /** @throws DomainError UNPLACEABLE, BUDGET_UNKNOWN */
  async #mustBePossible(namespace: string, spec: AllocationSpec): Promise<void> {
    if (this.#fault(namespace, spec) === undefined) return;
    // Another replica may have heard of an agent or quota that this one has not seen yet.
    const { store, views } = this.#options;
    const { revision } = await store.position(namespace);
    await views.waitFor(namespace, revision, SEEN_MS);
    const fault = this.#fault(namespace, spec);
    if (fault !== undefined) throw fault;
  }

  #fault(namespace: string, spec: AllocationSpec) {
    const { capability, placement, resources, budgets, labels } = spec;
    const { pool, accounts } = this.#options.ledger(namespace);
    const owner = Object.hasOwn(labels, 'owner') ? (labels.owner ?? '') : '';
    for (const name of Object.keys(budgets)) {
      if (!accounts.knowsBudget(owner, name)) return budgetUnknown(owner, name);
    }
    if (!needsAgent(spec)) return undefined;
    const wanted = pool.classOf({ capability, placement, resources: amountsOf(resources) });
    try {
      if (pool.choose(wanted) !== undefined) return undefined;
      const explanation = pool.explain(wanted);
      return explanation.couldEver ? undefined : unplaceable(explanation);
    } finally {
      pool.release(wanted);
    }
  }

  /** Waits for what becomes of it. @param own this call asked for it, and takes that back if nobody waits any more */
  async #settled(
    { namespace, id, revision }: { namespace: string; id: string; revision: bigint },
    untilMs: number,
    waiting: Waiting,
    own: boolean,
  ): Promise<CreateAllocationResponse> {
    const { view, waits, clock } = this.#options;
    for (;;) {
      const known = view.get(namespace, id);
      if (known !== undefined && known.revision >= revision && !isWaiting(known.record)) return answer(known);
      const leftMs = untilMs + SCHEDULER_MS - clock.monoMs();
      if (leftMs <= 0 || waiting.signal.aborted) break;
      await waits.change(namespace, id, leftMs, waiting.signal);
    }
    const gone = waiting.signal.aborted;
    // Somebody else waits for it still.
    if (gone && (!own || waits.count(namespace, id) > 0)) throw noScheduler(namespace);
    const why = gone
      ? { reason: PendingReason.TURN, detail: 'whoever asked for it went away while it waited' }
      : { reason: PendingReason.NEW, detail: 'no replica reserves at the moment' };
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await this.#stored(namespace, id);
      if (!isWaiting(stored.record)) return answer(stored);
      const { store, storeTime } = this.#options;
      const storeMs = await storeTime.exact();
      if (!own && Number(stored.record.waitUntilMs) + SCHEDULER_MS > storeMs) {
        throw notGranted(id, stored.record);
      }
      const next = refused(stored.record, why, storeMs);
      const key = allocationKey(id);
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: stored.revision }],
        puts: [{ key, value: encodeAllocation(next) }],
      });
      if (outcome.kind === 'committed') throw noScheduler(namespace);
    }
    throw contention();
  }

  async #stored(namespace: string, id: string): Promise<KnownAllocation> {
    const key = allocationKey(id);
    const entry = await this.#options.store.get(namespace, key);
    if (entry === undefined) throw allocationNotFound(namespace, id);
    return knownAllocation(namespace, key, entry.value, entry.revision);
  }
}

function answer(known: KnownAllocation): CreateAllocationResponse {
  const allocation = publicAllocation(known);
  if (allocation.state === Allocation_State.REFUSED) throw notGranted(known.id, known.record);
  return create(CreateAllocationResponseSchema, { allocation });
}
