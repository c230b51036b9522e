import { type DescMessage, type MessageShape, toJson } from '@bufbuild/protobuf';
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
  const value = toJson(schema, message, { alwaysEmitImplicit: true });
  return escapeJson(JSON.stringify(value, undefined, layout === 'document' ? 2 : undefined));
}
