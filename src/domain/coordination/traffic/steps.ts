import { fromBinary } from '@bufbuild/protobuf';
import type { Timestamp } from '@bufbuild/protobuf/wkt';
import { MessageTrace_Step } from '../../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import {
  type DeadLetterRecord,
  DeadLetterRecordSchema,
  type DeliveryRecord,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { ChangeBatch } from '../../../state/store.ts';
import { agentKey } from '../../agent/record.ts';
import { deadKey, isDeadKey, isMailKey, mailOf } from '../delivery-record.ts';
import type { KnownDelivery } from '../mailboxes.ts';
import { decodeReply, isReplyKey, replyKey } from '../messages/message-record.ts';

/** What happened to a message on its way to one receiver. */
export interface Step {
  step: MessageTrace_Step;
  /** As in MessageTrace. */
  reason?: string;
  error?: string;
  retryTime?: Timestamp;
  fromAgentId?: string;
}

/** What else a commit changed that tells how a delivery ended. */
export interface Beside {
  dead: ReadonlyMap<string, Uint8Array>;
  replies: ReadonlyMap<string, Uint8Array>;
  /** Keys that were deleted, mail left out. */
  deleted: ReadonlySet<string>;
  /** Whose mailbox a delivery was taken out of, or put into, by its id. */
  takenFrom: ReadonlyMap<string, string>;
  putInto: ReadonlyMap<string, string>;
}

const { STORED, REROUTED, HANDED_OUT, TAKEN_ON, DONE, DECLINED, FAILED, DEAD_LETTER, MOVED, WITHDRAWN } =
  MessageTrace_Step;

/**
 * The steps that a change of a mailbox entry stands for, in order. Pure.
 *
 * How a delivery ended is told by what its commit changes besides (docs/decisions/0014): nothing is written for that, and a
 * delivery that is taken out of its mailbox with nothing besides is done. Whoever takes a message out for another reason has to
 * do one of these: put a dead letter, put a reply, put it into another mailbox, or remove the agent.
 */
export function stepsOf(
  before: KnownDelivery | undefined,
  after: KnownDelivery | undefined,
  beside: Beside,
): Step[] {
  if (after === undefined) return before === undefined ? [] : endOf(before, beside);
  const steps: Step[] = [];
  if (before === undefined) steps.push(arrivalOf(after, beside));
  if (after.record.attempt !== (before?.record.attempt ?? 0n)) steps.push({ step: HANDED_OUT });
  if (after.record.accepted && before?.record.accepted !== true) steps.push({ step: TAKEN_ON });
  const again = before !== undefined && refusal(before.record, after.record);
  return again ? [...steps, again] : steps;
}

function arrivalOf({ id, agentId, record }: KnownDelivery, { takenFrom }: Beside): Step {
  const fromAgentId = takenFrom.get(id);
  if (fromAgentId !== undefined && fromAgentId !== agentId) return { step: MOVED, fromAgentId };
  return record.reroutedFrom === '' ? { step: STORED } : { step: REROUTED, fromAgentId: record.reroutedFrom };
}

/** It was refused for now. */
function refusal(before: DeliveryRecord, after: DeliveryRecord): Step | undefined {
  const { notBefore, lastAnswer, lastError } = after;
  const isNew =
    notBefore !== undefined &&
    (before.notBefore?.seconds !== notBefore.seconds || before.notBefore.nanos !== notBefore.nanos);
  if (!isNew || after.attempt !== before.attempt) return undefined;
  const step = lastAnswer === 'declined' ? DECLINED : FAILED;
  return { step, reason: lastAnswer, error: lastError, retryTime: notBefore };
}

function endOf({ id, agentId, record }: KnownDelivery, beside: Beside): Step[] {
  const elsewhere = beside.putInto.get(id);
  // Told where it arrives.
  if (elsewhere !== undefined && elsewhere !== agentId) return [];
  const letter = beside.dead.get(deadKey(agentId, id));
  if (letter !== undefined) return [deadStep(fromBinary(DeadLetterRecordSchema, letter))];
  const reply = beside.replies.get(replyKey(id));
  if (reply !== undefined) {
    const { state, error } = decodeReply(reply);
    if (state === 'succeeded') return [{ step: DONE }];
    const step = state === 'declined' ? DECLINED : state === 'failed' ? FAILED : DEAD_LETTER;
    return [{ step, reason: state, error }];
  }
  if (beside.deleted.has(agentKey(agentId))) return [{ step: WITHDRAWN, reason: 'deregistered' }];
  if (record.wantsAnswer) return [{ step: WITHDRAWN, reason: 'caller_gone' }];
  return [{ step: DONE }];
}

/** What a dead letter says. */
export function deadStep({ reason, error, answer }: DeadLetterRecord): Step {
  const step = answer === 'declined' ? DECLINED : answer === 'failed' ? FAILED : DEAD_LETTER;
  // Of dead letters, "declined" stands for both.
  return { step, reason: reason === 'declined' && answer !== '' ? answer : reason, error };
}

/** Sorts what a commit changed. */
export function besideOf({ changes }: ChangeBatch): Beside {
  // Most commits have neither dead letters nor replies: nothing is made for them.
  let dead: Map<string, Uint8Array> | undefined;
  let replies: Map<string, Uint8Array> | undefined;
  let deleted: Set<string> | undefined;
  let takenFrom: Map<string, string> | undefined;
  let putInto: Map<string, string> | undefined;
  for (const { key, value } of changes) {
    if (isMailKey(key)) {
      const { agentId, deliveryId } = mailOf(key);
      if (value === undefined) {
        takenFrom ??= new Map();
        takenFrom.set(deliveryId, agentId);
      } else {
        putInto ??= new Map();
        putInto.set(deliveryId, agentId);
      }
    } else if (value === undefined) {
      deleted ??= new Set();
      deleted.add(key);
    } else if (isDeadKey(key)) {
      dead ??= new Map();
      dead.set(key, value);
    } else if (isReplyKey(key)) {
      replies ??= new Map();
      replies.set(key, value);
    }
  }
  return {
    dead: dead ?? NO_VALUES,
    replies: replies ?? NO_VALUES,
    deleted: deleted ?? NO_KEYS,
    takenFrom: takenFrom ?? NO_AGENTS,
    putInto: putInto ?? NO_AGENTS,
  };
}

const NO_VALUES: ReadonlyMap<string, Uint8Array> = new Map();
const NO_KEYS: ReadonlySet<string> = new Set();
const NO_AGENTS: ReadonlyMap<string, string> = new Map();
