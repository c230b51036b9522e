import { create } from '@bufbuild/protobuf';
import {
  MessageSchema,
  type SendMessage,
  SendMessageSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { CallLimits } from './calls.ts';
import { type Content, toPayload } from './payloads.ts';
import { toDuration } from './time.ts';

/** A message to send, shaped like a CloudEvent. Its source is the agent's id. */
export interface OutgoingMessage {
  /** What it is about: 1 to 128 visible ASCII characters. */
  type: string;
  /** At most 64 KiB. A string travels as text, a Uint8Array as bytes, anything else as JSON. */
  data?: Content | object;
  /** The data's media type; default: by its kind. */
  contentType?: string;
  /** What it concerns within the source. */
  subject?: string;
  /** Default: a random one. The same id within five minutes is the same message: it is stored once. */
  id?: string;
  /** CloudEvents extension attributes: names of [a-z0-9], values of at most 1,024 characters. */
  extensions?: Readonly<Record<string, string>>;
}

/** For whom: an agent (its id alone says the same), any one agent that has a capability, all that a label selector picks. */
export type MessageTarget =
  | string
  | { agentId: string }
  | { capability: string }
  | { topic: string }
  | { selector: string };

/** Whom a call may be for: one agent. */
export type CallTarget = string | { agentId: string } | { capability: string };

export interface SendOptions extends CallLimits {
  /** Given up after this time, which is then a dead letter; 100 ms to 30 days. Default: as the service is configured. */
  expireAfterMs?: number;
  /** Messages of one key arrive one after the other, and those to a capability at the same agent. Default: the sender. */
  orderingKey?: string;
}

/** What a message is sent as. */
export function toSend(
  target: MessageTarget,
  message: OutgoingMessage,
  options: SendOptions & { id: string; extensions: Record<string, string> },
): SendMessage {
  const { type, contentType, subject = '' } = message;
  const { id, extensions, expireAfterMs, orderingKey = '' } = options;
  const data = toPayload(message.data, contentType);
  return create(SendMessageSchema, {
    message: create(MessageSchema, { id, type, subject, extensions, ...(data !== undefined && { data }) }),
    to: toOf(target),
    orderingKey,
    ...(expireAfterMs !== undefined && { expireAfter: toDuration(expireAfterMs) }),
  });
}

function toOf(target: MessageTarget): SendMessage['to'] {
  if (typeof target === 'string') return { case: 'agentId', value: target };
  if ('agentId' in target) return { case: 'agentId', value: target.agentId };
  if ('capability' in target) return { case: 'capability', value: target.capability };
  if ('topic' in target) return { case: 'topic', value: target.topic };
  return { case: 'selector', value: target.selector };
}
