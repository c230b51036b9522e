import { create } from '@bufbuild/protobuf';
import {
  type GetOperationRequest,
  type GetOperationResponse,
  GetOperationResponseSchema,
  type ListOperationsRequest,
  type ListOperationsResponse,
  ListOperationsResponseSchema,
  type Operation,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { OperationRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encodePageToken, fingerprint } from '../../../lib/page-token.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import { namespaceOf } from '../../namespaces.ts';
import { afterOf, pageOf, pageSize } from '../messages/pages.ts';
import { publicOperation } from './operation-change.ts';
import { readAgents } from './operation-pages.ts';
import { decodeOperation, hasEnded, operationKey, operationOf } from './operation-record.ts';
import { countsOf, progressOf } from './operation-rules.ts';
import type { KnownOperation, OperationView } from './operation-view.ts';
import { operationNotFound } from './operations.ts';

/** Shows operations: one as the store has it, lists from this replica's view. */
export class OperationReader {
  readonly #store: Store;
  readonly #view: OperationView;

  constructor(options: { store: Store; view: OperationView }) {
    this.#store = options.store;
    this.#view = options.view;
  }

  /** @throws DomainError OPERATION_NOT_FOUND, INVALID_FIELDS (page token); StoreUnavailableError */
  async get(request: GetOperationRequest): Promise<GetOperationResponse> {
    const namespace = namespaceOf(request);
    const { operationId: id, withAgents } = request;
    const print = fingerprint([namespace, id, [...request.agentStates].sort()]);
    const from = Number(afterOf('operation-agents', request.pageToken, print) || '0');
    const { record, revision } = await this.load(namespace, id);
    const operation = this.show(namespace, id, record, revision);
    if (!withAgents) return create(GetOperationResponseSchema, { operation });
    const states = new Set(request.agentStates);
    const size = pageSize(request.pageSize);
    const { agents, next } = await readAgents(this.#store, namespace, { id, record }, { from, size, states });
    return create(GetOperationResponseSchema, {
      operation,
      agents: agents.map(({ outcome }) => outcome),
      nextPageToken:
        next === undefined
          ? ''
          : encodePageToken({ kind: 'operation-agents', fingerprint: print, after: `${next}` }),
    });
  }

  /** @throws DomainError INVALID_FIELDS (page token) */
  list(request: ListOperationsRequest): ListOperationsResponse {
    const namespace = namespaceOf(request);
    const states = new Set(request.states);
    const print = fingerprint([namespace, [...states].sort()]);
    const after = afterOf('operations', request.pageToken, print);
    const matching = this.#view
      .all(namespace)
      .filter(({ record }) => states.size === 0 || states.has(operationOf(record).state))
      .map((known) => ({ known, place: placeOf(known) }))
      .filter(({ place }) => after === '' || place < after)
      .sort((a, b) => (a.place > b.place ? -1 : 1));
    const { items, nextPageToken } = pageOf(
      'operations',
      matching,
      pageSize(request.pageSize),
      print,
      ({ place }) => place,
    );
    return create(ListOperationsResponseSchema, {
      operations: items.map(({ known: { id, record, revision } }) =>
        this.show(namespace, id, record, revision),
      ),
      nextPageToken,
    });
  }

  /** As the store has it. @throws DomainError OPERATION_NOT_FOUND */
  async load(namespace: string, id: string): Promise<{ record: OperationRecord; revision: bigint }> {
    const stored = await this.#store.get(namespace, operationKey(id));
    if (stored === undefined) throw operationNotFound(namespace, id);
    return { record: decodeOperation(stored.value), revision: stored.revision };
  }

  /** As callers see it; how many agents are how far is as this replica's view knows it. */
  show(namespace: string, id: string, record: OperationRecord, revision: bigint): Operation {
    if (hasEnded(record)) return publicOperation({ namespace, id, record, revision, counts: undefined });
    const known = this.#view.get(namespace, id);
    // It may have ended since: then this view has only what they came to.
    if (known !== undefined && hasEnded(known.record)) {
      const { counts } = operationOf(known.record);
      return publicOperation({ namespace, id, record, revision, counts });
    }
    const outcomes = known?.outcomes ?? new Map();
    const counts = countsOf(progressOf({ record, agents: operationOf(record).agents, outcomes }));
    return publicOperation({ namespace, id, record, revision, counts });
  }
}

/** Sorts by start. */
function placeOf({ id, record }: KnownOperation): string {
  const { startTime } = operationOf(record);
  const ms = startTime === undefined ? 0 : msFromTimestamp(startTime);
  return `${String(Math.floor(ms)).padStart(15, '0')}/${id}`;
}
