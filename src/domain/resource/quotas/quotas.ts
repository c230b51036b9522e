import { create } from '@bufbuild/protobuf';
import {
  type DeleteQuotaRequest,
  DeleteQuotaRequestSchema,
  type DeleteQuotaResponse,
  DeleteQuotaResponseSchema,
  type GetQuotaRequest,
  type GetQuotaResponse,
  GetQuotaResponseSchema,
  type ListQuotasRequest,
  type ListQuotasResponse,
  ListQuotasResponseSchema,
  type Quota,
  QuotaSchema,
  type UpdateQuotaRequest,
  UpdateQuotaRequestSchema,
  type UpdateQuotaResponse,
  UpdateQuotaResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { QuotaRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import { admitNamespace } from '../../agent/admit-namespace.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, limitReached } from '../../agent/errors.ts';
import { afterOf, pageOf, pageSize } from '../../coordination/messages/pages.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { type ChangeOutcome, QuotaChanges, type QuotaChangesOptions } from './quota-change.ts';
import { mustHaveRevision, quotaInUse, quotaNotFound } from './quota-errors.ts';
import { specRevisionOf } from './quota-record.ts';
import { isUnsettled, loweredBy, wishOf } from './quota-rules.ts';
import type { QuotaView } from './quota-view.ts';

export interface QuotasOptions extends QuotaChangesOptions {
  view: QuotaView;
  directory: AgentDirectory;
  /** Quotas that a namespace may have. */
  maxQuotas: number;
  maxNamespaces: number;
}

const ATTEMPTS = 16;

/** Sets, removes and shows quotas and budgets. */
export class Quotas {
  readonly #options: QuotasOptions;
  readonly #changes: QuotaChanges;

  constructor(options: QuotasOptions) {
    this.#options = options;
    this.#changes = new QuotaChanges(options);
  }

  /**
   * @throws DomainError QUOTA_IN_USE, REVISION_MISMATCH, LIMIT_REACHED, REQUEST_ID_REUSED, CONTENTION, REVISION_NOT_SEEN;
   * StoreUnavailableError
   */
  async update(request: UpdateQuotaRequest, caller: Caller): Promise<UpdateQuotaResponse> {
    const { store, storeTime, directory } = this.#options;
    const quota = request.quota ?? create(QuotaSchema);
    const namespace = namespaceOf(quota);
    const { owner } = quota;
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'UpdateQuota' },
      requestId: request.requestId,
      input: { schema: UpdateQuotaRequestSchema, message: request },
      output: UpdateQuotaResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    admitNamespace(directory, namespace, this.#options.maxNamespaces);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await this.#changes.load(namespace, owner);
      const { record, revision } = stored;
      if (record !== undefined && isUnsettled(record)) {
        await this.#changes.finish(stored);
        continue;
      }
      mustHaveRevision(
        owner,
        request.expectedRevision,
        record === undefined ? 0n : specRevisionOf(record, revision),
      );
      if (record === undefined) this.#admit(namespace);
      const nowMs = await storeTime.exact();
      const actor = actorOf(caller, directory);
      const wanted = wishOf({ quota, actor, resetSpent: request.resetSpent }, record, nowMs);
      const answer = (next: QuotaRecord | undefined, at: bigint): UpdateQuotaResponse =>
        create(UpdateQuotaResponseSchema, next && { quota: this.#shown(namespace, owner, next, at, nowMs) });
      const remember = (next: QuotaRecord | undefined) => mutation.record(answer(next, 0n));
      const outcome =
        loweredBy(record, wanted).length === 0
          ? await this.#changes.atOnce(stored, wanted, nowMs, remember)
          : await this.#changes.inTwoSteps(stored, wanted, nowMs, remember);
      if (outcome.kind === 'repeated') {
        const first = mutation.repeated(outcome);
        return stamped(first.response, first.revision);
      }
      if (outcome.kind === 'done') return answer(outcome.record, outcome.revision);
      refuse(owner, outcome);
    }
    throw contention();
  }

  /**
   * @throws DomainError QUOTA_NOT_FOUND, QUOTA_IN_USE, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION, REVISION_NOT_SEEN;
   * StoreUnavailableError
   */
  async delete(request: DeleteQuotaRequest, caller: Caller): Promise<DeleteQuotaResponse> {
    const { store, storeTime, directory } = this.#options;
    const namespace = namespaceOf(request);
    const { owner } = request;
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'DeleteQuota' },
      requestId: request.requestId,
      input: { schema: DeleteQuotaRequestSchema, message: request },
      output: DeleteQuotaResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return removedAt(earlier.revision);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await this.#changes.load(namespace, owner);
      const { record, revision } = stored;
      if (record !== undefined && isUnsettled(record)) {
        await this.#changes.finish(stored);
        continue;
      }
      if (record?.quota === undefined) throw quotaNotFound(namespace, owner);
      mustHaveRevision(owner, request.expectedRevision, specRevisionOf(record, revision));
      const actor = actorOf(caller, directory);
      const remember = () => mutation.record(create(DeleteQuotaResponseSchema));
      const outcome =
        record.quota.budgets.length === 0
          ? await this.#changes.removeAtOnce(stored, actor, remember)
          : await this.#changes.inTwoSteps(
              stored,
              { removal: true, actor },
              await storeTime.exact(),
              remember,
            );
      if (outcome.kind === 'repeated') return removedAt(mutation.repeated(outcome).revision);
      if (outcome.kind === 'done') return removedAt(outcome.revision);
      refuse(owner, outcome);
    }
    throw contention();
  }

  /** @throws DomainError QUOTA_NOT_FOUND */
  get(request: GetQuotaRequest): GetQuotaResponse {
    const namespace = namespaceOf(request);
    const quota = this.#quota(namespace, request.owner, this.#options.storeTime.ms());
    if (quota === undefined) throw quotaNotFound(namespace, request.owner);
    return create(GetQuotaResponseSchema, { quota });
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  list(request: ListQuotasRequest): ListQuotasResponse {
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace]);
    // The namespace's own has no name: every owner stands behind a slash.
    const after = afterOf('quotas', request.pageToken, print);
    const places = this.#options.view.sorted(namespace).map((owner) => `/${owner}`);
    const rest = places.filter((place) => place > after);
    const page = pageOf('quotas', rest, pageSize(request.pageSize), print, (place) => place);
    const nowMs = this.#options.storeTime.ms();
    return create(ListQuotasResponseSchema, {
      quotas: page.items.flatMap((place) => this.#quota(namespace, place.slice(1), nowMs) ?? []),
      nextPageToken: page.nextPageToken,
    });
  }

  #quota(namespace: string, owner: string, nowMs: number): Quota | undefined {
    const known = this.#options.view.get(namespace, owner);
    if (known?.record.quota === undefined) return undefined;
    return this.#shown(namespace, owner, known.record, known.revision, nowMs);
  }

  #shown(namespace: string, owner: string, record: QuotaRecord, revision: bigint, nowMs: number): Quota {
    const quota = this.#options.accounts(namespace).shown(owner, record, revision, nowMs);
    return Object.assign(quota, { namespace });
  }

  #admit(namespace: string): void {
    const { view, maxQuotas } = this.#options;
    if (view.count(namespace) < maxQuotas) return;
    throw limitReached(`namespace ${namespace} has its maximum of ${maxQuotas} quotas`);
  }
}

function refuse(owner: string, outcome: ChangeOutcome): void {
  if (outcome.kind === 'in_use') throw quotaInUse(owner, outcome.found);
}

function stamped(response: UpdateQuotaResponse, revision: bigint): UpdateQuotaResponse {
  if (response.quota !== undefined) response.quota.revision = revision;
  return response;
}

const removedAt = (revision: bigint): DeleteQuotaResponse => create(DeleteQuotaResponseSchema, { revision });
