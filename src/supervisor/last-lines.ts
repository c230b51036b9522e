import { StringDecoder } from 'node:string_decoder';

/** As ProcessExit.last_lines takes them. */
export const maxLines = 20;
export const maxLineChars = 512;
/** What is kept of a line before it is cleaned, UTF-16 units: escapes and overwritten parts take room too. */
const maxRaw = 4_096;

// CSI, OSC and the other escape sequences of ECMA-48, in their 7-bit and 8-bit forms. None backtracks.
const sequences =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: controls are what this is about
  /(?:\u001b\[|\u009b)[0-?]*[ -/]*[@-~]?|(?:\u001b[\]PX^_]|[\u009d\u0090\u0098\u009e\u009f])[^\u0007\u001b\u009c]*(?:\u0007|\u001b\\|\u009c)?|\u001b[ -/]*[0-~]?/g;
const controls = /(?!\t)[\p{Cc}\p{Surrogate}\p{Zl}\p{Zp}]/gu;

/** A line as people and the service can take it: no escape sequences, other controls shown as \x07, bounded. */
export function cleanLine(raw: string): string {
  const plain = raw.slice(0, maxRaw).replace(sequences, '');
  // What a terminal would show after the last carriage return.
  const shown = plain.replace(/\r+$/, '');
  const text = shown.slice(shown.lastIndexOf('\r') + 1).replace(controls, (character) => {
    const code = character.codePointAt(0) ?? 0;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
  if (text.length <= maxLineChars) return text;
  const characters = [...text];
  return characters.length <= maxLineChars ? text : `${characters.slice(0, maxLineChars - 1).join('')}…`;
}

/** One stream's bytes, cut into lines. A line without end costs no more than one with. */
class Lines {
  readonly #keep: (raw: string) => void;
  readonly #decoder = new StringDecoder('utf8');
  #partial = '';

  constructor(keep: (raw: string) => void) {
    this.#keep = keep;
  }

  feed(bytes: Buffer): void {
    const text = this.#decoder.write(bytes);
    let from = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', from)) {
      this.#add(text.slice(from, end));
      this.#keep(this.#partial);
      this.#partial = '';
      from = end + 1;
    }
    this.#add(text.slice(from));
  }

  get rest(): string {
    return this.#partial;
  }

  #add(text: string): void {
    if (this.#partial.length < maxRaw) this.#partial += text.slice(0, maxRaw - this.#partial.length);
  }
}

/** The last lines of a program, of stdout and stderr in the order in which they came. */
export class LastLines {
  readonly #size: number;
  readonly #kept: string[] = [];
  readonly #streams = new Map<string, Lines>();

  constructor(options: { size: number }) {
    this.#size = Math.min(options.size, maxLines);
  }

  feed(stream: 'stdout' | 'stderr', bytes: Buffer): void {
    if (this.#size === 0) return;
    let lines = this.#streams.get(stream);
    if (lines === undefined) {
      lines = new Lines((raw) => this.#push(raw));
      this.#streams.set(stream, lines);
    }
    lines.feed(bytes);
  }

  /** Oldest first; what has no line end yet comes last. */
  lines(): string[] {
    const rest = [...this.#streams.values()].map((stream) => stream.rest).filter((raw) => raw !== '');
    return this.#size === 0 ? [] : [...this.#kept, ...rest].slice(-this.#size).map(cleanLine);
  }

  /** Cleaned only when they are read: most lines never are. */
  #push(raw: string): void {
    this.#kept.push(raw);
    if (this.#kept.length > this.#size) this.#kept.shift();
  }
}
