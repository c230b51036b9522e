/** Message frames by hand, as in frames.ts: templates are encoded once, and only what differs is written anew. */
import { create, toBinary } from '@bufbuild/protobuf';
import { OpenSessionRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

/** Stands before a message's number; nothing else in a frame begins so. */
const MARK = Buffer.from('bench#');
const DIGITS = 9;
const TAG_DELIVERY = 0x1a; // OpenSessionResponse.delivery
const TAG_RESULT = 0x2a; // OpenSessionResponse.result
const TAG_WORK = 0x0a; // Delivery.work and DeliveryUpdate.work
const TAG_FRAME_ID = 0x0a; // OpenSessionRequest.frame_id and Result.frame_id
const TAG_UPDATE = 0x22; // OpenSessionRequest.delivery_update
const SUCCEEDED = Buffer.from([0x10, 3]); // DeliveryUpdate.state

const idOf = (number: number): string => `${MARK}${String(number).padStart(DIGITS, '0')}`;

/** Encodes sends of one sender to one receiver. */
export class SendTemplate {
  readonly #bytes: Buffer;
  /** Where the number stands: in the frame's id, and in the message's. */
  readonly #places: number[] = [];

  constructor(to: string, payloadBytes: number) {
    const data = { case: 'binary' as const, value: new Uint8Array(payloadBytes).fill(120) };
    const value = {
      to: { case: 'agentId' as const, value: to },
      message: { id: idOf(0), type: 'bench.message', data: { data } },
    };
    this.#bytes = Buffer.from(
      toBinary(
        OpenSessionRequestSchema,
        create(OpenSessionRequestSchema, { frameId: idOf(0), frame: { case: 'send', value } }),
      ),
    );
    for (let at = this.#bytes.indexOf(MARK); at >= 0; at = this.#bytes.indexOf(MARK, at + 1)) {
      this.#places.push(at + MARK.length);
    }
  }

  /** The bytes are valid until the next call. */
  frame(number: number): Buffer {
    const digits = String(number).padStart(DIGITS, '0');
    for (const place of this.#places) this.#bytes.write(digits, place, DIGITS, 'latin1');
    return this.#bytes;
  }
}

export type Heard =
  | { kind: 'delivery'; number: number; work: Buffer }
  /** Of a send, or of the update that answered a delivery. */
  | { kind: 'result'; number: number; ok: boolean }
  | { kind: 'other' };

/** What a frame from the server says, as far as the bench needs it. */
export function hear(frame: Buffer): Heard {
  const tag = frame[0];
  if (tag !== TAG_DELIVERY && tag !== TAG_RESULT) return { kind: 'other' };
  const at = frame.indexOf(MARK);
  if (at < 0) return { kind: 'other' };
  const number = Number(frame.toString('latin1', at + MARK.length, at + MARK.length + DIGITS));
  const body = afterVarint(frame, 1);
  // A result that says ok has its id and nothing else.
  if (tag === TAG_RESULT) return { kind: 'result', number, ok: frame.length === at + MARK.length + DIGITS };
  if (frame[body] !== TAG_WORK) return { kind: 'other' };
  const length = frame[body + 1] ?? 0;
  if (length >= 128) throw new Error('the work of a delivery is longer than the bench can read');
  return { kind: 'delivery', number, work: frame.subarray(body, body + 2 + length) };
}

/** "Done", with the message's number in the frame's id. */
export function succeeded(number: number, work: Buffer): Buffer {
  const id = Buffer.from(idOf(number));
  const length = work.length + SUCCEEDED.length;
  return Buffer.concat([
    Buffer.from([TAG_FRAME_ID, id.length]),
    id,
    Buffer.from([TAG_UPDATE, length]),
    work,
    SUCCEEDED,
  ]);
}

function afterVarint(bytes: Buffer, at: number): number {
  let next = at;
  while ((bytes[next] ?? 0) >= 128) next += 1;
  return next + 1;
}
