import { fromBinary } from '@bufbuild/protobuf';
import {
  AgentOutcome_State,
  type Operation,
  Operation_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  type OperationAgentRecord,
  OperationAgentRecordSchema,
  type OperationAgentsRecord,
  OperationAgentsRecordSchema,
  type OperationAnswerRecord,
  OperationAnswerRecordSchema,
  type OperationRecord,
  OperationRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';

/** The format that this version writes. */
export const OPERATION_FORMAT = 1;
/** Agents that one operation may concern. */
export const MAX_AGENTS = 10_000;
/** Agent ids in one entry of the list of whom an operation concerns. */
export const WHO_CHUNK = 1000;

export const OPERATION_PREFIX = 'op/';
const WHO = 'opw/';
const AGENT = 'opa/';
/** Stands before the keys of answers that no operation has taken over yet. */
export const ANSWER_PREFIX = 'opx/';

const digits = (value: number, count: number): string => String(value).padStart(count, '0');

export const operationKey = (id: string): string => OPERATION_PREFIX + id;
export const whoPrefix = (id: string): string => `${WHO}${id}/`;
export const whoKey = (id: string, chunk: number): string => whoPrefix(id) + digits(chunk, 4);
export const agentsPrefix = (id: string): string => `${AGENT}${id}/`;
/** @param place of the agent in the order of turns, counted from 0 */
export const outcomeKey = (id: string, place: number): string => agentsPrefix(id) + digits(place, 5);
export const answersPrefix = (id: string): string => `${ANSWER_PREFIX}${id}/`;
export const answerKey = (id: string, place: number, tries: number): string =>
  `${answersPrefix(id)}${digits(place, 5)}/${tries}`;

/** What an entry of an operation is. */
export type OperationEntry =
  | { kind: 'operation'; id: string }
  | { kind: 'who'; id: string; chunk: number }
  | { kind: 'outcome'; id: string; place: number }
  | { kind: 'answer'; id: string; place: number; tries: number };

/** Reads a key; undefined: it is not of an operation. */
export function operationEntry(key: string): OperationEntry | undefined {
  // Nearly all keys are not.
  if (!key.startsWith('op')) return undefined;
  if (key.startsWith(OPERATION_PREFIX)) return { kind: 'operation', id: key.slice(OPERATION_PREFIX.length) };
  const [prefix, id = '', number = '', tries = ''] = key.split('/');
  switch (`${prefix}/`) {
    case WHO:
      return { kind: 'who', id, chunk: Number(number) };
    case AGENT:
      return { kind: 'outcome', id, place: Number(number) };
    case ANSWER_PREFIX:
      return { kind: 'answer', id, place: Number(number), tries: Number(tries) };
    default:
      return undefined;
  }
}

/**
 * The id of the delivery that a command gets: of operation, agent and try, so that whoever works it out gets the same.
 * Without a slash, which separates ids in keys.
 */
export const deliveryIdOf = (id: string, place: number, tries: number): string => `${id}.${place}.${tries}`;

/** Which try of which agent a delivery is; undefined: it is not an operation's. */
export function deliveryOf(
  deliveryId: string,
  operationId: string,
): { place: number; tries: number } | undefined {
  const found = /^\.(\d{1,5})\.(\d{1,9})$/.exec(
    deliveryId.startsWith(operationId) ? deliveryId.slice(operationId.length) : '',
  );
  return found === null ? undefined : { place: Number(found[1]), tries: Number(found[2]) };
}

export const encodeOperation = (record: OperationRecord): Uint8Array => encode(OperationRecordSchema, record);
export const decodeOperation = (bytes: Uint8Array): OperationRecord =>
  fromBinary(OperationRecordSchema, bytes);
export const encodeWho = (record: OperationAgentsRecord): Uint8Array =>
  encode(OperationAgentsRecordSchema, record);
export const decodeWho = (bytes: Uint8Array): OperationAgentsRecord =>
  fromBinary(OperationAgentsRecordSchema, bytes);
export const encodeOutcome = (record: OperationAgentRecord): Uint8Array =>
  encode(OperationAgentRecordSchema, record);
export const decodeOutcome = (bytes: Uint8Array): OperationAgentRecord =>
  fromBinary(OperationAgentRecordSchema, bytes);
export const encodeAnswer = (record: OperationAnswerRecord): Uint8Array =>
  encode(OperationAnswerRecordSchema, record);
export const decodeAnswer = (bytes: Uint8Array): OperationAnswerRecord =>
  fromBinary(OperationAnswerRecordSchema, bytes);

/** The public part of a record; every record has one. */
export function operationOf(record: OperationRecord): Operation {
  if (record.operation === undefined) throw new Error('an operation record without its operation');
  return record.operation;
}

export const hasEnded = (record: OperationRecord): boolean => operationOf(record).endTime !== undefined;

/** The wave of a place, counted from 1. */
export const waveOf = (record: OperationRecord, place: number): number =>
  Math.floor(place / Math.max(1, record.waveSize)) + 1;

/** How an agent stands, as far as its operation goes: one that failed and is to be tried again waits for its turn. */
export function stateOf(
  record: OperationRecord,
  outcome: OperationAgentRecord | undefined,
): AgentOutcome_State {
  const cancelled = operationOf(record).state === Operation_State.CANCELLED;
  const state = outcome?.outcome?.state ?? AgentOutcome_State.WAITING;
  if (state === AgentOutcome_State.WAITING) return cancelled ? AgentOutcome_State.CANCELLED : state;
  const again = state === AgentOutcome_State.FAILED && (outcome?.round ?? 0) < record.retryRound;
  return again && !cancelled ? AgentOutcome_State.WAITING : state;
}

/** Its command is out. */
export const isOut = (state: AgentOutcome_State): boolean =>
  state === AgentOutcome_State.DELIVERED || state === AgentOutcome_State.ACCEPTED;
