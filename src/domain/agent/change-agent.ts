import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import type { Commit, Store } from '../../state/store.ts';
import type { EventWriter } from '../monitoring/events.ts';
import { namespaceOf } from '../namespaces.ts';
import { Mutation } from '../requests.ts';
import { actorOf, type Caller } from './caller.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { agentNotFound, contention } from './errors.ts';
import { loadAgent } from './load.ts';
import { agentKey } from './record.ts';

const ATTEMPTS = 8;

/** A request to change one agent. */
export type ChangeRequest<I extends DescMessage> = MessageShape<I> & {
  namespace: string;
  agentId: string;
  requestId: string;
  expectedRevision?: bigint | undefined;
};

/** What differs between the changes of an agent that is there. */
export interface AgentChange<I extends DescMessage, O extends DescMessage> {
  method: string;
  input: I;
  output: O;
  /** Writes the commit's revision, known only afterwards, into the answer. */
  stamp(response: MessageShape<O>, revision: bigint): void;
  /** Without a type nothing changes, and the response is final. */
  decide(
    known: KnownAgent,
  ):
    | (Pick<Commit, 'puts' | 'deletes'> & { type: string; message: string; response: MessageShape<O> })
    | { type: undefined; response: MessageShape<O> };
}

/**
 * Changes an agent that is there: reads, decides, commits, and again if somebody else wrote meanwhile; a repeat gets the
 * first answer.
 * @throws DomainError AGENT_NOT_FOUND, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION, and what `decide` throws
 */
export async function changeAgent<I extends DescMessage, O extends DescMessage>(
  { store, events, directory }: { store: Store; events: EventWriter; directory: AgentDirectory },
  request: ChangeRequest<I>,
  caller: Caller,
  change: AgentChange<I, O>,
): Promise<MessageShape<O>> {
  const namespace = namespaceOf(request);
  const mutation = new Mutation({
    store,
    namespace,
    principal: caller.principal,
    method: change.method,
    requestId: request.requestId,
    input: { schema: change.input, message: request },
    output: change.output,
  });
  const answer = (first: { revision: bigint; response: MessageShape<O> }): MessageShape<O> => {
    change.stamp(first.response, first.revision);
    return first.response;
  };
  const earlier = await mutation.earlier();
  if (earlier !== undefined) return answer(earlier);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const known = await loadAgent(store, namespace, request.agentId);
    if (known === undefined) throw agentNotFound(namespace, request.agentId);
    checkRevision(known, request.expectedRevision);
    const decided = change.decide(known);
    if (decided.type === undefined) return decided.response;
    const { type, message, response, ...effect } = decided;
    const actor = actorOf(caller, directory);
    const event = events.append({ type, severity: Event_Severity.INFO, message, actor, agentId: known.id });
    const outcome = await store.commit({
      namespace,
      checks: [{ key: agentKey(known.id), revision: known.revision }],
      ...effect,
      appends: [event],
      ...mutation.record(response),
    });
    if (outcome.kind === 'repeated') return answer(mutation.repeated(outcome));
    if (outcome.kind === 'committed') return answer({ revision: outcome.revision, response });
  }
  throw contention();
}

function checkRevision(known: KnownAgent, expected: bigint | undefined): void {
  if (expected === undefined || expected === known.revision) return;
  throw new DomainError({
    reason: ErrorReason.REVISION_MISMATCH,
    message: `agent ${known.id} has revision ${known.revision}, not ${expected}`,
    metadata: { current_revision: `${known.revision}` },
  });
}
