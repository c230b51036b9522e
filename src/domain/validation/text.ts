import { quote } from '../../lib/violations.ts';
import type { Rule } from './rules.ts';

// A character is a Unicode code point. The `u` flag makes \p{Surrogate} match lone surrogates only.
const NOT_IN_LINE = /[\p{Cc}\p{Zl}\p{Zp}\p{Surrogate}]/u;
const NOT_IN_PROSE = /(?![\t\n\r])[\p{Cc}\p{Surrogate}]/u;

/** The number of characters in `text`, or any number above `max` if it has more than `max`. */
function lengthUpTo(text: string, max: number): number {
  if (text.length <= max || text.length > 2 * max) return text.length;
  let count = 0;
  for (const _ of text) count++;
  return count;
}

function tooLong(text: string, max: number): string | undefined {
  const length = lengthUpTo(text, max);
  return length > max ? `has ${length} characters; at most ${max} are allowed` : undefined;
}

/** A line of text for people: no control characters, no line breaks. */
export function line(max: number, options: { min?: number } = {}): Rule<string> {
  const min = options.min ?? 0;
  return (violations, text) => {
    if (text.length < min) violations.add('must not be empty');
    const fault = tooLong(text, max);
    if (fault !== undefined) violations.add(fault);
    else if (NOT_IN_LINE.test(text)) violations.add('must be one line of text without control characters');
  };
}

/** Text for people that may have tabs and line breaks, and no other control characters. */
export function prose(max: number): Rule<string> {
  return (violations, text) => {
    const fault = tooLong(text, max);
    if (fault !== undefined) violations.add(fault);
    else if (NOT_IN_PROSE.test(text)) {
      violations.add('must not hold control characters other than tabs and line breaks');
    }
  };
}

export interface WordOptions {
  max: number;
  /** Whether it may be empty. */
  empty: 'allowed' | 'refused';
  /** What the whole of a text that is not empty must match; must not backtrack more than linearly. */
  pattern: RegExp;
  /** The pattern for people, after "must be". */
  allowed: string;
  /** The value is a secret or opaque: never show it. */
  opaque?: boolean;
}

/** Names and ids: a few ASCII characters. */
export function word(options: WordOptions): Rule<string> {
  const { max, empty, pattern, allowed, opaque } = options;
  return (violations, text) => {
    if (text === '') {
      if (empty === 'refused') violations.add('must not be empty');
    } else if (text.length > max) {
      violations.add(`has ${lengthUpTo(text, max)} characters; at most ${max} are allowed`);
    } else if (!pattern.test(text)) {
      violations.add(`${opaque === true ? '' : `is ${quote(text)}; `}must be ${allowed}`);
    }
  };
}

const NAME = /^[A-Za-z0-9._-]+$/;
const PATH_NAME = /^[A-Za-z0-9._/-]+$/;
const VISIBLE = /^[\x21-\x7e]+$/;

/** Characters of [A-Za-z0-9._-]. */
export function name(max: number, empty: 'allowed' | 'refused'): Rule<string> {
  return word({ max, empty, pattern: NAME, allowed: 'of characters [A-Za-z0-9._-]' });
}

/** Characters of [A-Za-z0-9._/-]. */
export function pathName(max: number): Rule<string> {
  return word({ max, empty: 'refused', pattern: PATH_NAME, allowed: 'of characters [A-Za-z0-9._/-]' });
}

/** Visible ASCII without spaces: ids that callers make up. */
export function visible(max: number, empty: 'allowed' | 'refused'): Rule<string> {
  return word({ max, empty, pattern: VISIBLE, allowed: 'of visible ASCII characters, without spaces' });
}

const ID = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const ID_ALLOWED = 'of characters [A-Za-z0-9._-], beginning and ending with a letter or digit';

/** The id of an agent that must be named. */
export const agentId = word({ max: 128, empty: 'refused', pattern: ID, allowed: ID_ALLOWED });
/** The id of an agent that may be left to the server. */
export const optionalAgentId = word({ max: 128, empty: 'allowed', pattern: ID, allowed: ID_ALLOWED });

/** A namespace, or empty. */
export const namespace = word({
  max: 63,
  empty: 'allowed',
  pattern: /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/,
  allowed: 'of characters [a-z0-9-], beginning and ending with a letter or digit',
});

/** Makes a mutation safe to repeat, or is empty. */
export const requestId = visible(128, 'allowed');

const TOKEN = "[A-Za-z0-9!#$%&'*+.^_`|~-]+";
const MEDIA_TYPE = word({
  max: 128,
  empty: 'refused',
  pattern: new RegExp(`^${TOKEN}/${TOKEN}(?: *;[\\x20-\\x7e]*)?$`),
  allowed: 'a media type such as "text/plain" or "image/*"',
});

/** A media type (RFC 9110), with or without parameters. */
export const mediaType: Rule<string> = MEDIA_TYPE;
/** A media type, or empty. */
export const optionalMediaType: Rule<string> = (violations, text) => {
  if (text !== '') MEDIA_TYPE(violations, text);
};
