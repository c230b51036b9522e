import { create, fromBinary } from '@bufbuild/protobuf';
import { WorkSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  DeadLetterSchema,
  type DeliveryStatus,
  DeliveryStatusSchema,
  type ListDeadLettersRequest,
  type ListDeadLettersResponse,
  ListDeadLettersResponseSchema,
  type ListDeliveriesRequest,
  type ListDeliveriesResponse,
  ListDeliveriesResponseSchema,
  type RedriveDeadLettersRequest,
  RedriveDeadLettersRequestSchema,
  type RedriveDeadLettersResponse,
  RedriveDeadLettersResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  DeadLetterRecordSchema,
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { DeliveriesConfig } from '../../../config/config.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Ids } from '../../../lib/ids.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Entry, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { agentNotFound, contention, mailboxFull } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { DEAD_PREFIX, deadKey, encodeDelivery, mailKey } from '../delivery-record.ts';
import { LinkRefusal, type Links, type Routing } from '../links/links.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { orderingKeyOf, targetOfDelivery } from './message-record.ts';
import { afterOf, pageOf, pageSize } from './pages.ts';

export interface DeadLettersOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  links: Links;
  ids: Ids;
  config: DeliveriesConfig;
  maxMailbox: number;
}

const ATTEMPTS = 8;
const MAX_REDRIVEN = 256;
const SCANNED = 1000;

/** What waits in mailboxes, and what was given up; and puts the latter back. */
export class DeadLetters {
  readonly #options: DeadLettersOptions;

  constructor(options: DeadLettersOptions) {
    this.#options = options;
  }

  /** @throws DomainError AGENT_NOT_FOUND, INVALID_FIELDS (page token) */
  deliveries(request: ListDeliveriesRequest): ListDeliveriesResponse {
    const { mailboxes, directory } = this.#options;
    const namespace = namespaceOf(request);
    if (directory.get(namespace, request.agentId) === undefined)
      throw agentNotFound(namespace, request.agentId);
    const print = fingerprint([namespace, request.agentId]);
    const after = afterOf('deliveries', request.pageToken, print);
    const all = mailboxes.of(namespace, request.agentId);
    // By its place: what was finished meanwhile leaves no gap.
    const from =
      after === ''
        ? 0
        : all.findIndex(({ createdRevision, record }) => placeOf(createdRevision, record) > after);
    const { items, nextPageToken } = pageOf(
      'deliveries',
      from < 0 ? [] : all.slice(from),
      pageSize(request.pageSize),
      print,
      ({ createdRevision, record }) => placeOf(createdRevision, record),
    );
    return create(ListDeliveriesResponseSchema, {
      deliveries: items.map(({ record }) => statusOf(record)),
      nextPageToken,
    });
  }

