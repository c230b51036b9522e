import { create, fromBinary, fromJson, isMessage, type JsonObject } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  CommandSchema,
  type Payload,
  PayloadSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type DeadLetterRecord,
  DeadLetterRecordSchema,
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../lib/encode.ts';
import { durationFromMs, timestampFromMs } from '../../lib/proto-time.ts';

/** The format that this version writes. */
export const DELIVERY_FORMAT = 1;
const MAIL = 'mail/';
/** Stands before every key of a dead letter. */
export const DEAD_PREFIX = 'dead/';

/** "mail/<agent id>/<delivery id>"; neither id has a slash. */
export const mailKey = (agentId: string, deliveryId: string): string => `${MAIL}${agentId}/${deliveryId}`;
export const isMailKey = (key: string): boolean => key.startsWith(MAIL);
export const isDeadKey = (key: string): boolean => key.startsWith(DEAD_PREFIX);
export const deadKey = (agentId: string, deliveryId: string): string =>
  `${DEAD_PREFIX}${agentId}/${deliveryId}`;

/** The two ids in a mail key. */
export function mailOf(key: string): { agentId: string; deliveryId: string } {
  const slash = key.indexOf('/', MAIL.length);
  return { agentId: key.slice(MAIL.length, slash), deliveryId: key.slice(slash + 1) };
}

/** What was encoded here and comes back through the store's news as the same bytes need not be decoded. */
const encoded = new WeakMap<Uint8Array, DeliveryRecord>();

/** The record must not be changed afterwards. */
export function encodeDelivery(record: DeliveryRecord): Uint8Array {
  const bytes = encode(DeliveryRecordSchema, record);
  encoded.set(bytes, record);
  return bytes;
}

/** The record must not be changed. */
export const decodeDelivery = (bytes: Uint8Array): DeliveryRecord =>
  encoded.get(bytes) ?? fromBinary(DeliveryRecordSchema, bytes);

/** Commands of one agent come one after the other: a later one waits until the one before is acknowledged. */
export const COMMAND_ORDER = 'command';

/** The fleet operation that a command belongs to, and the trace context of who started it. */
export interface CommandCause {
  operationId?: string;
  traceparent?: string;
  tracestate?: string;
}

export interface NewCommand extends CommandCause {
  /** Unique in the namespace. Derive it from what causes the command where that may be decided twice. */
  id: string;
  /** Whose mailbox it goes to. */
  agentId: string;
  /** The agent that it is about; default: the one that gets it. */
  subjectAgentId?: string;
  /** As in Command.type. */
  type: string;
  /** An object, or a payload as somebody gave it. */
  arguments: JsonObject | Payload | undefined;
  /** Who caused it: a principal or "rule:<name>". */
  actor: string;
  /** The store's clock. */
  storeMs: number;
  /** Given up after this time; undefined: never. */
  expireAfterMs: number | undefined;
  acceptWithinMs: number;
  maxTries: number;
  /** Its place among the deliveries that one commit puts into one mailbox. */
  index?: number;
}

/** A command for a mailbox: an effect of the commit that causes it. */
export function putCommand(command: NewCommand): { key: string; value: Uint8Array } {
  const { id, agentId, storeMs, expireAfterMs } = command;
  const given = argumentsOf(command.arguments);
  const record = create(DeliveryRecordSchema, {
    format: DELIVERY_FORMAT,
    id,
    agentId,
    index: command.index ?? 0,
    orderingKey: COMMAND_ORDER,
    createTime: timestampFromMs(storeMs),
    acceptWithin: durationFromMs(command.acceptWithinMs),
    maxTries: command.maxTries,
    actor: command.actor,
    subjectAgentId: command.subjectAgentId ?? '',
    traceparent: command.traceparent ?? '',
    tracestate: command.tracestate ?? '',
    item: {
      case: 'command',
      value: create(CommandSchema, {
        operationId: command.operationId ?? '',
        type: command.type,
        ...(given === undefined ? {} : { arguments: given }),
      }),
    },
  });
  if (expireAfterMs !== undefined) record.expireTime = timestampFromMs(storeMs + expireAfterMs);
  return { key: mailKey(agentId, id), value: encodeDelivery(record) };
}

function argumentsOf(given: NewCommand['arguments']): Payload | undefined {
  if (given === undefined || isMessage(given, PayloadSchema)) return given;
  return create(PayloadSchema, {
    contentType: 'application/json',
    data: { case: 'json', value: fromJson(ValueSchema, given as JsonObject) },
  });
}

/** A dead letter in place of the delivery. */
export function putDeadLetter(
  delivery: DeliveryRecord,
  reason: DeadLetterRecord['reason'],
  error: string,
  storeMs: number,
  /** How the agent ended it, if it did. */
  answer: '' | 'declined' | 'failed' = '',
): { key: string; value: Uint8Array } {
  const time = timestampFromMs(storeMs);
  const record = create(DeadLetterRecordSchema, { delivery, reason, error, time, answer });
  return { key: deadKey(delivery.agentId, delivery.id), value: encode(DeadLetterRecordSchema, record) };
}

/**
 * How many attempts were made for a delivery, as people are told: one that is made while it is stored is not counted towards
 * its limit before it is handed out, but it is one.
 */
export const attemptsOf = ({ tries, attempt }: DeliveryRecord): number =>
  attempt === 0n ? tries : Math.max(1, tries);

/** What a delivery is, in two words: "command drain". */
export function itemWords({ item }: DeliveryRecord): string {
  switch (item.case) {
    case 'command':
      return `command ${item.value.type}`;
    case 'message':
      return `message ${item.value.type}`;
    case 'task':
      return `task ${item.value.capability}`;
    default:
      return 'nothing';
  }
}
