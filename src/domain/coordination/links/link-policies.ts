import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type DeleteLinkPolicyRequest,
  DeleteLinkPolicyRequestSchema,
  type DeleteLinkPolicyResponse,
  DeleteLinkPolicyResponseSchema,
  type LinkPolicy,
  LinkPolicySchema,
  type ListLinkPoliciesRequest,
  type ListLinkPoliciesResponse,
  ListLinkPoliciesResponseSchema,
  type SetLinkPolicyRequest,
  SetLinkPolicyRequestSchema,
  type SetLinkPolicyResponse,
  SetLinkPolicyResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { LinkPolicyRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Append, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentNotFound, contention, limitReached } from '../../agent/errors.ts';
import { loadAgent } from '../../agent/load.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { afterOf, pageOf, pageSize } from '../messages/pages.ts';
import {
  decodeLinkPolicy,
  encodeLinkPolicy,
  type LinkPolicyView,
  linkPolicyKey,
  shownPolicy,
} from './link-policy-view.ts';

export interface LinkPoliciesOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  view: LinkPolicyView;
  events: EventWriter;
  maxPolicies: number;
}

const ATTEMPTS = 8;
const FORMAT = 1;

/** Sets, removes and lists link policies. */
export class LinkPolicies {
  readonly #options: LinkPoliciesOptions;

  constructor(options: LinkPoliciesOptions) {
    this.#options = options;
  }

