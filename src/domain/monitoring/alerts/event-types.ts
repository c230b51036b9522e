/** Types of events: names, and prefixes such as "agent.*". */
export interface TypeMatcher {
  readonly patterns: readonly string[];
  matches(type: string): boolean;
}

/** Events of alerts themselves never fire one: it would go on for ever. */
const OWN = ['alert.', 'silence.'];

export function typeMatcher(patterns: readonly string[]): TypeMatcher {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith('*')));
  const prefixes = patterns.filter((pattern) => pattern.endsWith('*')).map((pattern) => pattern.slice(0, -1));
  return {
    patterns,
    matches: (type) =>
      (exact.has(type) || prefixes.some((prefix) => type.startsWith(prefix))) &&
      !OWN.some((prefix) => type.startsWith(prefix)),
  };
}

const TYPE_FIELD = 4;
const LENGTH_DELIMITED = 2;

/**
 * The type of an encoded event, without decoding the rest: most events concern no rule, and thousands may come in a second.
 * Undefined: it is not there, or the bytes are no event.
 */
export function peekEventType(bytes: Uint8Array): string | undefined {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    let factor = 1;
    while (at < bytes.length) {
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    return value;
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag % 8;
    if (wire === LENGTH_DELIMITED) {
      const length = varint();
      if (Math.floor(tag / 8) === TYPE_FIELD) return Buffer.from(bytes.subarray(at, at + length)).toString();
      at += length;
    } else if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 5) at += 4;
    else return undefined;
  }
  return undefined;
}
