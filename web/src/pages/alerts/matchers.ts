import { harmlessText } from '../../lib/harmless.ts';

export interface Matcher {
  name: string;
  /** As it is sent. */
  value: string;
  /** As it is shown, where that is not the same. */
  shown?: string;
}

/** As CreateSilence takes them. */
const NAME = /^[A-Za-z0-9._/-]{1,128}$/;
const MAX_VALUE = 256;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const REFUSED = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/;
/** Matchers of these names look at the alert itself, whatever its labels say. */
const OWN: ReadonlySet<string> = new Set(['alertname', 'severity', 'namespace']);

/** What matches an alert by its rule and all of its labels, as far as the API can say that. */
export function matchersOf(
  rule: string,
  labels: Readonly<Record<string, string>>,
): { matchers: Matcher[]; notes: string[] } {
  const matchers: Matcher[] = [{ name: 'alertname', value: rule }];
  const wide: string[] = [];
  const without: string[] = [];
  for (const [name, value] of Object.entries(labels)) {
    if (OWN.has(name)) continue;
    const sent = sendable(value);
    const told = harmlessText(name).slice(0, 128);
    if (!NAME.test(name) || sent === undefined) {
      without.push(told);
      continue;
    }
    if (sent.endsWith('*')) wide.push(told);
    const shown = harmlessText(sent);
    matchers.push(shown === sent ? { name, value: sent } : { name, value: sent, shown });
  }
  const notes: string[] = [];
  if (wide.length > 0)
    notes.push(`${wide.join(', ')}: matched by how it begins, so that other alerts may match too.`);
  if (without.length > 0)
    notes.push(
      `${without.join(', ')}: cannot be matched and is left out, so that other alerts may match too.`,
    );
  return { matchers, notes };
}

/** The value, or so much of its beginning as a matcher may hold; undefined: no part of it. */
function sendable(value: string): string | undefined {
  const end = Math.min(value.search(REFUSED) >>> 0, value.length);
  if (end === value.length && value.length <= MAX_VALUE) return value;
  // Not in between the two halves of a character.
  const start = value.slice(0, Math.min(end, MAX_VALUE - 1)).replace(/[\ud800-\udbff]$/, '');
  return start === '' ? undefined : `${start}*`;
}
