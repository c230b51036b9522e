import { create } from '@bufbuild/protobuf';
import {
  type DeliveryUpdate,
  DeliveryUpdate_State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import { msFromDuration, msFromTimestamp, timestampFromMs } from '../../lib/proto-time.ts';
import { nextEpoch } from '../agent/attach.ts';
import { COMMAND_ORDER } from './delivery-record.ts';
import type { KnownDelivery } from './mailboxes.ts';

/** What this replica knows of the deliveries that it handed out in one session. */
export interface HandedOut {
  attempt: bigint;
  /** When it has to be answered, monotonic milliseconds; undefined: it was accepted, or needs no answer any more. */
  dueMs: number | undefined;
}

/** What is to be done about one delivery now. */
export type Step =
  /** It is with the agent, or waits for something that will be heard of. */
  | { kind: 'wait' }
  /** Nothing before this time on the store's clock. */
  | { kind: 'later'; storeMs: number }
  /** It must be given a new attempt, and will then be sent. */
  | { kind: 'claim' }
  /** Its present attempt is for this session and was not sent yet. */
  | { kind: 'send' }
  /** The agent brought it along from an earlier session in which it did not get to say that it had taken it on. */
  | { kind: 'adopt' }
  /** It was tried often enough. */
  | { kind: 'give_up' };

export interface StepInput {
  known: KnownDelivery;
  sessionEpoch: bigint;
  /** What was handed out in this session. */
  handedOut: HandedOut | undefined;
  /** The agent said in hello that it holds this attempt. */
  held: bigint | undefined;
  nowMs: number;
  storeMs: number;
}

/** Decides what comes next for a delivery whose agent has a session here. Pure. */
export function nextStep({ known, sessionEpoch, handedOut, held, nowMs, storeMs }: StepInput): Step {
  const { record } = known;
  if (isExpired(record, storeMs)) return { kind: 'wait' };
  // Of a kind that a later version brought: a replica that knows it hands it over, once the agent is there.
  if (record.item.case === undefined) return { kind: 'wait' };
  if (isTakenOn(known, sessionEpoch, held)) return { kind: 'wait' };
  const ours = record.attempt !== 0n && record.sessionEpoch === sessionEpoch;
  const holds = record.attempt !== 0n && held === record.attempt;
  if (!ours && holds) return { kind: 'adopt' };
  if (handedOut !== undefined && handedOut.attempt === record.attempt) {
    const answered = handedOut.dueMs === undefined && record.notBefore === undefined;
    if (answered || (handedOut.dueMs !== undefined && nowMs < handedOut.dueMs)) return { kind: 'wait' };
  } else if (ours && record.notBefore === undefined && (handedOut?.attempt ?? 0n) < record.attempt) {
    // A store that fell back may show an attempt that this session has left behind: that is tried anew.
    return { kind: 'send' };
  }
  if (triesOf(record, handedOut) >= record.maxTries) return { kind: 'give_up' };
  const notBeforeMs = record.notBefore === undefined ? 0 : msFromTimestamp(record.notBefore);
  if (storeMs < notBeforeMs) return { kind: 'later', storeMs: notBeforeMs };
  return nextTry(record);
}

/**
 * How often it was handed out. A first attempt that was made for the agent's session when the delivery was stored counts once
 * it was handed out there.
 */
const triesOf = ({ tries, attempt }: DeliveryRecord, handedOut: HandedOut | undefined): number =>
  handedOut?.attempt === attempt ? Math.max(1, tries) : tries;

/** How often a delivery was handed out that the agent says something of. */
export const answeredTries = ({ tries }: DeliveryRecord): number => Math.max(1, tries);

/** What comes after an attempt that led to nothing. */
export const nextTry = ({ tries, maxTries }: DeliveryRecord): Step =>
  tries >= maxTries ? { kind: 'give_up' } : { kind: 'claim' };

export const isExpired = (record: DeliveryRecord, storeMs: number): boolean =>
  record.expireTime !== undefined && msFromTimestamp(record.expireTime) <= storeMs;

/** Whether the agent of a session has taken it on: in that session, or in an earlier one from which it still holds it. */
export const isTakenOn = ({ record }: KnownDelivery, sessionEpoch: bigint, held?: bigint): boolean =>
  record.accepted &&
  record.attempt !== 0n &&
  (record.sessionEpoch === sessionEpoch || held === record.attempt);

/** Whether it counts towards the agent's max_in_flight. */
export const countsInFlight = ({ record }: KnownDelivery): boolean => record.orderingKey !== COMMAND_ORDER;

/**
 * The record with its next attempt, for a session. Pure.
 * @param wasHandedOut the attempt before was, in the same session
 */
export function claimed(
  known: KnownDelivery,
  sessionEpoch: bigint,
  storeEpoch: bigint,
  wasHandedOut: boolean,
): DeliveryRecord {
  const record = rewritten(known);
  const { item } = record;
  record.attempt =
    item.case === 'task'
      ? nextOfTask(record.attempt, item.value.attempt, storeEpoch)
      : nextEpoch(record.attempt, storeEpoch);
  record.sessionEpoch = sessionEpoch;
  record.tries = (wasHandedOut ? Math.max(1, record.tries) : record.tries) + 1;
  record.accepted = false;
  delete record.notBefore;
  return record;
}

/** Claims that each attempt at a task has numbers for. */
const CLAIMS_PER_ATTEMPT = 16n;

/** The fencing token of the next claim of an attempt's delivery: higher than every one of the task's earlier attempts. Pure. */
export function nextOfTask(previous: bigint, number: number, storeEpoch: bigint): bigint {
  const floor = (storeEpoch << 32n) + BigInt(number) * CLAIMS_PER_ATTEMPT;
  return nextEpoch(previous > floor ? previous : floor, storeEpoch);
}

/** The record of an attempt that the agent says it holds. Pure. */
export function adopted(known: KnownDelivery, sessionEpoch: bigint): DeliveryRecord {
  const record = rewritten(known);
  record.accepted = true;
  record.sessionEpoch = sessionEpoch;
  return record;
}

/** What a delivery update makes of its delivery. */
export type Outcome =
  | { kind: 'accepted'; record: DeliveryRecord }
  /** It will be tried again. */
  | { kind: 'again'; record: DeliveryRecord }
  /** It is over. `dead`: as a dead letter. */
  | { kind: 'over'; state: 'succeeded' | 'failed' | 'declined'; dead: 'declined' | 'tries' | undefined };

/** The pause before a delivery that was declined as retryable is tried again: 1 s, doubled with each try. */
const RETRY_BASE_MS = 1000;
const RETRY_MAX_MS = 60_000;
/** What is kept of an agent's error text, characters. */
const SAID = 512;

/**
 * Decides what an update makes of a delivery. Pure.
 * @throws DomainError ATTEMPT_STALE when it is of an attempt that is not the present one
 */
export function decideUpdate(known: KnownDelivery, update: DeliveryUpdate, storeMs: number): Outcome {
  const { record } = known;
  const attempt = update.work?.attempt ?? 0n;
  if (attempt !== record.attempt || attempt === 0n) {
    throw new DomainError({
      reason: ErrorReason.ATTEMPT_STALE,
      message: `delivery ${known.id} is at attempt ${record.attempt}, not ${attempt}`,
      metadata: { current_attempt: `${record.attempt}` },
    });
  }
  // Whoever ordered or called it is told: a dead letter would be another tale of the same.
  const told = record.item.case === 'command' || record.wantsAnswer;
  switch (update.state) {
    case DeliveryUpdate_State.ACCEPTED: {
      const next = rewritten(known);
      next.tries = answeredTries(record);
      next.accepted = true;
      delete next.notBefore;
      return { kind: 'accepted', record: next };
    }
    case DeliveryUpdate_State.SUCCEEDED:
      return { kind: 'over', state: 'succeeded', dead: undefined };
    default: {
      const state = update.state === DeliveryUpdate_State.DECLINED ? 'declined' : 'failed';
      // What comes next of a task is for its retry policy to say.
      if (record.item.case === 'task') return { kind: 'over', state, dead: undefined };
      if (!update.retryable) return { kind: 'over', state, dead: told ? undefined : 'declined' };
      const tries = answeredTries(record);
      if (tries >= record.maxTries) {
        return { kind: 'over', state, dead: told ? undefined : 'tries' };
      }
      const next = rewritten(known);
      next.tries = tries;
      next.accepted = false;
      next.lastAnswer = state;
      next.lastError = update.error.slice(0, SAID);
      const pauseMs = Math.min(RETRY_MAX_MS, RETRY_BASE_MS * 2 ** (tries - 1));
      next.notBefore = timestampFromMs(storeMs + pauseMs);
      return { kind: 'again', record: next };
    }
  }
}

/** How long the agent has to accept or decline, milliseconds. */
export const acceptWithinMs = (record: DeliveryRecord): number =>
  record.acceptWithin === undefined ? 10_000 : msFromDuration(record.acceptWithin);

/** A copy to be changed, that remembers its place in the mailbox. */
export function rewritten({ record, createdRevision }: KnownDelivery): DeliveryRecord {
  const copy = create(DeliveryRecordSchema);
  Object.assign(copy, record);
  copy.createdRevision = createdRevision;
  return copy;
}
