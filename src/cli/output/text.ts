import { escapeText } from './escape.ts';

/** What a piece of text means; the painter decides how that looks. */
export type Tone = 'plain' | 'good' | 'warn' | 'bad' | 'dim' | 'strong';

/** Raw text with a tone. Only `renderLine` makes terminal text of it, so nothing reaches a terminal unescaped. */
export interface Span {
  text: string;
  tone?: Tone;
}

export type Line = readonly Span[];

/** How to write for one stream. */
export interface Style {
  colour: boolean;
  /** Width of the terminal; undefined: not a terminal, nothing is cut. */
  columns: number | undefined;
}

const codes: Readonly<Record<Tone, string>> = {
  plain: '',
  good: '32',
  warn: '33',
  bad: '31',
  dim: '2',
  strong: '1',
};

export const plain = (text: string): Span => ({ text });
export const dim = (text: string): Span => ({ text, tone: 'dim' });
export const strong = (text: string): Span => ({ text, tone: 'strong' });
export const good = (text: string): Span => ({ text, tone: 'good' });
export const warn = (text: string): Span => ({ text, tone: 'warn' });
export const bad = (text: string): Span => ({ text, tone: 'bad' });

/** One line for the stream, escaped, cut to its width and painted. */
export function renderLine(line: Line, style: Style): string {
  let room = style.columns ?? Number.POSITIVE_INFINITY;
  let rendered = '';
  const total = line.reduce((sum, span) => sum + displayWidth(escapeText(span.text)), 0);
  const overflows = total > room;
  for (const span of line) {
    let text = escapeText(span.text);
    const width = displayWidth(text);
    if (overflows && width >= room) text = cut(text, room, true);
    room -= displayWidth(text);
    rendered += paint(text, span.tone ?? 'plain', style);
    if (room <= 0) break;
  }
  return rendered.trimEnd();
}

function paint(text: string, tone: Tone, style: Style): string {
  const code = codes[tone];
  return style.colour && code !== '' && text !== '' ? `\x1b[${code}m${text}\x1b[0m` : text;
}

const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
const ascii = /^[\x20-\x7e]*$/;
/** East Asian wide and fullwidth blocks, and emoji that are drawn as pictures (Unicode UAX #11). */
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1b000}-\u{1b2ff}\u{20000}-\u{3fffd}]|\ufe0f/u;
const shapeless = /^\p{Mark}+$/u;

function graphemeWidth(grapheme: string): number {
  if (shapeless.test(grapheme)) return 0;
  return wide.test(grapheme) ? 2 : 1;
}

/** Terminal columns that escaped text takes. */
export function displayWidth(text: string): number {
  if (ascii.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += graphemeWidth(segment);
  return width;
}

/** At most `width` columns of escaped text; `…` stands for what is missing (also when only `more` would follow). */
export function cut(text: string, width: number, more = false): string {
  if (width <= 0) return '';
  if (!more && displayWidth(text) <= width) return text;
  let room = width - 1;
  let kept = '';
  for (const { segment } of graphemes.segment(text)) {
    room -= graphemeWidth(segment);
    if (room < 0) break;
    kept += segment;
  }
  return `${kept}…`;
}

/** `text` in exactly `width` columns. */
export function pad(text: string, width: number, align: 'left' | 'right'): string {
  const gap = ' '.repeat(Math.max(0, width - displayWidth(text)));
  return align === 'left' ? text + gap : gap + text;
}
