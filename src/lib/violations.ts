import type { FieldViolation } from './errors.ts';

const LONGEST_QUOTE = 64;
// Controls (C0, C1), line separators, bidirectional and invisible formatting, lone surrogates: what could end a log
// line, steer a terminal or not be encoded as UTF-8.
const UNSAFE = /["\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/gu;

/** Untrusted text for an error or a log line: quoted, escaped, and cut to 64 characters. Not for secrets. */
export function quote(text: string): string {
  const characters = Array.from(text.slice(0, 2 * LONGEST_QUOTE + 2));
  const cut = characters.length > LONGEST_QUOTE;
  const shown = cut ? characters.slice(0, LONGEST_QUOTE - 1).join('') : characters.join('');
  return `"${shown.replace(UNSAFE, escapeCharacter)}${cut ? '…' : ''}"`;
}

function escapeCharacter(character: string): string {
  if (character === '"' || character === '\\') return `\\${character}`;
  const code = character.codePointAt(0) ?? 0;
  return code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, '0')}`;
}

/**
 * Collects violated fields while a message is walked. `enter…` and `leave` keep the path, in proto field names:
 * `spec.capabilities[3].name`, `spec.labels["a b"]`. Nothing is allocated per field until something is wrong.
 */
export class Violations {
  readonly #limit: number;
  // A string is a field's name or, where #isKey says so, the key of a map; a number is an index in a list.
  readonly #path: (string | number)[] = [];
  readonly #isKey: boolean[] = [];
  #list: FieldViolation[] = [];
  #more = 0;

  /** `limit`: how many are listed; of the rest only the number is told. */
  constructor(options: { limit?: number } = {}) {
    this.#limit = options.limit ?? 100;
  }

  /** How many were found, also beyond the limit. */
  get count(): number {
    return this.#list.length + this.#more;
  }

  /** Goes into a field, or into an element of a list. */
  enter(step: string | number): void {
    this.#path.push(step);
    this.#isKey.push(false);
  }

  /** Goes into an entry of a map. */
  enterKey(key: string): void {
    this.#path.push(key);
    this.#isKey.push(true);
  }

  leave(): void {
    this.#path.pop();
    this.#isKey.pop();
  }

  /** The present field is wrong: what is, and what is allowed. */
  add(description: string): void {
    if (this.#list.length >= this.#limit) this.#more++;
    else this.#list.push({ field: this.#field(), description });
  }

  /** A field of the present message is wrong. */
  addAt(field: string, description: string): void {
    this.enter(field);
    this.add(description);
    this.leave();
  }

  /** What was found, in the order it was found; the last entry counts what is not listed. */
  list(): FieldViolation[] {
    if (this.#more === 0) return this.#list;
    return [...this.#list, { field: '…', description: `and ${this.#more} more` }];
  }

  /** Hands over what was found and starts anew, whatever the path was. */
  take(): FieldViolation[] {
    const found = this.list();
    this.#list = [];
    this.#more = 0;
    this.#path.length = 0;
    this.#isKey.length = 0;
    return found;
  }

  #field(): string {
    let text = '';
    this.#path.forEach((step, index) => {
      if (typeof step === 'number') text += `[${step}]`;
      else if (this.#isKey[index]) text += `[${quote(step)}]`;
      else text += text === '' ? step : `.${step}`;
    });
    return text;
  }
}
