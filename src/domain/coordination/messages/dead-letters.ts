import { create, fromBinary } from '@bufbuild/protobuf';
import { WorkSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
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
  type RedriveDeadLettersResponse,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  DeadLetterRecordSchema,
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import type { Caller } from '../../agent/caller.ts';
import { agentNotFound } from '../../agent/errors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { attemptsOf } from '../delivery-record.ts';
import { letterPrefix } from './letters.ts';
import { orderingKeyOf } from './message-record.ts';
import { afterOf, pageOf, pageSize } from './pages.ts';
import { Redrive, type RedriveOptions } from './redrive.ts';

/** What waits in mailboxes, and what was given up; and puts the latter back. */
export class DeadLetters {
  readonly #options: RedriveOptions;
  readonly #redrive: Redrive;

  constructor(options: RedriveOptions) {
    this.#options = options;
    this.#redrive = new Redrive(options);
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
      prefix: letterPrefix(request.agentId),
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

  /** @throws as Redrive.run */
  redrive(request: RedriveDeadLettersRequest, caller: Caller): Promise<RedriveDeadLettersResponse> {
    return this.#redrive.run(request, caller);
  }
}

const placeOf = (createdRevision: bigint, record: DeliveryRecord): string =>
  `${String(createdRevision).padStart(20, '0')}-${String(record.index).padStart(10, '0')}`;

/** A delivery from the outside. */
function statusOf(record: DeliveryRecord): DeliveryStatus {
  const status = create(DeliveryStatusSchema, {
    work: create(WorkSchema, { deliveryId: record.id, attempt: record.attempt }),
    agentId: record.agentId,
    accepted: record.accepted,
    tries: attemptsOf(record),
    orderingKey: record.item.case === 'message' ? orderingKeyOf(record) : record.orderingKey,
    ...(record.createTime === undefined ? {} : { createTime: record.createTime }),
    ...(record.expireTime === undefined ? {} : { expireTime: record.expireTime }),
  });
  status.item = record.item;
  return status;
}
