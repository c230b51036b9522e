import type { Delivery, Message } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { type Content, contentTypeOf, fromPayload } from './payloads.ts';

/** A message that came, shaped like a CloudEvent. */
export interface IncomingMessage {
  /** Unique with its source. */
  readonly id: string;
  /** Who sent it: of an agent, its id. */
  readonly source: string;
  readonly type: string;
  /** What it concerns within the source; may be empty. */
  readonly subject: string;
  /** The topic that it was published to; empty: it was sent otherwise. */
  readonly topic: string;
  /** Text as a string, bytes as a Uint8Array, JSON as its value; undefined: there is none. */
  readonly data: Content | undefined;
  /** The data's media type; empty without data. */
  readonly contentType: string;
  /** CloudEvents extension attributes. */
  readonly extensions: Readonly<Record<string, string>>;
}

/** What a handler knows of the delivery of its message, and can do about it. */
export interface MessageContext {
  readonly deliveryId: string;
  /** Grows with each delivery of the same message: a fencing token for what the handler writes. */
  readonly attempt: bigint;
  /** Somebody waits for what the handler returns. */
  readonly wantsAnswer: boolean;
  /**
   * Fires when the outcome is not wanted any more: the delivery was revoked (cancelled, expired, given to another agent), its
   * deadline passed, the agent counts as lost or was closed. The reason is an AgentError.
   */
  readonly signal: AbortSignal;
  /** By when it is to be done, by this process's clock; undefined: there is no deadline. */
  readonly deadline: Date | undefined;
  /** Does not take the message on: throws, so the handler ends. Retryable: it is delivered again later. */
  decline(reason: string, options?: { retryable?: boolean }): never;
  /** Tells how far it is, in the agent's own unit. */
  progress(done: number | bigint, total?: number | bigint): void;
  /** All that came. */
  readonly delivery: Delivery;
}

/** What a handler may give as the answer. */
export type Answerable = Content | object | undefined;

/**
 * Takes a message. Once it resolves, the message is done; of a call, what it resolves to is the answer. If it throws, the
 * message has failed: it is delivered again after a pause, up to the number of tries that the service is configured for, and
 * then a dead letter; at once with a PermanentError. A call that throws has failed at once: its caller is told.
 */
export type MessageHandler = (
  message: IncomingMessage,
  context: MessageContext,
) => Promise<Answerable> | Promise<void> | Answerable | void;

/** Handlers by the type of message: exact, "order.*" (also of deeper ones: "order.paid.late"), or "*". */
export type MessageHandlers = Readonly<Record<string, MessageHandler>>;

/** @throws where the data is broken */
export function incoming(message: Message, topic: string): IncomingMessage {
  const { id, source, type, subject, data, extensions } = message;
  return {
    id,
    source,
    type,
    subject,
    topic,
    data: fromPayload(data),
    contentType: contentTypeOf(data),
    extensions,
  };
}
