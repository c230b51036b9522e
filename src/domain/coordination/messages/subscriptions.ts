import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type CreateSubscriptionRequest,
  CreateSubscriptionRequestSchema,
  type CreateSubscriptionResponse,
  CreateSubscriptionResponseSchema,
  type DeleteSubscriptionRequest,
  type DeleteSubscriptionResponse,
  DeleteSubscriptionResponseSchema,
  type ListSubscriptionsRequest,
  type ListSubscriptionsResponse,
  ListSubscriptionsResponseSchema,
  type Subscription,
  SubscriptionSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { SubscriptionRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Ids } from '../../../lib/ids.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentNotFound, contention, limitReached } from '../../agent/errors.ts';
import { loadAgent } from '../../agent/load.ts';
import { agentKey } from '../../agent/record.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { afterOf, pageOf, pageSize } from './pages.ts';
import {
  decodeSubscription,
  encodeSubscription,
  type KnownSubscription,
  type SubscriptionView,
  subscriptionKey,
} from './subscription-view.ts';

export interface SubscriptionsOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  view: SubscriptionView;
  ids: Ids;
  maxSubscriptions: number;
  /** Resolves once the views of this replica show a revision, or after a while. */
  seen(namespace: string, revision: bigint): Promise<void>;
}

const ATTEMPTS = 8;
const FORMAT = 1;

/** Who receives what is sent to a topic. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /**
   * What is sent to the topic next, by way of this replica, reaches the subscriber.
   * @throws DomainError AGENT_NOT_FOUND, LIMIT_REACHED, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION
   */
  async create(request: CreateSubscriptionRequest, caller: Caller): Promise<CreateSubscriptionResponse> {
    const response = await this.#create(request, caller);
    await this.#options.seen(namespaceOf(request), response.subscription?.revision ?? 0n);
    return response;
  }

  async #create(request: CreateSubscriptionRequest, caller: Caller): Promise<CreateSubscriptionResponse> {
    const { store, storeTime, view, ids, maxSubscriptions } = this.#options;
    const namespace = namespaceOf(request);
    const wanted = request.subscription ?? create(SubscriptionSchema);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'CreateSubscription',
      requestId: request.requestId,
      input: { schema: CreateSubscriptionRequestSchema, message: request },
      output: CreateSubscriptionResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    const id = wanted.id === '' ? `sub-${ids.uuid()}` : wanted.id;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const agent = await loadAgent(store, namespace, wanted.agentId);
      if (agent === undefined) throw agentNotFound(namespace, wanted.agentId);
      const stored = await store.get(namespace, subscriptionKey(id));
      if (stored !== undefined) {
        const there = decodeSubscription(stored.value).subscription;
        if (there?.agentId === wanted.agentId && there.topic === wanted.topic) {
          return create(CreateSubscriptionResponseSchema, {
            subscription: shown(namespace, id, there, stored.revision),
          });
        }
        throw new DomainError({
          reason: ErrorReason.REVISION_MISMATCH,
          message: `subscription ${id} is there already, for another agent or topic; delete it first`,
          metadata: { current_revision: `${stored.revision}` },
        });
      }
      if (view.count(namespace) >= maxSubscriptions) {
        throw limitReached(`namespace ${namespace} has its maximum of ${maxSubscriptions} subscriptions`);
      }
      const subscription = create(SubscriptionSchema, {
        id,
        agentId: wanted.agentId,
        topic: wanted.topic,
        createTime: timestampFromMs(await storeTime.exact()),
      });
      const record = create(SubscriptionRecordSchema, { format: FORMAT, subscription });
      const response = create(CreateSubscriptionResponseSchema, {
        subscription: shown(namespace, id, subscription, 0n),
      });
      const outcome = await store.commit({
        namespace,
        checks: [
          { key: subscriptionKey(id), revision: 0n },
          { key: agentKey(agent.id), revision: agent.revision },
        ],
        puts: [{ key: subscriptionKey(id), value: encodeSubscription(record) }],
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

  /** @throws DomainError SUBSCRIPTION_NOT_FOUND, CONTENTION */
  async delete(request: DeleteSubscriptionRequest): Promise<DeleteSubscriptionResponse> {
    const { store } = this.#options;
    const namespace = namespaceOf(request);
    const key = subscriptionKey(request.subscriptionId);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await store.get(namespace, key);
      if (stored === undefined) {
        throw new DomainError({
          reason: ErrorReason.SUBSCRIPTION_NOT_FOUND,
          message: `there is no subscription ${request.subscriptionId} in namespace ${namespace}`,
        });
      }
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: stored.revision }],
        deletes: [key],
      });
      if (outcome.kind === 'committed')
        return create(DeleteSubscriptionResponseSchema, { revision: outcome.revision });
    }
    throw contention();
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  list(request: ListSubscriptionsRequest): ListSubscriptionsResponse {
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace, request.agentId]);
    const after = afterOf('subscriptions', request.pageToken, print);
    const matching = this.#options.view
      .all(namespace)
      .filter(({ id, agentId }) => id > after && (request.agentId === '' || agentId === request.agentId));
    const { items, nextPageToken } = pageOf(
      'subscriptions',
      matching,
      pageSize(request.pageSize),
      print,
      ({ id }) => id,
    );
    return create(ListSubscriptionsResponseSchema, {
      subscriptions: items.map((known) => ofKnown(namespace, known)),
      nextPageToken,
    });
  }
}

function ofKnown(namespace: string, { id, record, revision }: KnownSubscription): Subscription {
  return shown(namespace, id, record.subscription ?? create(SubscriptionSchema), revision);
}

function shown(namespace: string, id: string, subscription: Subscription, revision: bigint): Subscription {
  return Object.assign(create(SubscriptionSchema), subscription, { namespace, id, revision });
}

function stamped(response: CreateSubscriptionResponse, revision: bigint): CreateSubscriptionResponse {
  if (response.subscription !== undefined) response.subscription.revision = revision;
  return response;
}
