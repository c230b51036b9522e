import { create, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type CancelOperationRequest,
  CancelOperationRequestSchema,
  type CancelOperationResponse,
  CancelOperationResponseSchema,
  type Operation,
  Operation_State,
  Operation_StateSchema,
  type PauseOperationRequest,
  PauseOperationRequestSchema,
  type PauseOperationResponse,
  PauseOperationResponseSchema,
  type ResumeOperationRequest,
  ResumeOperationRequestSchema,
  type ResumeOperationResponse,
  ResumeOperationResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { OperationRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Store } from '../../../state/store.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention } from '../../agent/errors.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { copyOperation, operationEvent, publicOperation } from './operation-change.ts';
import { decodeOperation, encodeOperation, hasEnded, operationKey } from './operation-record.ts';
import { countsOf, progressOf } from './operation-rules.ts';
import type { OperationView } from './operation-view.ts';

export interface OperationsOptions {
  store: Store;
  directory: AgentDirectory;
  view: OperationView;
  events: EventWriter;
}

const ATTEMPTS = 8;

interface ChangeRequest {
  namespace: string;
  operationId: string;
  reason: string;
  expectedRevision?: bigint | undefined;
  requestId: string;
}

/** What a change does to an operation, whose record is a copy. */
type Decide = (given: { record: OperationRecord; operation: Operation; actor: string; because: string }) => {
  type: string;
  message: string;
};

/** What operators say to operations that are under way. */
export class Operations {
  readonly #options: OperationsOptions;

  constructor(options: OperationsOptions) {
    this.#options = options;
  }

  /** @throws DomainError OPERATION_NOT_FOUND, OPERATION_STATE_REFUSED, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION */
  pause(request: PauseOperationRequest, caller: Caller): Promise<PauseOperationResponse> {
    return this.#change(request, caller, {
      method: 'PauseOperation',
      input: PauseOperationRequestSchema,
      output: PauseOperationResponseSchema,
      decide: ({ operation, actor, because }) => {
        if (operation.state !== Operation_State.RUNNING) throw refused(operation, 'be paused');
        operation.state = Operation_State.PAUSED;
        operation.detail = `paused by ${actor}${because}`;
        return { type: 'operation.paused', message: `was paused${because}` };
      },
    });
  }

  /** @throws DomainError as pause */
  resume(request: ResumeOperationRequest, caller: Caller): Promise<ResumeOperationResponse> {
    const { retryFailed } = request;
    return this.#change(request, caller, {
      method: 'ResumeOperation',
      input: ResumeOperationRequestSchema,
      output: ResumeOperationResponseSchema,
      decide: ({ record, operation, actor, because }) => {
        const { state } = operation;
        const running = state === Operation_State.RUNNING;
        if (hasEnded(record) || state === Operation_State.CANCELLED || (running && !retryFailed)) {
          throw refused(operation, 'be resumed');
        }
        // Whoever resumes what had stopped accepts the failures so far.
        if (retryFailed || state === Operation_State.STOPPED) record.round += 1;
        if (retryFailed) record.retryRound = record.round;
        operation.state = Operation_State.RUNNING;
        const again = retryFailed ? ', and what failed is tried again' : '';
        operation.detail = `resumed by ${actor}${again}${because}`;
        return { type: 'operation.resumed', message: `goes on${again}${because}` };
      },
    });
  }

  /** @throws DomainError as pause */
  cancel(request: CancelOperationRequest, caller: Caller): Promise<CancelOperationResponse> {
    return this.#change(request, caller, {
      method: 'CancelOperation',
      input: CancelOperationRequestSchema,
      output: CancelOperationResponseSchema,
      decide: ({ record, operation, actor, because }) => {
        if (hasEnded(record) || operation.state === Operation_State.CANCELLED)
          throw refused(operation, 'be cancelled');
        operation.state = Operation_State.CANCELLED;
        operation.detail = `cancelled by ${actor}${because}`;
        delete operation.nextWaveTime;
        return { type: 'operation.cancelled', message: `was cancelled${because}` };
      },
    });
  }

  async #change<I extends DescMessage, O extends DescMessage>(
    request: MessageShape<I> & ChangeRequest,
    caller: Caller,
    change: { method: string; input: I; output: O; decide: Decide },
  ): Promise<MessageShape<O>> {
    const { store, events, directory, view } = this.#options;
    const namespace = namespaceOf(request);
    const { operationId: id, reason, expectedRevision, requestId } = request;
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: change.method,
      requestId,
      input: { schema: change.input, message: request },
      output: change.output,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    const key = operationKey(id);
    const actor = actorOf(caller, directory);
    const because = reason === '' ? '' : `: ${reason}`;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const stored = await store.get(namespace, key);
      if (stored === undefined) throw operationNotFound(namespace, id);
      if (expectedRevision !== undefined && expectedRevision !== stored.revision)
        throw mismatch(id, stored.revision);
      const { record, operation } = copyOperation(decodeOperation(stored.value));
      const { type, message } = change.decide({ record, operation, actor, because });
      const told = `the operation "${operation.spec?.command}" ${message}`;
      const event = operationEvent({ type, id, operation, actor, message: told });
      const known = view.get(namespace, id);
      const outcomes = known?.outcomes ?? new Map();
      const counts = countsOf(progressOf({ record, agents: operation.agents, outcomes }));
      const response = create(change.output);
      Object.assign(response, {
        operation: publicOperation({ namespace, id, record, revision: 0n, counts }),
      });
      const outcome = await store.commit({
        namespace,
        checks: [{ key, revision: stored.revision }],
        puts: [{ key, value: encodeOperation(record) }],
        appends: [events.append(event)],
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
}

/** With the revision of its commit, known only afterwards. */
export function stamped<T extends object>(response: T, revision: bigint): T {
  const { operation } = response as { operation?: Operation };
  if (operation !== undefined) operation.revision = revision;
  return response;
}

export const operationNotFound = (namespace: string, id: string): DomainError =>
  new DomainError({
    reason: ErrorReason.OPERATION_NOT_FOUND,
    message: `there is no operation ${id} in namespace ${namespace}`,
  });

/** "running". */
export const stateWord = (state: Operation_State): string =>
  (Operation_StateSchema.value[state]?.localName ?? `${state}`).toLowerCase().replaceAll('_', ' ');

function refused({ id, state, endTime }: Operation, words: string): DomainError {
  const stands = endTime === undefined ? stateWord(state) : `over (${stateWord(state)})`;
  return new DomainError({
    reason: ErrorReason.OPERATION_STATE_REFUSED,
    message: `operation ${id} is ${stands} and cannot ${words}`,
    metadata: { state: Operation_StateSchema.value[state]?.localName ?? '' },
  });
}

const mismatch = (id: string, revision: bigint): DomainError =>
  new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message: `operation ${id} has revision ${revision}, another one than expected`,
    metadata: { current_revision: `${revision}` },
  });
