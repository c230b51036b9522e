import { create } from '@bufbuild/protobuf';
import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type AgentSpec, AgentSpecSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DeregisterAgentRequest,
  DeregisterAgentRequestSchema,
  type DeregisterAgentResponse,
  DeregisterAgentResponseSchema,
  type RegisterAgentRequest,
  RegisterAgentRequestSchema,
  type RegisterAgentResponse,
  RegisterAgentResponseSchema,
  type UpdateAgentRequest,
  UpdateAgentRequestSchema,
  type UpdateAgentResponse,
  UpdateAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { Clock } from '../../lib/clock.ts';
import type { FieldViolation } from '../../lib/errors.ts';
import type { Ids } from '../../lib/ids.ts';
import { KeyedQueue } from '../../lib/keyed-queue.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import { mailKey } from '../coordination/delivery-record.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { EventWriter } from '../monitoring/events.ts';
import { namespaceOf } from '../namespaces.ts';
import { Mutation } from '../requests.ts';
import { admitNamespace } from './admit-namespace.ts';
import { actorOf, type Caller } from './caller.ts';
import { exitsKey } from './care/exits-record.ts';
import { changeAgent } from './change-agent.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import { contention, invalidFields, limitReached, notResponsible } from './errors.ts';
import { applySpecMask } from './field-mask.ts';
import { loadAgent } from './load.ts';
import { agentKey, agentOf, copyRecord, encodeRecord, publicAgent } from './record.ts';
import { decideRegister, registeredHash, withToken } from './register.ts';
import { hashToken, mintToken } from './token.ts';

export interface AgentsOptions {
  store: Store;
  mailboxes: Mailboxes;
  directory: AgentDirectory;
  events: EventWriter;
  clock: Clock;
  ids: Ids;
  replicaId: string;
  /** Agents that a namespace may have. */
  maxAgents: number;
  /** Namespaces that there may be: anyone can name a new one. */
  maxNamespaces: number;
  /** Checks a spec that came about by an update. */
  validateSpec(spec: AgentSpec, agentId: string): FieldViolation[];
  responsibleFor(known: Pick<KnownAgent, 'record'>): boolean;
}

const ATTEMPTS = 8;

/** Registers agents, changes and removes them: read, decide, commit. */
export class Agents {
  readonly #options: AgentsOptions;
  readonly #queue = new KeyedQueue();

  constructor(options: AgentsOptions) {
    this.#options = options;
  }

  /** @throws DomainError AGENT_LIVE, TOKEN_INVALID, LIMIT_REACHED, NOT_RESPONSIBLE, REQUEST_ID_REUSED, CONTENTION */
  register(request: RegisterAgentRequest, caller: Caller): Promise<RegisterAgentResponse> {
    return this.#inTurn(request, () => this.#register(request, caller));
  }

  async #register(request: RegisterAgentRequest, caller: Caller): Promise<RegisterAgentResponse> {
    const { ids, store, directory, replicaId } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      store,
      namespace,
      principal: caller.principal,
      method: 'RegisterAgent',
      requestId: request.requestId,
      input: { schema: RegisterAgentRequestSchema, message: request },
      output: RegisterAgentResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return this.#registeredBefore(namespace, earlier);

