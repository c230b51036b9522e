import { create, fromJson, type JsonValue, toJson } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import { type Payload, PayloadSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

/** Content as programs have it: a string travels as text, a Uint8Array as bytes, anything else as JSON. */
export type Content = JsonValue | Uint8Array;

/**
 * Content as it travels; undefined stays undefined. As with JSON.stringify, what has a toJSON is asked for it and undefined
 * fields are left out.
 * @throws TypeError where it is no JSON
 */
export function toPayload(content: unknown, contentType = ''): Payload | undefined {
  if (content === undefined) return undefined;
  if (typeof content === 'string')
    return create(PayloadSchema, { contentType, data: { case: 'text', value: content } });
  if (content instanceof Uint8Array)
    return create(PayloadSchema, { contentType, data: { case: 'binary', value: content } });
  const text = JSON.stringify(content) as string | undefined;
  if (text === undefined) throw new TypeError(`a ${typeof content} is no content: text, bytes or JSON is`);
  const value = fromJson(ValueSchema, JSON.parse(text) as JsonValue);
  return create(PayloadSchema, { contentType, data: { case: 'json', value } });
}

/** Content as programs have it; undefined: there is none. */
export function fromPayload(payload: Payload | undefined): Content | undefined {
  const data = payload?.data;
  if (data?.case === undefined) return undefined;
  return data.case === 'json' ? toJson(ValueSchema, data.value) : data.value;
}

/** The payload's media type, or what stands for it when it was left out. */
export function contentTypeOf(payload: Payload | undefined): string {
  if (payload === undefined) return '';
  if (payload.contentType !== '') return payload.contentType;
  switch (payload.data.case) {
    case 'text':
      return 'text/plain';
    case 'json':
      return 'application/json';
    default:
      return 'application/octet-stream';
  }
}
