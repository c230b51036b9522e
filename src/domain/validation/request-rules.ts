import type { DescMessage, Message, MessageShape } from '@bufbuild/protobuf';
import { decodeCursor } from '../../lib/cursor.ts';
import { type FieldRules, message, type Rule } from './rules.ts';
import { word } from './text.ts';

/** The rule of a request, by its type name. */
export type RequestRule = readonly [typeName: string, rule: Rule<Message>];

/** All that is allowed in a request: in each field, and between them. */
export function request<S extends DescMessage>(
  schema: S,
  fields: FieldRules<S>,
  between?: Rule<MessageShape<S>>,
): RequestRule {
  return [schema.typeName, message(schema, fields, between) as Rule<never> as Rule<Message>];
}

// Base64url; what it holds is judged by the method that gave it out.
export const pageToken = word({
  max: 1536,
  empty: 'allowed',
  pattern: /^[A-Za-z0-9_-]+$/,
  allowed: 'a page token as it was given out',
  opaque: true,
});

/** A cursor must be one that was given out, for the namespace that the request names. */
export const cursorOfNamespace: Rule<{ namespace: string; cursor: string }> = (violations, request) => {
  if (request.cursor === '') return;
  const decoded = decodeCursor(request.cursor, request.namespace || 'default');
  if (decoded.kind === 'invalid') violations.addAt('cursor', decoded.description);
};
