// What an agent says may hold anything. Text nodes make markup harmless; these characters would still be invisible, or
// turn the direction of what stands beside them.
const HIDDEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** Whether it is shown as it is. */
export const isHarmless = (text: string): boolean => harmlessText(text) === text;

/** The text with control and direction characters shown as escapes; tabs and line breaks stay. */
export function harmlessText(text: string): string {
  return text.replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The same for every string in a message, keys of maps included. Changes the message itself. */
export function harmless<T>(value: T): T {
  walk(value);
  return value;
}

function walk(value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return;
  const holder = value as Record<string, unknown>;
  for (const key of Object.keys(holder)) {
    const held = holder[key];
    const safe = typeof held === 'string' ? harmlessText(held) : held;
    const name = harmlessText(key);
    if (name !== key) delete holder[key];
    if (name !== key || safe !== held) holder[name] = safe;
    walk(held);
  }
}