  /** @throws DomainError INVALID_FIELDS (page token); StoreUnavailableError */
  async list(request: ListDeadLettersRequest): Promise<ListDeadLettersResponse> {
    const namespace = namespaceOf(request);
    const print = fingerprint([namespace, request.agentId]);
    const after = afterOf('dead-letters', request.pageToken, print);
    const size = pageSize(request.pageSize);
    const page = await this.#options.store.scan(namespace, {
      prefix: prefixOf(request.agentId),
      limit: size,
      ...(after === '' ? {} : { after }),
    });
    const { nextPageToken } = pageOf(
      'dead-letters',
      page.more ? [...page.entries, ...page.entries.slice(-1)] : page.entries,
      page.entries.length,
      print,
      ({ key }) => key,
    );
    return create(ListDeadLettersResponseSchema, {
      deadLetters: page.entries.map(({ value }) => {
        const { delivery, reason, error, time } = fromBinary(DeadLetterRecordSchema, value);
        const status = statusOf(delivery ?? create(DeliveryRecordSchema));
        return create(DeadLetterSchema, {
          delivery: status,
          reason,
          error,
          ...(time === undefined ? {} : { time }),
        });
      }),
      nextPageToken,
    });
  }

  /**
   * What link policies keep back stays a dead letter.
   * @throws DomainError DEAD_LETTER_NOT_FOUND, AGENT_NOT_FOUND, MAILBOX_FULL, REQUEST_ID_REUSED, CONTENTION; LINK_MUTED,
   * LINK_THROTTLED when policies keep all of them back
   */
  async redrive(request: RedriveDeadLettersRequest, caller: Caller): Promise<RedriveDeadLettersResponse> {
    const { store } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'RedriveDeadLetters',
      requestId: request.requestId,
      input: { schema: RedriveDeadLettersRequestSchema, message: request },
      output: RedriveDeadLettersResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return earlier.response;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const routings: Routing[] = [];
      try {
        const letters = await this.#named(namespace, request);
        const wanted = letters.slice(0, MAX_REDRIVEN);
        const { chosen, puts } = await this.#back(namespace, wanted, request.toAgentId, caller, routings);
        const response = create(RedriveDeadLettersResponseSchema, {
          redriven: chosen.length,
          left: letters.length - chosen.length,
        });
        const outcome = await store.commit({
          namespace,
          checks: chosen.map(({ key, revision }) => ({ key, revision })),
          puts,
          deletes: chosen.map(({ key }) => key),
          ...mutation.record(response),
        });
        if (outcome.kind === 'committed') {
          for (const routing of routings.splice(0)) routing.stored();
          return response;
        }
        if (outcome.kind === 'repeated') return mutation.repeated(outcome).response;
      } finally {
        for (const routing of routings) routing.undo();
      }
    }
    throw contention();
  }

  async #named(namespace: string, { agentId, deliveryIds }: RedriveDeadLettersRequest): Promise<Entry[]> {
    const { store } = this.#options;
    if (agentId !== '' && deliveryIds.length > 0) {
      const found = await Promise.all(deliveryIds.map((id) => store.get(namespace, deadKey(agentId, id))));
      return found.map((entry, index) => {
        if (entry === undefined) throw notThere(deliveryIds[index] ?? '');
        return entry;
      });
    }
    const { entries } = await store.scan(namespace, { prefix: prefixOf(agentId), limit: SCANNED });
    if (deliveryIds.length === 0) return entries;
    const byId = new Map(entries.map((entry) => [entry.key.slice(entry.key.lastIndexOf('/') + 1), entry]));
    return deliveryIds.map((id) => {
      const entry = byId.get(id);
      if (entry === undefined) throw notThere(id);
      return entry;
    });
  }

  /** @param routings are added to: what link policies made of the letters */
  async #back(
    namespace: string,
    letters: readonly Entry[],
    toAgentId: string,
    caller: Caller,
    routings: Routing[],
  ) {
    const { storeTime, directory, mailboxes, ids, config, maxMailbox } = this.#options;
    const storeMs = await storeTime.exact();
    const added = new Map<string, number>();
    const chosen: Entry[] = [];
    const puts: { key: string; value: Uint8Array }[] = [];
    let refused: DomainError | undefined;
    for (const [index, letter] of letters.entries()) {
      const { delivery } = fromBinary(DeadLetterRecordSchema, letter.value);
      const record = create(DeliveryRecordSchema);
      Object.assign(record, delivery);
      const wanted = toAgentId === '' ? record.agentId : toAgentId;
      let routing: Routing | undefined;
      try {
        routing = this.#route(namespace, record, wanted, caller);
      } catch (error) {
        if (!(error instanceof LinkRefusal)) throw error;
        error.tell();
        refused ??= error;
        continue;
      }
      const agentId = routing?.to[0] ?? wanted;
      const mark = routing?.marks.get(agentId);
      if (routing !== undefined) routings.push(routing);
      if (directory.get(namespace, agentId) === undefined) throw agentNotFound(namespace, agentId);
      const count = added.get(agentId) ?? mailboxes.count(namespace, agentId);
      if (count >= maxMailbox) throw mailboxFull(agentId, maxMailbox);
      added.set(agentId, count + 1);
      // A new delivery with the old item: tries and attempts begin anew, nobody waits for an answer any more.
      Object.assign(record, {
        id: `re-${ids.uuid()}`,
        agentId,
        accepted: false,
        attempt: 0n,
        sessionEpoch: 0n,
        tries: 0,
        createdRevision: 0n,
        index,
        wantsAnswer: false,
        linkPolicyId: mark?.policyId ?? '',
        reroutedFrom: mark?.reroutedFrom ?? '',
        lastAnswer: '',
        lastError: '',
        createTime: timestampFromMs(storeMs),
        expireTime: timestampFromMs(storeMs + config.expireAfterMs),
      });
      delete record.notBefore;
      routing?.counted(() => record.id);
      chosen.push(letter);
      puts.push({ key: mailKey(agentId, record.id), value: encodeDelivery(record) });
    }
    if (refused !== undefined && chosen.length === 0) throw refused;
    return { chosen, puts };
  }

  /** Policies look at who sent the message, not at who puts it back. */
  #route(namespace: string, record: DeliveryRecord, agentId: string, caller: Caller): Routing | undefined {
    if (record.item.case !== 'message') return undefined;
    const message = record.item.value;
    const sent = {
      namespace,
      message,
      agentId: message.source,
      caller,
      target: targetOfDelivery(record),
      call: false,
    };
    return this.#options.links.route(sent, [agentId]);
  }
}

const prefixOf = (agentId: string): string => (agentId === '' ? DEAD_PREFIX : `${DEAD_PREFIX}${agentId}/`);

const placeOf = (createdRevision: bigint, record: DeliveryRecord): string =>
  `${String(createdRevision).padStart(20, '0')}-${String(record.index).padStart(10, '0')}`;

const notThere = (id: string): DomainError =>
  new DomainError({ reason: ErrorReason.DEAD_LETTER_NOT_FOUND, message: `there is no dead letter ${id}` });

/** A delivery from the outside. */
function statusOf(record: DeliveryRecord): DeliveryStatus {
  const status = create(DeliveryStatusSchema, {
    work: create(WorkSchema, { deliveryId: record.id, attempt: record.attempt }),
    agentId: record.agentId,
    accepted: record.accepted,
    tries: record.tries,
    orderingKey: record.item.case === 'message' ? orderingKeyOf(record) : record.orderingKey,
    ...(record.createTime === undefined ? {} : { createTime: record.createTime }),
    ...(record.expireTime === undefined ? {} : { expireTime: record.expireTime }),
  });
  status.item = record.item;
  return status;
}
