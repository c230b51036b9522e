import { createHash } from 'node:crypto';
import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import { create } from '@bufbuild/protobuf';
import type { Agent } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DrainAgentRequest,
  DrainAgentRequestSchema,
  type DrainAgentResponse,
  DrainAgentResponseSchema,
  type QuarantineAgentRequest,
  QuarantineAgentRequestSchema,
  type QuarantineAgentResponse,
  QuarantineAgentResponseSchema,
  type RestartAgentRequest,
  RestartAgentRequestSchema,
  type RestartAgentResponse,
  RestartAgentResponseSchema,
  type ResumeAgentRequest,
  ResumeAgentRequestSchema,
  type ResumeAgentResponse,
  ResumeAgentResponseSchema,
  type StopAgentRequest,
  StopAgentRequestSchema,
  type StopAgentResponse,
  StopAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type { DeliveriesConfig } from '../../config/config.ts';
import type { Ids } from '../../lib/ids.ts';
import { msFromDuration } from '../../lib/proto-time.ts';
import type { Store } from '../../state/store.ts';
import type { StoreTime } from '../../state/store-time.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { EventWriter } from '../monitoring/events.ts';
import { actorOf, type Caller } from './caller.ts';
import { type ChangeRequest, changeAgent } from './change-agent.ts';
import type { AgentDirectory, KnownAgent } from './directory.ts';
import {
  decideDrain,
  decideQuarantine,
  decideRestart,
  decideResume,
  decideStop,
  type OrderDecision,
  type OrderInput,
} from './order-decisions.ts';
import { PreparedOrders } from './prepared-orders.ts';
import { publicAgent } from './record.ts';

export interface OrdersOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  events: EventWriter;
  ids: Ids;
  wallMs: () => number;
  config: DeliveriesConfig;
  /** Unfinished deliveries that one agent may have, but for a few orders. */
  maxMailbox: number;
}

/** What the answers to all orders have. */
interface OrderResponse {
  agent?: Agent;
  deliveryId: string;
}

/** Request ids are remembered for so long. */
const REQUESTS_MS = 24 * 3600 * 1000;

interface Order<I extends DescMessage, O extends DescMessage> {
  method: string;
  input: I;
  output: O;
  /** Undefined: it is so already. */
  decide(input: OrderInput): OrderDecision | undefined;
}

/** What may be ordered of an agent: its phase changes at once, and a command tells it, in the same commit. */
export class Orders {
  readonly #options: OrdersOptions;
  readonly #prepared: PreparedOrders;

  constructor(options: OrdersOptions) {
    this.#options = options;
    this.#prepared = new PreparedOrders(options);
  }

  /** @throws DomainError AGENT_NOT_FOUND, PHASE_REFUSED, MAILBOX_FULL, REVISION_MISMATCH, REQUEST_ID_REUSED, CONTENTION */
  drain(request: DrainAgentRequest, caller: Caller): Promise<DrainAgentResponse> {
    const how = { deadlineMs: this.#deadlineMs(request), mandatory: request.mandatory };
    return this.#order(request, caller, {
      method: 'DrainAgent',
      input: DrainAgentRequestSchema,
      output: DrainAgentResponseSchema,
      decide: (input) => decideDrain(input, how),
    });
  }

  /** @throws DomainError as drain */
  resume(request: ResumeAgentRequest, caller: Caller): Promise<ResumeAgentResponse> {
    return this.#order(request, caller, {
      method: 'ResumeAgent',
      input: ResumeAgentRequestSchema,
      output: ResumeAgentResponseSchema,
      decide: decideResume,
    });
  }

  /** @throws DomainError as drain, and NOBODY_THERE */
  restart(request: RestartAgentRequest, caller: Caller): Promise<RestartAgentResponse> {
    const { deadline } = request;
    const expireAfterMs =
      deadline === undefined ? this.#options.config.expireAfterMs : msFromDuration(deadline);
    return this.#order(request, caller, {
      method: 'RestartAgent',
      input: RestartAgentRequestSchema,
      output: RestartAgentResponseSchema,
      decide: (input) => decideRestart(input, { by: this.#prepared.restarter(input.known), expireAfterMs }),
    });
  }

  /** @throws DomainError as drain */
  stop(request: StopAgentRequest, caller: Caller): Promise<StopAgentResponse> {
    const how = { deadlineMs: this.#deadlineMs(request) };
    return this.#order(request, caller, {
      method: 'StopAgent',
      input: StopAgentRequestSchema,
      output: StopAgentResponseSchema,
      decide: (input) => decideStop(input, how),
    });
  }

  /** @throws DomainError as drain */
  quarantine(request: QuarantineAgentRequest, caller: Caller): Promise<QuarantineAgentResponse> {
    const forMs = request.duration === undefined ? undefined : msFromDuration(request.duration);
    return this.#order(request, caller, {
      method: 'QuarantineAgent',
      input: QuarantineAgentRequestSchema,
      output: QuarantineAgentResponseSchema,
      decide: (input) => decideQuarantine(input, { forMs }),
    });
  }

  async #order<I extends DescMessage, O extends DescMessage>(
    request: ChangeRequest<I> & { reason: string },
    caller: Caller,
    order: Order<I, O>,
  ): Promise<MessageShape<O>> {
    const { directory, ids, storeTime } = this.#options;
    const storeMs = await storeTime.exact();
    const deliveryId = `cmd-${orderId(request, caller, order.method, storeMs) ?? ids.uuid()}`;
    const actor = actorOf(caller, directory);
    const respond = (known: KnownAgent, id: string): MessageShape<O> => {
      const response = create(order.output);
      const fields: OrderResponse = {
        agent: publicAgent(known.record, known.revision, undefined),
        deliveryId: id,
      };
      return Object.assign(response, fields);
    };
    return changeAgent<I, O>(this.#options, request, caller, {
      method: order.method,
      input: order.input,
      output: order.output,
      stamp: (response, revision) => {
        const { agent } = response as unknown as OrderResponse;
        if (agent !== undefined) agent.revision = revision;
      },
      decide: (known) => {
        const prepared = this.#prepared.of(known, order.decide, {
          actor,
          reason: request.reason,
          storeMs,
          deliveryId,
        });
        if (prepared === undefined) return { type: undefined, response: respond(known, '') };
        const { record, to, ...effect } = prepared;
        return {
          ...effect,
          response: respond({ ...known, record, revision: 0n }, to === '' ? '' : deliveryId),
        };
      },
    });
  }

  #deadlineMs({ deadline }: Pick<DrainAgentRequest, 'deadline'>): number {
    return deadline === undefined ? this.#options.config.drainDeadlineMs : msFromDuration(deadline);
  }
}

/**
 * Of a request that may be repeated. An agent can be handed an order that a failover of the store then loses: decided again,
 * it is the same one, and carried out once. After the day that request ids are good for, it is another.
 */
function orderId(
  { namespace, agentId, requestId }: ChangeRequest<DescMessage>,
  { principal }: Caller,
  method: string,
  storeMs: number,
): string | undefined {
  if (requestId === '') return undefined;
  const parts = [principal, method, namespace, agentId, requestId, Math.floor(storeMs / REQUESTS_MS)];
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 32);
}
