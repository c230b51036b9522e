import { type DescMessage, type JsonValue, type MessageShape, toJson } from '@bufbuild/protobuf';
import { escapeJson } from './escape.ts';

/**
 * A message of the API in protobuf's JSON mapping. Fields without presence always stand there, so that programs find
 * the same keys each time; 64-bit numbers are strings, as the mapping wants them.
 */
export function messageJson<Desc extends DescMessage>(
  schema: Desc,
  message: MessageShape<Desc>,
  layout: 'document' | 'line',
): string {
  return valueJson(messageValue(schema, message), layout);
}

/** The same as a value, to stand inside of another one. */
export function messageValue<Desc extends DescMessage>(schema: Desc, message: MessageShape<Desc>): JsonValue {
  return toJson(schema, message, { alwaysEmitImplicit: true });
}

/** JSON without what could steer a terminal. */
export function valueJson(value: JsonValue, layout: 'document' | 'line'): string {
  return escapeJson(JSON.stringify(value, undefined, layout === 'document' ? 2 : undefined));
}
