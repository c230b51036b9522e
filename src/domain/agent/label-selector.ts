import { quote } from '../../lib/violations.ts';
import { labelKeyFault, labelValueFault } from '../validation/labels.ts';

/** The longest selector that is parsed, in characters. */
export const LONGEST_SELECTOR = 1024;

/**
 * One condition. As in Kubernetes, `not_in` (also written `a!=b`) holds as well where the key is absent.
 * `a=b` is `in` with one value.
 */
export type Requirement =
  | { operator: 'in' | 'not_in'; key: string; values: ReadonlySet<string> }
  | { operator: 'exists' | 'not_exists'; key: string };

/** A parsed selector: all requirements must hold; without any it matches everything. */
export interface LabelSelector {
  requirements: readonly Requirement[];
}

/** The text is not a selector. Its message says where and what was expected. */
export class LabelSelectorError extends Error {
  override readonly name = 'LabelSelectorError';
  /** Where in the text, counted from 0. */
  readonly position: number;

  constructor(options: { position: number; problem: string }) {
    super(`at position ${options.position + 1}: ${options.problem}`);
    this.position = options.position;
  }
}

type TokenKind = 'word' | '(' | ')' | ',' | '=' | '==' | '!=' | '!' | 'end';

interface Token {
  kind: TokenKind;
  text: string;
  position: number;
}

// Spaces, then one token. A word is anything else, so that the error can show it whole.
const TOKEN = /[ \t\r\n]*(==|!=|[=!(),]|[^ \t\r\n=!(),]+|$)/y;
const SYMBOLS: ReadonlySet<string> = new Set(['(', ')', ',', '=', '==', '!=', '!']);

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (;;) {
    const found = TOKEN.exec(text);
    const token = found?.[1] ?? '';
    const position = TOKEN.lastIndex - token.length;
    if (token === '') {
      tokens.push({ kind: 'end', text: '', position: text.length });
      return tokens;
    }
    tokens.push({ kind: SYMBOLS.has(token) ? (token as TokenKind) : 'word', text: token, position });
  }
}

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  selector(): LabelSelector {
    if (this.#peek().kind === 'end') return { requirements: [] };
    const requirements = [this.#requirement()];
    for (;;) {
      const token = this.#take();
      if (token.kind === 'end') return { requirements };
      if (token.kind !== ',') throw unexpected(token, '"," or the end');
      requirements.push(this.#requirement());
    }
  }

  #requirement(): Requirement {
    if (this.#peek().kind === '!') {
      this.#take();
      return { operator: 'not_exists', key: this.#key('a label key') };
    }
    const key = this.#key('a label key or "!"');
    const token = this.#peek();
    if (token.kind === ',' || token.kind === 'end') return { operator: 'exists', key };
    this.#take();
    if (token.kind === '=' || token.kind === '==') return { operator: 'in', key, values: this.#one() };
    if (token.kind === '!=') return { operator: 'not_in', key, values: this.#one() };
    if (token.text === 'in') return { operator: 'in', key, values: this.#several() };
    if (token.text === 'notin') return { operator: 'not_in', key, values: this.#several() };
    throw unexpected(token, '"=", "==", "!=", "in", "notin", "," or the end');
  }

  #key(expected: string): string {
    const token = this.#take();
    if (token.kind !== 'word') throw unexpected(token, expected);
    const fault = labelKeyFault(token.text);
    if (fault !== undefined) throw wrong(token, `the key ${quote(token.text)} ${fault}`);
    return token.text;
  }

  #one(): ReadonlySet<string> {
    const { kind } = this.#peek();
    if (kind === ',' || kind === 'end') return new Set(['']);
    return new Set([this.#value('a value')]);
  }

  /** In parentheses: at least one value or comma; nothing beside a comma is the empty value. */
  #several(): ReadonlySet<string> {
    const open = this.#take();
    if (open.kind !== '(') throw unexpected(open, '"("');
    if (this.#peek().kind === ')') throw unexpected(this.#peek(), 'a value');
    const values = new Set<string>();
    for (;;) {
      const { kind } = this.#peek();
      values.add(kind === ',' || kind === ')' ? '' : this.#value('a value, "," or ")"'));
      const token = this.#take();
      if (token.kind === ')') return values;
      if (token.kind !== ',') throw unexpected(token, '"," or ")"');
    }
  }

  #value(expected: string): string {
    const token = this.#take();
    if (token.kind !== 'word') throw unexpected(token, expected);
    const fault = labelValueFault(token.text);
    if (fault !== undefined) throw wrong(token, `the value ${quote(token.text)} ${fault}`);
    return token.text;
  }

  #peek(): Token {
    const token = this.#tokens[this.#next];
    if (token === undefined) throw new Error('read past the end of a selector');
    return token;
  }

  #take(): Token {
    const token = this.#peek();
    if (token.kind !== 'end') this.#next++;
    return token;
  }
}

function wrong(token: Token, problem: string): LabelSelectorError {
  return new LabelSelectorError({ position: token.position, problem });
}

function unexpected(token: Token, expected: string): LabelSelectorError {
  const found = token.kind === 'end' ? 'the end' : quote(token.text);
  return wrong(token, `found ${found}, expected ${expected}`);
}

/** Parses Kubernetes' selector syntax: `a=b,c!=d,e in (x,y),f notin (z),g,!h`. Throws LabelSelectorError, nothing else. */
export function parseLabelSelector(text: string): LabelSelector {
  if (text.length > LONGEST_SELECTOR) {
    throw new LabelSelectorError({
      position: LONGEST_SELECTOR,
      problem: `the selector has ${text.length} characters; at most ${LONGEST_SELECTOR} are allowed`,
    });
  }
  return new Parser(tokenize(text)).selector();
}

/** Whether labels satisfy every requirement. */
export function matches(selector: LabelSelector, labels: { readonly [key: string]: string }): boolean {
  for (const requirement of selector.requirements) {
    if (!holds(requirement, labels)) return false;
  }
  return true;
}

function holds(requirement: Requirement, labels: { readonly [key: string]: string }): boolean {
  // Labels are a plain object: for a key such as "constructor" it may answer with something it inherited.
  const value: unknown = labels[requirement.key];
  const present = typeof value === 'string';
  switch (requirement.operator) {
    case 'in':
      return present && requirement.values.has(value);
    case 'not_in':
      return !present || !requirement.values.has(value);
    case 'exists':
      return present;
    case 'not_exists':
      return !present;
  }
}

/** The selector in canonical form: equal for selectors that differ in order, spelling or repetition only. */
export function formatLabelSelector(selector: LabelSelector): string {
  return [...new Set(selector.requirements.map(formatRequirement))].sort().join(',');
}

function formatRequirement(requirement: Requirement): string {
  const { key } = requirement;
  if (!('values' in requirement)) return requirement.operator === 'exists' ? key : `!${key}`;
  const equal = requirement.operator === 'in';
  const values = [...requirement.values].sort();
  if (values.length === 1) return `${key}${equal ? '=' : '!='}${values[0]}`;
  return `${key} ${equal ? 'in' : 'notin'} (${values.join(',')})`;
}
