import { createHash } from 'node:crypto';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  type CreateSubscriptionRequestSchema,
  MessageService,
} from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { AgentCalls, CallLimits } from './calls.ts';
import { AgentError, Code } from './errors.ts';
import type { HandlerTable } from './handlers.ts';
import type { MessageHandler } from './message.ts';
import type { ClientLogger } from './options.ts';

/** The agent receives what is sent to a topic, until it is unsubscribed: also after this process has ended. */
export interface Subscription extends AsyncDisposable {
  readonly id: string;
  readonly topic: string;
  /** Ends it, and takes its handler out. */
  unsubscribe(limits?: CallLimits): Promise<void>;
}

/** What the agent receives of topics. */
export class Subscriptions {
  readonly #calls: AgentCalls;
  readonly #namespace: string;
  readonly #agentId: () => string;
  readonly #topics: HandlerTable;
  readonly #log: ClientLogger;
  readonly #topicsHeld = new Map<string, number>();

  constructor(options: {
    calls: AgentCalls;
    namespace: string;
    agentId: () => string;
    topics: HandlerTable;
    log: ClientLogger;
  }) {
    this.#calls = options.calls;
    this.#namespace = options.namespace;
    this.#agentId = options.agentId;
    this.#topics = options.topics;
    this.#log = options.log;
  }

  /** @throws AgentError INVALID_ARGUMENT (topic), RESOURCE_EXHAUSTED LIMIT_REACHED; RangeError */
  async subscribe(topic: string, handler?: MessageHandler, limits?: CallLimits): Promise<Subscription> {
    const remove = handler === undefined ? () => {} : this.#topics.add(topic, handler);
    let id: string;
    try {
      id = await this.#create(topic, limits);
    } catch (error) {
      remove();
      throw error;
    }
    this.#topicsHeld.set(topic, (this.#topicsHeld.get(topic) ?? 0) + 1);
    let over = false;
    const unsubscribe = async (end?: CallLimits): Promise<void> => {
      if (over) return;
      over = true;
      const others = (this.#topicsHeld.get(topic) ?? 1) - 1;
      if (others > 0) this.#topicsHeld.set(topic, others);
      else {
        this.#topicsHeld.delete(topic);
        await this.#delete(id, end);
      }
      remove();
    };
    return { id, topic, unsubscribe, [Symbol.asyncDispose]: () => unsubscribe() };
  }

  /** The agent was registered anew, so its subscriptions may be gone. */
  renew(): void {
    for (const topic of this.#topicsHeld.keys()) {
      this.#create(topic).catch((error: unknown) =>
        this.#log.warn({ err: error, topic }, 'a subscription could not be renewed'),
      );
    }
  }

  /** By its id it is the one that is there already, if there is one. */
  async #create(topic: string, limits?: CallLimits): Promise<string> {
    const agentId = this.#agentId();
    const request: MessageInitShape<typeof CreateSubscriptionRequestSchema> = {
      namespace: this.#namespace,
      subscription: { id: idOf(agentId, topic), agentId, topic },
    };
    const { subscription } = await this.#calls.call(
      MessageService.method.createSubscription,
      request,
      limits,
    );
    return subscription?.id ?? '';
  }

  async #delete(subscriptionId: string, limits?: CallLimits): Promise<void> {
    const request = { namespace: this.#namespace, subscriptionId };
    try {
      await this.#calls.call(MessageService.method.deleteSubscription, request, limits);
    } catch (error) {
      if (!(error instanceof AgentError) || error.code !== Code.NOT_FOUND) throw error;
    }
  }
}

const idOf = (agentId: string, topic: string): string =>
  `sub-${createHash('sha256').update(`${agentId}\0${topic}`).digest('hex').slice(0, 32)}`;
