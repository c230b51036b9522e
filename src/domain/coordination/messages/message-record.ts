import { createHash } from 'node:crypto';
import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type Message,
  MessageSchema,
  type Payload,
  PayloadSchema,
  type SendMessage,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
  type FanOutListRecord,
  FanOutListRecordSchema,
  type FanOutRecord,
  FanOutRecordSchema,
  type ReplyRecord,
  ReplyRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { durationFromMs, timestampFromMs } from '../../../lib/proto-time.ts';
import { QUIET_PREFIX } from '../../../state/store.ts';
import { DELIVERY_FORMAT } from '../delivery-record.ts';
import type { TraceContext } from './message-tracing.ts';

/** Payloads up to here stand in the mailbox entry itself. */
const INLINE_BYTES = 1024;
/** Stands before payloads that are kept apart: "~blob/<12 digits: when it may go, Unix seconds>/<id>", so that those that may
 * go come first. */
export const BLOB_PREFIX = `${QUIET_PREFIX}blob/`;
const REPLY = 'reply/';
const FAN_OUT = 'fanout/';
/** Of its receivers: written once, and no follower needs it. */
const FAN_OUT_LIST = `${QUIET_PREFIX}fanout/`;

export const replyKey = (deliveryId: string): string => REPLY + deliveryId;
export const isReplyKey = (key: string): boolean => key.startsWith(REPLY);
export const deliveryOfReply = (key: string): string => key.slice(REPLY.length);
export const REPLY_PREFIX = REPLY;
export const fanOutKey = (id: string): string => FAN_OUT + id;
export const fanOutListKey = (id: string): string => FAN_OUT_LIST + id;
export const isFanOutKey = (key: string): boolean => key.startsWith(FAN_OUT);

export const encodeReply = (record: ReplyRecord): Uint8Array => encode(ReplyRecordSchema, record);
export const decodeReply = (bytes: Uint8Array): ReplyRecord => fromBinary(ReplyRecordSchema, bytes);
export const encodeFanOut = (record: FanOutRecord): Uint8Array => encode(FanOutRecordSchema, record);
export const decodeFanOut = (bytes: Uint8Array): FanOutRecord => fromBinary(FanOutRecordSchema, bytes);
export const encodeFanOutList = (list: FanOutListRecord): Uint8Array => encode(FanOutListRecordSchema, list);
export const decodeFanOutList = (bytes: Uint8Array): FanOutListRecord =>
  fromBinary(FanOutListRecordSchema, bytes);

/** When a kept-apart payload may go, Unix seconds; from its key. */
export const blobExpirySeconds = (key: string): number =>
  Number(key.slice(BLOB_PREFIX.length, BLOB_PREFIX.length + 12));

export const blobKey = (id: string, untilMs: number): string =>
  `${BLOB_PREFIX}${String(Math.ceil(untilMs / 1000)).padStart(12, '0')}/${id}`;

/** Mailboxes that one commit puts a message into; the rest follow. */
export const CHUNK = 256;

/** Begins the id of a delivery whose message has no other receiver. */
export const ONLY_ONE = 'msg1-';
/** Begins the id of one whose message has others too. */
const ONE_OF_MANY = 'msg-';
/** Stands before ordering keys of messages. */
const ORDER = 'm:';

/** The key by which a message is ordered at its receiver. */
export const orderingKeyOf = ({ orderingKey }: DeliveryRecord): string =>
  orderingKey.startsWith(ORDER) ? orderingKey.slice(ORDER.length) : '';

/** Whether a message has other receivers than this delivery's. */
export const isShared = ({ id }: DeliveryRecord): boolean => id.startsWith(ONE_OF_MANY);

/** Of one message in one mailbox: the same however often it is worked out. */
export function deliveryIdOf(id: string, agentId: string, only = false): string {
  return `${only ? ONLY_ONE : ONE_OF_MANY}${id}-${shortOf(agentId)}`;
}

const shortNames = new Map<string, string>();
const MAX_SHORT_NAMES = 10_000;

/** Of an agent's id, which may be long. */
function shortOf(agentId: string): string {
  let short = shortNames.get(agentId);
  if (short === undefined) {
    short = createHash('sha256').update(agentId).digest('hex').slice(0, 12);
    if (shortNames.size >= MAX_SHORT_NAMES) shortNames.clear();
    shortNames.set(agentId, short);
  }
  return short;
}

export interface NewMessage {
  message: Message;
  orderingKey: string;
  actor: string;
  storeMs: number;
  expireAfterMs: number;
  acceptWithinMs: number;
  maxTries: number;
  wantsAnswer: boolean;
  idempotent: boolean;
  capability: string;
  topic: string;
  trace: TraceContext;
  /** How long its payload is kept after it expired: dead letters refer to it. */
  keptMs: number;
  /** Unique in the namespace; names the payload. */
  id: string;
}

/** What is put into a mailbox, without delivery id and agent, and its payload where that is kept apart. */
export function messageDelivery(input: NewMessage): {
  delivery: DeliveryRecord;
  blob: { key: string; value: Uint8Array } | undefined;
} {
  const { message, storeMs, expireAfterMs } = input;
  const bytes = message.data === undefined ? 0 : payloadBytes(message.data);
  let item = message;
  let blob: { key: string; value: Uint8Array } | undefined;
  if (message.data !== undefined && bytes > INLINE_BYTES) {
    const untilMs = storeMs + expireAfterMs + input.keptMs;
    blob = { key: blobKey(input.id, untilMs), value: encode(PayloadSchema, message.data) };
    item = Object.assign(create(MessageSchema), message);
    delete item.data;
  }
  const delivery = create(DeliveryRecordSchema, {
    format: DELIVERY_FORMAT,
    orderingKey: `${ORDER}${input.orderingKey}`,
    createTime: timestampFromMs(storeMs),
    expireTime: timestampFromMs(storeMs + expireAfterMs),
    acceptWithin: durationFromMs(input.acceptWithinMs),
    maxTries: input.maxTries,
    actor: input.actor,
    ...input.trace,
    payloadKey: blob?.key ?? '',
    payloadBytes: bytes,
    wantsAnswer: input.wantsAnswer,
    capability: input.capability,
    topic: input.topic,
    idempotent: input.idempotent,
    item: { case: 'message', value: item },
  });
  return { delivery, blob };
}

/** The same as is stored with a delivery. */
export const payloadSize = (payload: Payload | undefined): number =>
  payload === undefined ? 0 : payloadBytes(payload);

/** For whom a sender sends something, in a word: "agent:<id>", "capability:<name>", "topic:<topic>" or "selector". */
export function targetOf(to: SendMessage['to']): string {
  switch (to.case) {
    case 'agentId':
      return `agent:${to.value}`;
    case 'capability':
    case 'topic':
      return `${to.case}:${to.value}`;
    default:
      return 'selector';
  }
}

/** The same, of a delivery. */
export function targetOfDelivery(record: DeliveryRecord): string {
  if (record.topic !== '') return `topic:${record.topic}`;
  if (isShared(record)) return 'selector';
  if (record.capability !== '') return `capability:${record.capability}`;
  return `agent:${record.reroutedFrom || record.agentId}`;
}

/** About how many bytes a payload takes. */
function payloadBytes(payload: Payload): number {
  const { data, contentType } = payload;
  if (data.case === 'binary') return data.value.length + contentType.length;
  if (data.case === 'text') return Buffer.byteLength(data.value) + contentType.length;
  return encode(PayloadSchema, payload).length;
}

/** The payload that was kept apart. */
export const decodePayload = (bytes: Uint8Array): Payload => fromBinary(PayloadSchema, bytes);
