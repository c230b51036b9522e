import { create } from '@bufbuild/protobuf';
import {
  type ListMessageLinksRequest,
  type ListMessageLinksResponse,
  ListMessageLinksResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { fingerprint } from '../../../lib/page-token.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { namespaceOf } from '../../namespaces.ts';
import { afterOf, pageOf, pageSize } from '../messages/pages.ts';
import { type LinkCounts, placeOf } from './link-counts.ts';
import type { Traffic } from './traffic.ts';

/** A page of who sends to whom. @throws DomainError INVALID_FIELDS (page token) */
export function listMessageLinks(
  request: ListMessageLinksRequest,
  { traffic, counts, replicaId }: { traffic: Traffic; counts: LinkCounts; replicaId: string },
): ListMessageLinksResponse {
  const namespace = namespaceOf(request);
  const print = fingerprint([namespace, request.agentId, request.sender, request.receiver]);
  const after = afterOf('message-links', request.pageToken, print);
  const matching = counts.list(request, namespace).filter((link) => placeOf(link) > after);
  const { items, nextPageToken } = pageOf(
    'message-links',
    matching,
    pageSize(request.pageSize),
    print,
    placeOf,
  );
  const startMs = traffic.startMs(namespace);
  return create(ListMessageLinksResponseSchema, {
    links: items,
    nextPageToken,
    replicaId,
    forgotten: BigInt(counts.forgotten),
    ...(startMs === undefined ? {} : { startTime: timestampFromMs(startMs) }),
  });
}
