import { create, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type Payload,
  PayloadSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { OperationAnswerRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import type { OutcomeEffects, OutcomeInput, OutcomeRule } from '../outcomes.ts';
import { answerKey, deliveryOf, encodeAnswer } from './operation-record.ts';

/** What is kept of an agent's output, bytes. */
const MAX_OUTPUT_BYTES = 1024;
/** What is kept of an agent's error, characters. */
const MAX_ERROR = 512;

/**
 * What the outcome of an operation's command adds to its commit: the answer, for whoever runs the operation. Nothing is known
 * here of the operation itself, which may have ended or be gone: what nobody takes over goes with it.
 */
export function operationOutcome({ known, state, update }: OutcomeInput): OutcomeEffects {
  const { record, id } = known;
  if (state === 'accepted' || record.item.case !== 'command') return {};
  const { operationId } = record.item.value;
  // A dead letter that was put back has another id: it is no part of the operation any more.
  const which = deliveryOf(id, operationId);
  if (which === undefined) return {};
  const final = update === undefined || !update.retryable || record.tries >= record.maxTries;
  if (!final && state !== 'succeeded') return {};
  const kept = update?.output === undefined ? undefined : bounded(update.output);
  const answer = create(OperationAnswerRecordSchema, {
    state,
    error: (update?.error ?? '').slice(0, MAX_ERROR),
    ...(kept === undefined ? {} : { output: kept.output, outputTruncated: kept.truncated }),
  });
  return { puts: [{ key: answerKey(operationId, which.place, which.tries), value: encodeAnswer(answer) }] };
}

/** What the outcome of a command means, and what it means to the operation that the command belongs to. */
export const ofOperation =
  (rule: OutcomeRule | undefined): OutcomeRule =>
  (input) => {
    const effects = rule?.(input) ?? {};
    const answer = operationOutcome(input);
    return { ...effects, puts: [...(effects.puts ?? []), ...(answer.puts ?? [])] };
  };

/** The output, or its beginning as text. */
export function bounded(output: Payload): { output: Payload; truncated: boolean } {
  if (encode(PayloadSchema, output).length <= MAX_OUTPUT_BYTES) return { output, truncated: false };
  const { data } = output;
  const text =
    data.case === 'json'
      ? JSON.stringify(toJson(ValueSchema, data.value))
      : data.case === 'text'
        ? data.value
        : Buffer.from(data.value ?? [])
            .subarray(0, MAX_OUTPUT_BYTES)
            .toString('base64');
  return {
    output: create(PayloadSchema, { contentType: 'text/plain', data: { case: 'text', value: cut(text) } }),
    truncated: true,
  };
}

/** The beginning of a text that has room, whole characters only. */
function cut(text: string): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > MAX_OUTPUT_BYTES - 16) break;
    end += character.length;
  }
  return text.slice(0, end);
}
