/** Frames of tasks by hand, as in load/frames.ts: templates are encoded once, and only what differs is written anew. */

import type { MessageInitShape } from '@bufbuild/protobuf';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  SubmitTaskRequestSchema,
  type TaskSpecSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';

/** Stands before a task's number; nothing else in a frame begins so. */
const MARK = Buffer.from('bench-task.');
const DIGITS = 9;
const TAG_DELIVERY = 0x1a; // OpenSessionResponse.delivery
const TAG_REVOKE = 0x22; // OpenSessionResponse.revoke
const TAG_RESULT = 0x2a; // OpenSessionResponse.result
const TAG_WORK = 0x0a; // Delivery.work and DeliveryUpdate.work
const TAG_FRAME_ID = 0x0a; // OpenSessionRequest.frame_id and Result.frame_id
const TAG_UPDATE = 0x22; // OpenSessionRequest.delivery_update
const TAG_STATE = 0x10; // DeliveryUpdate.state

const idOf = (number: number): string => `${MARK}${String(number).padStart(DIGITS, '0')}`;

/** Encodes submissions that differ in their number only. */
export class SubmitTemplate {
  readonly #bytes: Buffer;
  readonly #place: number;

  constructor(spec: MessageInitShape<typeof TaskSpecSchema>) {
    const request = create(SubmitTaskRequestSchema, { taskId: idOf(0), spec });
    this.#bytes = Buffer.from(toBinary(SubmitTaskRequestSchema, request));
    this.#place = this.#bytes.indexOf(MARK) + MARK.length;
  }

  /** The bytes are valid until the next call. */
  request(number: number): Buffer {
    this.#bytes.write(String(number).padStart(DIGITS, '0'), this.#place, DIGITS, 'latin1');
    return this.#bytes;
  }
}

/** What an agent says of a delivery; the value is that of DeliveryUpdate.State. */
export const ACCEPTED = 1;
export const SUCCEEDED = 3;
export type Said = typeof ACCEPTED | typeof SUCCEEDED;

export type Heard =
  | { kind: 'delivery'; number: number; work: Buffer }
  /** The answer to what was said of a delivery. */
  | { kind: 'result'; number: number; said: Said; ok: boolean }
  | { kind: 'revoke' }
  | { kind: 'other' };

/** What a frame from the server says, as far as the bench needs it. */
export function hear(frame: Buffer): Heard {
  const tag = frame[0];
  if (tag === TAG_REVOKE) return { kind: 'revoke' };
  if (tag !== TAG_DELIVERY && tag !== TAG_RESULT) return { kind: 'other' };
  const at = frame.indexOf(MARK);
  if (at < 0) return { kind: 'other' };
  const end = at + MARK.length + DIGITS;
  const number = Number(frame.toString('latin1', at + MARK.length, end));
  if (tag === TAG_RESULT) {
    // The frame's id has one more character; a result that says ok has its id and nothing else.
    const said = frame[end] === ACCEPTED + 0x30 ? ACCEPTED : SUCCEEDED;
    return { kind: 'result', number, said, ok: frame.length === end + 1 };
  }
  const body = afterVarint(frame, 1);
  const length = frame[body + 1] ?? 0;
  if (frame[body] !== TAG_WORK || length >= 128) throw new Error('a delivery that the bench cannot read');
  return { kind: 'delivery', number, work: frame.subarray(body, body + 2 + length) };
}

/** An update of a delivery, with the task's number and what is said in the frame's id. */
export function update(number: number, work: Buffer, said: Said): Buffer {
  const id = Buffer.from(`${idOf(number)}${said}`);
  const length = work.length + 2;
  if (length >= 128) throw new Error('a work that is longer than the bench can write');
  return Buffer.concat([
    Buffer.from([TAG_FRAME_ID, id.length]),
    id,
    Buffer.from([TAG_UPDATE, length]),
    work,
    Buffer.from([TAG_STATE, said]),
  ]);
}

function afterVarint(bytes: Buffer, at: number): number {
  let next = at;
  while ((bytes[next] ?? 0) >= 128) next += 1;
  return next + 1;
}
