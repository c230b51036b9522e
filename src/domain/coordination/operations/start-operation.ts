import { create } from '@bufbuild/protobuf';
import {
  AgentOutcome_State,
  AgentOutcomeSchema,
  Operation_AgentCountSchema,
  Operation_State,
  OperationSchema,
  OperationSpecSchema,
  type StartOperationRequest,
  StartOperationRequestSchema,
  type StartOperationResponse,
  StartOperationResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  OperationAgentsRecordSchema,
  OperationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Ids } from '../../../lib/ids.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { compileAgentFilter } from '../../agent/agent-filter.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, limitReached } from '../../agent/errors.ts';
import { agentOf } from '../../agent/record.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import type { CommandGiver } from './command-giver.ts';
import { keptSpec, operationEvent, publicOperation } from './operation-change.ts';
import { type Plan, planOperation } from './operation-plan.ts';
import {
  encodeOperation,
  encodeWho,
  OPERATION_FORMAT,
  operationKey,
  WHO_CHUNK,
  whoKey,
} from './operation-record.ts';
import type { OperationView } from './operation-view.ts';
import { stamped } from './operations.ts';

export interface StartOperationOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  view: OperationView;
  giver: CommandGiver;
  events: EventWriter;
  ids: Ids;
  /** Operations of a namespace that have not ended. */
  maxOperations: number;
}

/** W3C trace context of a caller; empty: it has none. */
export interface TraceContext {
  traceparent: string;
  tracestate: string;
}

/** Of an operation's id, which people type. */
const ID_DIGITS = 12;
/** Agents that a dry run looks at in one turn of the event loop. */
const AT_A_TIME = 250;

/** Starts operations: settles whom they concern, and stores that. */
export class StartOperation {
  readonly #options: StartOperationOptions;

  constructor(options: StartOperationOptions) {
    this.#options = options;
  }

  /** @throws DomainError AGENT_NOT_FOUND, NO_RECEIVER, LIMIT_REACHED, REQUEST_ID_REUSED; StoreUnavailableError, StoreFullError */
  async start(
    request: StartOperationRequest,
    caller: Caller,
    trace: TraceContext,
  ): Promise<StartOperationResponse> {
    const { store, storeTime, directory, view, events, ids, maxOperations } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'StartOperation',
      requestId: request.dryRun ? '' : request.requestId,
      input: { schema: StartOperationRequestSchema, message: request },
      output: StartOperationResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    const spec = request.spec ?? create(OperationSpecSchema);
    const plan = planOperation(spec, candidates(directory, namespace), compileAgentFilter(spec.filter));
    const storeMs = await storeTime.exact();
    const actor = actorOf(caller, directory);
    const operation = create(OperationSchema, {
      spec: keptSpec(spec),
      state: Operation_State.RUNNING,
      actor,
      startTime: timestampFromMs(storeMs),
      waves: plan.waves,
      wave: 1,
      agents: plan.who.length,
    });
    const counts = [
      create(Operation_AgentCountSchema, { state: AgentOutcome_State.WAITING, count: plan.who.length }),
    ];
    const record = create(OperationRecordSchema, {
      format: OPERATION_FORMAT,
      operation,
      waveSize: plan.waveSize,
      maxInFlight: plan.maxInFlight,
      maxErrors: plan.maxErrors,
      agentTimeoutMs: plan.agentTimeoutMs,
      round: 1,
      ...trace,
    });
    const shown = { namespace, record, revision: 0n, counts };
    if (request.dryRun) {
      return create(StartOperationResponseSchema, {
        operation: publicOperation({ ...shown, id: '' }),
        agents: await this.#foreseen(namespace, spec, plan, actor, storeMs),
      });
    }
    const underway = view.underway(namespace).length;
    if (underway >= maxOperations) {
      throw limitReached(
        `namespace ${namespace} has ${underway} operations that have not ended, the maximum; cancel those that are not needed`,
      );
    }
    const id = `op-${ids.uuid().replaceAll('-', '').slice(0, ID_DIGITS)}`;
    operation.id = id;
    const response = create(StartOperationResponseSchema, { operation: publicOperation({ ...shown, id }) });
    const whom = `${plan.who.length} ${plan.who.length === 1 ? 'agent' : 'agents'} in ${plan.waves} ${plan.waves === 1 ? 'wave' : 'waves'}`;
    const because = spec.reason === '' ? '' : `: ${spec.reason}`;
    const event = operationEvent({
      type: 'operation.started',
      id,
      operation,
      actor,
      message: `the operation "${spec.command}" for ${whom} was started${because}`,
      attributes: { agents: `${plan.who.length}`, waves: `${plan.waves}` },
    });
    const outcome = await store.commit({
      namespace,
      checks: [{ key: operationKey(id), revision: 0n }],
      puts: [{ key: operationKey(id), value: encodeOperation(record) }, ...whoPuts(id, plan.who)],
      appends: [events.append(event)],
      ...mutation.record(response),
    });
    if (outcome.kind === 'repeated') {
      const first = mutation.repeated(outcome);
      return stamped(first.response, first.revision);
    }
    if (outcome.kind === 'conflict') throw contention();
    return stamped(response, outcome.revision);
  }

  /** Each agent with its wave, and with what would stand in its way now. */
  async #foreseen(
    namespace: string,
    spec: NonNullable<StartOperationRequest['spec']>,
    { who, waveSize, agentTimeoutMs }: Plan,
    actor: string,
    storeMs: number,
  ) {
    const { directory, giver } = this.#options;
    const agents = [];
    for (const [place, agentId] of who.entries()) {
      if (place % AT_A_TIME === AT_A_TIME - 1) await new Promise((resolve) => setImmediate(resolve));
      const known = directory.get(namespace, agentId);
      const how = { actor, storeMs, timeoutMs: agentTimeoutMs };
      agents.push(
        create(AgentOutcomeSchema, {
          agentId,
          wave: Math.floor(place / waveSize) + 1,
          state: AgentOutcome_State.WAITING,
          error: known === undefined ? 'it was deregistered' : giver.obstacle(spec, known, how),
        }),
      );
    }
    return agents;
  }
}

function* candidates(directory: AgentDirectory, namespace: string) {
  for (const { id, record } of directory.all(namespace)) yield { id, agent: agentOf(record) };
}

function whoPuts(id: string, who: readonly string[]) {
  const puts = [];
  for (let from = 0; from < who.length; from += WHO_CHUNK) {
    const agentIds = who.slice(from, from + WHO_CHUNK);
    const value = encodeWho(create(OperationAgentsRecordSchema, { agentIds }));
    puts.push({ key: whoKey(id, from / WHO_CHUNK), value });
  }
  return puts;
}