    const spec = request.spec ?? create(AgentSpecSchema);
    const agentId = request.agentId === '' ? madeId(spec.kind, ids) : request.agentId;
    const newToken = mintToken(ids, { namespace, agentId });
    const callerTokenHash = caller.token === undefined ? undefined : hashToken(caller.token);
    // The view may lag behind other replicas: what is decided on an agent that is there rests on the store's record.
    let known =
      directory.get(namespace, agentId) && (await loadAgent(this.#options.store, namespace, agentId));
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (known === undefined) this.#admit(namespace);
      const { epoch } = store.status();
      const decided = decideRegister({
        existing: known?.record,
        namespace,
        agentId,
        spec,
        takeover: request.takeover,
        callerTokenHash,
        newTokenHash: hashToken(newToken),
        uid: ids.uuid(),
        wallMs: this.#options.clock.wallMs(),
        replicaId,
        storeEpoch: epoch,
        namespaceRevision: known === undefined ? (await store.position(namespace)).revision : 0n,
        actor: actorOf(caller, this.#options.directory),
      });
      if (decided.record === undefined && known !== undefined) {
        return registered(publicAgent(known.record, known.revision, undefined), caller.token ?? newToken);
      }
      const record = decided.record;
      if (record === undefined) throw new Error('a registration decided neither to store nor to keep');
      if (!this.#options.responsibleFor({ record })) throw notResponsible(agentId);
      const response = registered(publicAgent(record, 0n, undefined), '');
      const outcome = await store.commit({
        namespace,
        epoch,
        checks: [{ key: agentKey(agentId), revision: known?.revision ?? 0n }],
        puts: [{ key: agentKey(agentId), value: encodeRecord(record) }],
        appends: decided.events.map((event) => this.#options.events.append(event)),
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') return this.#registeredBefore(namespace, mutation.repeated(outcome));
      if (outcome.kind === 'committed') {
        const token = decided.keepsToken && caller.token !== undefined ? caller.token : newToken;
        return registered(publicAgent(record, outcome.revision, undefined), token);
      }
      known = await loadAgent(this.#options.store, namespace, agentId);
    }
    throw contention();
  }

  /** @throws DomainError AGENT_NOT_FOUND, INVALID_FIELDS, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION */
  update(request: UpdateAgentRequest, caller: Caller): Promise<UpdateAgentResponse> {
    return this.#inTurn(request, () => this.#update(request, caller));
  }

  #update(request: UpdateAgentRequest, caller: Caller): Promise<UpdateAgentResponse> {
    const paths = request.updateMask?.paths ?? [];
    return changeAgent(this.#options, request, caller, {
      method: 'UpdateAgent',
      input: UpdateAgentRequestSchema,
      output: UpdateAgentResponseSchema,
      stamp: (response, revision) => {
        if (response.agent !== undefined) response.agent.revision = revision;
      },
      decide: (known) => {
        const record = copyRecord(known.record);
        const agent = agentOf(record);
        const current = agent.spec ?? create(AgentSpecSchema);
        record.registeredSpecHash = registeredHash(known.record);
        agent.spec = applySpecMask(current, request.spec ?? create(AgentSpecSchema), paths);
        const violations = this.#options.validateSpec(agent.spec, agent.id);
        if (violations.length > 0)
          throw invalidFields('the spec would break the rules of its fields', violations);
        agent.updateTime = timestampFromMs(this.#options.clock.wallMs());
        return {
          puts: [{ key: agentKey(agent.id), value: encodeRecord(record) }],
          type: 'agent.updated',
          message: `${agent.id} was updated: ${paths.join(', ')}`,
          response: create(UpdateAgentResponseSchema, { agent: publicAgent(record, 0n, undefined) }),
        };
      },
    });
  }

  /** @throws DomainError AGENT_NOT_FOUND, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION */
  deregister(request: DeregisterAgentRequest, caller: Caller): Promise<DeregisterAgentResponse> {
    return this.#inTurn(request, () => this.#deregister(request, caller));
  }

  #deregister(request: DeregisterAgentRequest, caller: Caller): Promise<DeregisterAgentResponse> {
    const reason = request.reason === '' ? '' : `: ${request.reason}`;
    return changeAgent(this.#options, request, caller, {
      method: 'DeregisterAgent',
      input: DeregisterAgentRequestSchema,
      output: DeregisterAgentResponseSchema,
      stamp: (response, revision) => {
        response.revision = revision;
      },
      decide: (known) => ({
        deletes: [agentKey(known.id), exitsKey(known.id), ...mailKeys(this.#options.mailboxes, known)],
        type: 'agent.deregistered',
        message: `${known.id} was deregistered${reason}`,
        response: create(DeregisterAgentResponseSchema, {
          agent: publicAgent(known.record, known.revision, undefined),
        }),
      }),
    });
  }

  /** Changes of one agent on this replica take turns: side by side, all but one would find the record changed. */
  #inTurn<T>(request: { namespace: string; agentId: string }, work: () => Promise<T>): Promise<T> {
    if (request.agentId === '') return work();
    return this.#queue.run(`${namespaceOf(request)}/${request.agentId}`, work);
  }

  /** A repeat gets the same agent and a token of its own, because only hashes of tokens are stored. */
  async #registeredBefore(
    namespace: string,
    earlier: { revision: bigint; response: RegisterAgentResponse },
  ): Promise<RegisterAgentResponse> {
    const agent = earlier.response.agent;
    if (agent === undefined) throw new Error('a remembered registration without its agent');
    agent.revision = earlier.revision;
    const token = mintToken(this.#options.ids, { namespace, agentId: agent.id });
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await loadAgent(this.#options.store, namespace, agent.id);
      // It was removed since; the token of a removed agent is worth nothing.
      if (known === undefined || agentOf(known.record).uid !== agent.uid) return registered(agent, token);
      const outcome = await this.#options.store.commit({
        namespace,
        checks: [{ key: agentKey(agent.id), revision: known.revision }],
        puts: [{ key: agentKey(agent.id), value: encodeRecord(withToken(known.record, hashToken(token))) }],
      });
      if (outcome.kind === 'committed') return registered(agent, token);
    }
    throw contention();
  }

  #admit(namespace: string): void {
    const { directory, maxAgents, maxNamespaces } = this.#options;
    const count = directory.count(namespace);
    if (count >= maxAgents)
      throw limitReached(`namespace ${namespace} has its maximum of ${maxAgents} agents`);
    admitNamespace(directory, namespace, maxNamespaces);
  }
}

function registered(agent: Agent, agentToken: string): RegisterAgentResponse {
  const response = create(RegisterAgentResponseSchema);
  response.agent = agent;
  response.agentToken = agentToken;
  return response;
}

/** Keys of all that waits for an agent; it goes with it. */
const mailKeys = (mailboxes: Mailboxes, { namespace, id }: KnownAgent): string[] =>
  mailboxes.of(namespace, id).map((delivery) => mailKey(id, delivery.id));

/** An id for an agent that brought none: its kind and eight random characters. */
function madeId(kind: string, ids: Ids): string {
  return `${kind === '' ? 'agent' : kind}-${ids.uuid().slice(0, 8)}`;
}
