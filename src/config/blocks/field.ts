import { shown } from '../errors.ts';
import type { KeySpec } from '../key.ts';
import { parseValue } from '../values.ts';
import type { RawNode } from './node.ts';
import type { FieldSpec } from './spec.ts';

/** Notes a mistake at a place: under the field's path, or further inside it (".team", "[2]"). */
export type Note = (at: string, inside: string, message: string) => void;

const MAX_TEXT = 2_048;

/** Reads a field; undefined: it is wrong, and that was noted. */
export function parseField(spec: FieldSpec, node: RawNode, note: Note): unknown {
  switch (spec.kind) {
    case 'number':
    case 'integer':
    case 'duration':
    case 'choice':
      return parsePlain(spec, node, note);
    case 'flag':
      if (node.kind === 'scalar' && typeof node.value === 'boolean') return node.value;
      note(node.at, '', `must be true or false, not ${described(spec, node)}`);
      return undefined;
    case 'text':
    case 'prose':
      return parseText(spec, node, '', note);
    case 'texts':
      return parseTexts(spec, node, note);
    case 'map':
      return parseMap(spec, node, note);
    case 'range':
      return parseRange(spec, node, note);
  }
}

/** As a key of that kind is read. */
function parsePlain(spec: FieldSpec, node: RawNode, note: Note): unknown {
  if (node.kind !== 'scalar') {
    note(node.at, '', `must be a single value, not ${described(spec, node)}`);
    return undefined;
  }
  const { name, kind, doc, min, max, zero, choices } = spec;
  const key: KeySpec = {
    path: name,
    kind: kind as KeySpec['kind'],
    doc,
    ...(min === undefined ? {} : { min }),
    ...(max === undefined ? {} : { max }),
    ...(zero === undefined ? {} : { zero }),
    ...(choices === undefined ? {} : { choices }),
  };
  const parsed = parseValue(key, node.value, true);
  if ('value' in parsed) return parsed.value;
  note(node.at, '', parsed.fault);
  return undefined;
}

function parseText(spec: FieldSpec, node: RawNode, inside: string, note: Note): string | undefined {
  if (node.kind !== 'scalar' || typeof node.value !== 'string') {
    const hint = node.kind === 'scalar' ? ' (put it in quotes)' : '';
    note(node.at, inside, `must be text, not ${described(spec, node)}${hint}`);
    return undefined;
  }
  const text = spec.kind === 'prose' ? node.value.trim() : node.value;
  const fault = textFault(spec, text);
  if (fault === undefined) return text;
  note(node.at, inside, fault);
  return undefined;
}

function textFault(spec: FieldSpec, text: string): string | undefined {
  const control = spec.kind === 'prose' ? CONTROLS_BUT_LINES : CONTROLS;
  if (control.test(text)) return 'must not hold control characters';
  const single = spec.kind === 'text' || spec.kind === 'prose';
  const [min, max] = single ? [spec.min ?? 1, spec.max ?? MAX_TEXT] : [1, MAX_TEXT];
  if (text.length < min || text.length > max) {
    return `must have ${min} to ${max} characters, not ${text.length}`;
  }
  return spec.check?.(text);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u001f\u007f]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: the same, but tabs and ends of lines
const CONTROLS_BUT_LINES = /[\u0000-\u0008\u000b-\u001f\u007f]/;

function parseTexts(spec: FieldSpec, node: RawNode, note: Note): readonly string[] | undefined {
  if (node.kind !== 'list') {
    note(node.at, '', `must be a list of texts, not ${described(spec, node)}`);
    return undefined;
  }
  const { min = 0, max = 64 } = spec;
  if (node.items.length < min || node.items.length > max) {
    note(node.at, '', `must have ${min} to ${max} items, not ${many(node.items.length)}`);
    return undefined;
  }
  const texts = node.items.map((item, index) => parseText(spec, item, `[${index}]`, note));
  const wrong = texts.includes(undefined);
  // Arguments of a command may well repeat.
  if (spec.check === undefined) return wrong ? undefined : (texts as string[]);
  let twice = false;
  for (const [index, text] of texts.entries()) {
    if (text === undefined || texts.indexOf(text) === index) continue;
    twice = true;
    note(node.items[index]?.at ?? node.at, `[${index}]`, `${shown(text)} stands there twice`);
  }
  return wrong || twice ? undefined : (texts as string[]);
}

function parseMap(spec: FieldSpec, node: RawNode, note: Note): Readonly<Record<string, string>> | undefined {
  if (node.kind !== 'map') {
    note(node.at, '', `must be names with a text each, not ${described(spec, node)}`);
    return undefined;
  }
  const { max = 16 } = spec;
  if (node.entries.length > max) {
    note(node.at, '', `must have at most ${max} entries, not ${many(node.entries.length)}`);
    return undefined;
  }
  let wrong = false;
  const values = new Map<string, string>();
  for (const { name, at, value } of node.entries) {
    const inside = `.${printable(name)}`;
    const fault = spec.checkName?.(name) ?? (values.has(name) ? 'stands there twice' : undefined);
    if (fault !== undefined) note(at, inside, fault);
    const text = parseText(spec, value.kind === 'nothing' ? { ...value, at } : value, inside, note);
    if (fault !== undefined || text === undefined) wrong = true;
    else values.set(name, text);
  }
  return wrong ? undefined : Object.fromEntries(values);
}

function parseRange(spec: FieldSpec, node: RawNode, note: Note): readonly [number, number] | undefined {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = spec;
  const items = node.kind === 'list' ? node.items : [node, node];
  const numbers = items.map((item) =>
    item.kind === 'scalar' && typeof item.value === 'number' ? item.value : Number.NaN,
  );
  const [from = Number.NaN, to = Number.NaN] = numbers;
  const fits = (value: number): boolean => Number.isInteger(value) && value >= min && value <= max;
  if (numbers.length === 2 && fits(from) && fits(to) && from <= to) return [from, to];
  note(node.at, '', `must be a whole number or [from, to], each from ${min} to ${max}`);
  return undefined;
}

const many = (count: number): string => (count >= 300 ? '300 or more' : String(count));

/** What was found, for a message. */
function described(spec: FieldSpec, node: RawNode): string {
  if (node.kind === 'list') return 'a list';
  if (node.kind === 'map') return 'a section';
  if (node.kind === 'nothing') return 'nothing';
  if (spec.secret !== undefined) return 'what is there';
  return typeof node.value === 'string' ? `the text ${shown(node.value)}` : String(node.value);
}

export function printable(name: string): string {
  return /^[\w.-]{1,60}$/.test(name) ? name : shown(name);
}