  /** @throws DomainError AGENT_NOT_FOUND, REVISION_MISMATCH, LIMIT_REACHED, REQUEST_ID_REUSED, CONTENTION */
  async set(request: SetLinkPolicyRequest, caller: Caller): Promise<SetLinkPolicyResponse> {
    const { store, storeTime, view, maxPolicies } = this.#options;
    const namespace = namespaceOf(request);
    const wanted = request.policy ?? create(LinkPolicySchema);
    const { id } = wanted;
    const mutation = this.#mutation('SetLinkPolicy', caller, request, {
      input: SetLinkPolicyRequestSchema,
      output: SetLinkPolicyResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    const key = linkPolicyKey(id);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (wanted.action.case === 'reroute') {
        const { agentId } = wanted.action.value;
        if ((await loadAgent(store, namespace, agentId)) === undefined)
          throw agentNotFound(namespace, agentId);
      }
      const stored = await store.get(namespace, key);
      mustHave(id, request.expectedRevision, stored?.revision ?? 0n);
      if (stored === undefined && view.count(namespace) >= maxPolicies) {
        throw limitReached(`namespace ${namespace} has its maximum of ${maxPolicies} link policies`);
      }
      const now = timestampFromMs(await storeTime.exact());
      const before = stored && decodeLinkPolicy(stored.value).policy;
      const actor = actorOf(caller, this.#options.directory);
      const policy = create(LinkPolicySchema, {
        id,
        from: wanted.from,
        to: wanted.to,
        priority: wanted.priority,
        action: wanted.action,
        reason: wanted.reason,
        actor,
        createTime: before?.createTime ?? now,
        updateTime: now,
      });
      const response = create(SetLinkPolicyResponseSchema, { policy: shownPolicy(namespace, policy, 0n) });
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: stored?.revision ?? 0n }],
        puts: [{ key, value: encodeLinkPolicy(create(LinkPolicyRecordSchema, { format: FORMAT, policy })) }],
        appends: [this.#event('link.policy_set', `${policyWords(policy)}`, policy, actor)],
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') {
        const first = mutation.repeated(outcome);
        return stamped(first.response, first.revision);
      }
      if (outcome.kind === 'committed') return stamped(response, outcome.revision);
    }
    throw contention();
  }

  /** @throws DomainError LINK_POLICY_NOT_FOUND, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION */
  async delete(request: DeleteLinkPolicyRequest, caller: Caller): Promise<DeleteLinkPolicyResponse> {
    const { store } = this.#options;
    const namespace = namespaceOf(request);
    const { policyId } = request;
    const mutation = this.#mutation('DeleteLinkPolicy', caller, request, {
      input: DeleteLinkPolicyRequestSchema,
      output: DeleteLinkPolicyResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return Object.assign(earlier.response, { revision: earlier.revision });
    const key = linkPolicyKey(policyId);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await store.get(namespace, key);
      const policy = stored && decodeLinkPolicy(stored.value).policy;
      if (stored === undefined || policy === undefined) {
        throw new DomainError({
          reason: ErrorReason.LINK_POLICY_NOT_FOUND,
          message: `there is no link policy ${policyId} in namespace ${namespace}`,
        });
      }
      mustHave(policyId, request.expectedRevision, stored.revision);
      const actor = actorOf(caller, this.#options.directory);
      const response = create(DeleteLinkPolicyResponseSchema);
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: stored.revision }],
        deletes: [key],
        appends: [this.#event('link.policy_deleted', `link policy ${policyId} was removed`, policy, actor)],
        ...mutation.record(response),
      });
      if (outcome.kind === 'conflict') continue;
      const { revision } = outcome.kind === 'repeated' ? mutation.repeated(outcome) : outcome;
      return Object.assign(response, { revision });
    }
    throw contention();
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  list(request: ListLinkPoliciesRequest): ListLinkPoliciesResponse {
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace]);
    const after = afterOf('link-policies', request.pageToken, print);
    const all = this.#options.view.ordered(namespace).map((known) => ({ known, place: placeOf(known) }));
    const { items, nextPageToken } = pageOf(
      'link-policies',
      all.filter(({ place }) => place > after),
      pageSize(request.pageSize),
      print,
      ({ place }) => place,
    );
    return create(ListLinkPoliciesResponseSchema, {
      policies: items.map(({ known }) => shownPolicy(namespace, known.policy, known.revision)),
      nextPageToken,
    });
  }

  #mutation<I extends DescMessage, O extends DescMessage>(
    method: string,
    caller: Caller,
    request: MessageShape<I> & { namespace: string; requestId: string },
    { input, output }: { input: I; output: O },
  ): Mutation<I, O> {
    return new Mutation({
      store: this.#options.store,
      namespace: namespaceOf(request),
      principal: caller.principal,
      method,
      requestId: request.requestId,
      input: { schema: input, message: request },
      output,
    });
  }

  #event(type: string, message: string, policy: LinkPolicy, actor: string): Append {
    const { id: policyId, from, to, reason, action } = policy;
    const why = reason === '' ? '' : `: ${reason}`;
    return this.#options.events.append({
      type,
      severity: Event_Severity.INFO,
      message: message + why,
      actor,
      attributes: { policy_id: policyId, from, to, action: action.case ?? '' },
    });
  }
}

/** What a policy does, in a sentence: for events. */
function policyWords({ id, from, to, action }: LinkPolicy): string {
  const link = `messages from ${from || 'everyone'} to ${to || 'everyone'}`;
  switch (action.case) {
    case 'reroute':
      return `link policy ${id} reroutes ${link} to agent ${action.value.agentId}`;
    case 'throttle':
      return `link policy ${id} throttles ${link} to ${action.value.maxPerSecond} a second${action.value.perLink ? ' for each pair' : ''}`;
    default:
      return `link policy ${id} mutes ${link}`;
  }
}

/** In the order in which they are looked at. */
const placeOf = ({ id, policy }: { id: string; policy: LinkPolicy }): string =>
  `${String(10_000 - policy.priority).padStart(5, '0')}/${id}`;

function mustHave(id: string, expected: bigint | undefined, present: bigint): void {
  if (expected === undefined || expected === present) return;
  throw new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message:
      present === 0n
        ? `link policy ${id} does not exist; revision ${expected} was expected`
        : `link policy ${id} has revision ${present}, not ${expected}`,
    metadata: { current_revision: `${present}` },
  });
}

function stamped(response: SetLinkPolicyResponse, revision: bigint): SetLinkPolicyResponse {
  if (response.policy !== undefined) response.policy.revision = revision;
  return response;
}
