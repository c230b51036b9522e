import { quote, type Violations } from '../../lib/violations.ts';
import { map, type Rule } from './rules.ts';

// Kubernetes' syntax: docs "Labels and Selectors", "Syntax and character set".
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;
const DNS_SUBDOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/;
const LONGEST_NAME = 63;
const LONGEST_PREFIX = 253;
const LARGEST_ANNOTATION = 4 * 1024;
const LARGEST_ANNOTATIONS = 32 * 1024;

/** What is wrong with a label's key, or undefined: an optional DNS prefix and a slash, then a name. */
export function labelKeyFault(key: string): string | undefined {
  const slash = key.indexOf('/');
  const name = key.slice(slash + 1);
  if (slash >= 0) {
    const prefix = key.slice(0, slash);
    if (prefix.length > LONGEST_PREFIX) return `has a prefix of more than ${LONGEST_PREFIX} characters`;
    if (!DNS_SUBDOMAIN.test(prefix)) {
      return 'has a prefix that is not a DNS name: lower-case letters, digits, "-" and "." before the one "/"';
    }
  }
  if (name.length > LONGEST_NAME) return `has a name of more than ${LONGEST_NAME} characters`;
  if (!NAME.test(name)) {
    return 'must have a name of characters [A-Za-z0-9._-], beginning and ending with a letter or digit';
  }
  return undefined;
}

/** What is wrong with a label's value, or undefined. Empty is fine. */
export function labelValueFault(value: string): string | undefined {
  if (value.length > LONGEST_NAME) return `is longer than ${LONGEST_NAME} characters`;
  if (value !== '' && !NAME.test(value)) {
    return 'must be of characters [A-Za-z0-9._-], beginning and ending with a letter or digit';
  }
  return undefined;
}

const key: Rule<string> = (violations, text) => {
  const fault = labelKeyFault(text);
  if (fault !== undefined) violations.add(`key ${fault}`);
};

/** Labels: at most 64. */
export const labels = map<string>({
  max: 64,
  key,
  value: (violations, text) => {
    const fault = labelValueFault(text);
    if (fault !== undefined) violations.add(`value ${quote(text)} ${fault}`);
  },
});

const annotationEntries = map<string>({
  max: 256,
  key,
  // Values are not shown: people keep all sorts of things in annotations.
  value: (violations, text) => {
    const size = Buffer.byteLength(text);
    if (size > LARGEST_ANNOTATION)
      violations.add(`value has ${size} bytes; at most ${LARGEST_ANNOTATION} are allowed`);
    else if (/[\0\p{Surrogate}]/u.test(text)) violations.add('value must not hold NUL or lone surrogates');
  },
});

/** Annotations: at most 256, 32 KiB with their keys. */
export const annotations: Rule<{ readonly [key: string]: string }> = (violations: Violations, entries) => {
  annotationEntries(violations, entries);
  let total = 0;
  for (const [text, value] of Object.entries(entries))
    total += Buffer.byteLength(text) + Buffer.byteLength(value);
  if (total > LARGEST_ANNOTATIONS) {
    violations.add(
      `keys and values have ${total} bytes together; at most ${LARGEST_ANNOTATIONS} are allowed`,
    );
  }
};
