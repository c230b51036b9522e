import { create } from '@bufbuild/protobuf';
import {
  type Message,
  MessageSchema,
  type SendMessage,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type SendMessageResponse,
  SendMessageResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { DeliveryRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { DeliveriesConfig } from '../../../config/config.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Ids } from '../../../lib/ids.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import { msFromRfc3339 } from '../../../lib/rfc3339.ts';
import { quote } from '../../../lib/violations.ts';
import type { MergedCommits } from '../../../state/merged-commits.ts';
import type { Check, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, invalidFields, limitReached, mailboxFull } from '../../agent/errors.ts';
import { agentKey } from '../../agent/record.ts';
import { type SessionCaller, sessionCaller } from '../bindings.ts';
import { type LinkMetrics, LinkRefusal, type Links, type Marks, type Routing } from '../links/links.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { fanOutPuts, putsInto, sessionOf } from './fan-out.ts';
import { CHUNK, deliveryIdOf, messageDelivery, targetOf } from './message-record.ts';
import { type MessageTracing, type TraceContext, untraced } from './message-tracing.ts';
import type { Receivers } from './receivers.ts';
import { SeenMessage } from './seen-messages.ts';

export interface MessagesOptions {
  store: Store;
  merged: MergedCommits;
  storeTime: StoreTime;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  receivers: Receivers;
  links: Links;
  ids: Ids;
  config: DeliveriesConfig;
  maxMailbox: number;
  /** Receivers that one message may have. */
  maxReceivers: number;
  /** How long payloads are kept after their message expired: as long as dead letters. */
  keptMs: number;
  /** Default: what senders say is passed on. */
  tracing?: MessageTracing | undefined;
  metrics: LinkMetrics;
}

/** How a message is sent. */
export interface SendHow {
  caller: Caller;
  /** On behalf of an agent's session; 0n: not. */
  sessionEpoch: bigint;
  /** Somebody waits for the answer of one agent that is there. */
  call?: {
    timeoutMs: number;
    idempotent: boolean;
    /** Told before the commit, each time anew where that is tried again: an answer may be heard before its end. */
    chosen?: (agentId: string, deliveryId: string) => void;
  };
  /** For a message that brings no trace context of its own. Of a repetition it may differ: it is not part of the message. */
  trace?: TraceContext;
}

const ATTEMPTS = 8;
/** As of expire_after. */
const MAX_EXPIRE_MS = 30 * 24 * 3600 * 1000;

/** A message on its way in. */
interface Sending {
  namespace: string;
  send: SendMessage;
  how: SendHow;
  trace: TraceContext;
  session: SessionCaller | undefined;
  message: Message;
  /** Undefined: it cannot have been stored before. */
  seen: SeenMessage | undefined;
  storeMs: number;
}

/** Takes messages in: finds their receivers and stores them in the mailboxes, at once or in chunks. */
export class Messages {
  readonly #options: MessagesOptions;

  constructor(options: MessagesOptions) {
    this.#options = options;
  }

  /**
   * @throws DomainError AGENT_NOT_FOUND, NO_RECEIVER, RECEIVER_GONE, MAILBOX_FULL, LIMIT_REACHED, EPOCH_STALE,
   * SESSION_SUPERSEDED, TOKEN_INVALID, INVALID_FIELDS, REQUEST_ID_REUSED, LINK_MUTED, LINK_THROTTLED, CONTENTION;
   * StoreUnavailableError
   */
  send(namespace: string, send: SendMessage, how: SendHow): Promise<SendMessageResponse> {
    const { tracing = untraced } = this.#options;
    const traced = how.trace === undefined ? send : withTrace(send, how.trace);
    return tracing.send(namespace, traced, (trace) => this.#send(namespace, send, how, trace));
  }

  async #send(
    namespace: string,
    send: SendMessage,
    how: SendHow,
    trace: TraceContext,
  ): Promise<SendMessageResponse> {
    const { store, directory } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      // What the view says of the sender is checked by the commit; where that fails it lags behind.
      const view = attempt === 0 ? directory : undefined;
      const session = await sessionCaller(store, namespace, how.caller, how.sessionEpoch, view);
      const message = stamped(send.message, session?.binding.agentId, how.caller);
      const storeMs = this.#options.storeTime.ms();
      // A call is made by somebody who waits: it is no repetition of an earlier one.
      const once = how.call === undefined && message.id !== '';
      const seen = once ? new SeenMessage(message.source, send, storeMs) : undefined;
      try {
        const response = await this.#store({ namespace, send, how, trace, session, message, seen, storeMs });
        if (response !== undefined) return response;
      } catch (error) {
        // What was stored before stays so, whatever became of its receivers since.
        const earlier = error instanceof DomainError ? await seen?.earlier(store, namespace) : undefined;
        if (earlier !== undefined) return earlier;
        if (error instanceof LinkRefusal) error.tell();
        throw error;
      }
    }
    throw contention();
  }

  /** Undefined: the sender was changed meanwhile, and it must be tried again. */
  async #store(sending: Sending): Promise<SendMessageResponse | undefined> {
    const { receivers, links } = this.#options;
    const { namespace, send, how, session, message } = sending;
    const key = send.orderingKey || message.extensions.partitionkey || '';
    const call = how.call !== undefined;
    const { caller } = how;
    const agentId = session?.binding.agentId;
    const sent = { namespace, message, agentId, caller, target: targetOf(send.to), call };
    const picked = receivers.of(namespace, send.to, key, call, links.mayReceive(sent));
    const routing = links.route(sent, picked);
    try {
      return await this.#storeFor(sending, key, routing?.to ?? picked, routing);
    } catch (error) {
      routing?.undo();
      throw error;
    }
  }

  async #storeFor(
    sending: Sending,
    key: string,
    to: readonly string[],
    routing: Routing | undefined,
  ): Promise<SendMessageResponse | undefined> {
    const { store, merged, directory, ids, metrics, config } = this.#options;
    const { namespace, send, how, trace, session, message, seen, storeMs } = sending;
    this.#admit(namespace, to);
    const id = seen?.id ?? ids.uuid();
    const { delivery, blob } = messageDelivery({
      ...{ message, storeMs, id, trace },
      orderingKey: key || message.source,
      actor: actorOf(how.caller, directory),
      expireAfterMs: how.call?.timeoutMs ?? this.#expireAfterMs(send, storeMs),
      acceptWithinMs: config.acceptWithinMs,
      maxTries: config.maxTries,
      wantsAnswer: how.call !== undefined,
      idempotent: how.call?.idempotent ?? false,
      capability: send.to.case === 'capability' ? send.to.value : '',
      topic: send.to.case === 'topic' ? send.to.value : '',
      keptMs: this.#options.keptMs,
    });
    const first = to.slice(0, CHUNK);
    const rest = to.slice(CHUNK);
    const [only] = to.length === 1 ? to : [];
    const response = create(SendMessageResponseSchema, {
      messageId: message.id,
      receivers: to.length - (routing?.throttled ?? 0),
      muted: routing?.muted ?? 0,
      throttled: routing?.throttled ?? 0,
      agentId: only ?? '',
      deliveryId: only === undefined ? '' : deliveryIdOf(id, only, true),
    });
    if (only !== undefined) how.call?.chosen?.(only, response.deliveryId);
    routing?.counted((receiver) => deliveryIdOf(id, receiver, to.length === 1));
    const { epoch } = store.status();
    const others = [
      ...(blob === undefined ? [] : [blob]),
      ...(rest.length === 0 ? [] : fanOutPuts(id, delivery, rest, routing?.marks)),
      ...(seen === undefined ? [] : [seen.put(response)]),
    ];
    const checks: Check[] = [
      ...(session === undefined
        ? []
        : [{ key: agentKey(session.known.id), revision: session.known.revision }]),
      ...(seen?.checks ?? []),
    ];
    const outcome = await merged.commit(namespace, (index) => ({
      checks,
      puts: [
        ...this.#puts(sending, { id, delivery, first, only: to.length === 1, index, epoch }, routing?.marks),
        ...others,
      ],
      epoch,
    }));
    if (outcome.kind === 'committed') {
      routing?.stored();
      metrics.message('sent', response.receivers);
      return Object.assign(response, { revision: outcome.revision });
    }
    routing?.undo();
    return seen?.isMine(outcome.key) ? seen.earlier(store, namespace) : undefined;
  }

  #puts(
    { namespace, storeMs }: Sending,
    how: {
      id: string;
      delivery: DeliveryRecord;
      first: readonly string[];
      only: boolean;
      index: number;
      epoch: bigint;
    },
    marks: Marks | undefined,
  ) {
    const { mailboxes, directory, maxMailbox } = this.#options;
    const { id, delivery, first, only, index, epoch } = how;
    return putsInto({
      ...{ id, delivery, agentIds: first, storeMs, only, index, storeEpoch: epoch },
      isFull: (agentId) => mailboxes.count(namespace, agentId) >= maxMailbox,
      markOf: (agentId) => marks?.get(agentId),
      sessionOf: (agentId) => sessionOf(directory, namespace, agentId),
    });
  }

  #admit(namespace: string, to: readonly string[]): void {
    const { mailboxes, maxMailbox, maxReceivers } = this.#options;
    if (to.length > maxReceivers) {
      throw limitReached(`the message has ${to.length} receivers; at most ${maxReceivers} are allowed`);
    }
    const [only] = to;
    if (to.length === 1 && only !== undefined && mailboxes.count(namespace, only) >= maxMailbox) {
      throw mailboxFull(only, maxMailbox);
    }
  }

  #expireAfterMs({ expireAfter, message }: SendMessage, storeMs: number): number {
    if (expireAfter !== undefined) return msFromDuration(expireAfter);
    const expiry = message?.extensions.expirytime;
    if (expiry === undefined) return this.#options.config.expireAfterMs;
    const leftMs = (msFromRfc3339(expiry) ?? Number.NaN) - storeMs;
    if (leftMs > 0 && leftMs <= MAX_EXPIRE_MS) return leftMs;
    const fault = leftMs > 0 ? 'more than 30 days ahead' : 'which has passed';
    const description = `is ${quote(expiry)}, ${fault}`;
    throw invalidFields(`expirytime ${description}`, [
      { field: 'send.message.extensions["expirytime"]', description },
    ]);
  }
}

function withTrace(send: SendMessage, trace: TraceContext): SendMessage {
  const { message } = send;
  if (message === undefined || message.extensions.traceparent !== undefined) return send;
  const extensions = { ...message.extensions, ...trace };
  return { ...send, message: { ...message, extensions } };
}

/** @throws DomainError INVALID_FIELDS when an agent sends under another name */
function stamped(message: Message | undefined, agentId: string | undefined, caller: Caller): Message {
  const stamped = Object.assign(create(MessageSchema), message);
  if (agentId === undefined) {
    if (stamped.source === '') stamped.source = caller.principal;
    return stamped;
  }
  if (stamped.source !== '' && stamped.source !== agentId) {
    const description = `must be ${agentId}, or left out: an agent sends under its own name`;
    throw invalidFields(`source ${description}`, [{ field: 'send.message.source', description }]);
  }
  stamped.source = agentId;
  return stamped;
}
