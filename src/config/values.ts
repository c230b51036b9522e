import { isIPv4, isIPv6 } from 'node:net';
import { formatDuration, parseDuration } from './duration.ts';
import { shown } from './errors.ts';
import { factorFault, nameOfFactor } from './factors.ts';
import type { KeySpec } from './key.ts';
import { selectorFault } from './selector.ts';
import { databaseFault, storeFault } from './store-url.ts';
import { didYouMean } from './suggest.ts';

/** A value as it was found: a scalar of YAML, or the text of a variable or flag. */
export type Raw = string | number | bigint | boolean | null | readonly unknown[];

export type Parsed = { value: string | number | readonly string[] } | { fault: string };

/** Reads one value. `typed`: it comes from YAML, where text and numbers are told apart. */
export function parseValue(key: KeySpec, raw: Raw, typed: boolean): Parsed {
  switch (key.kind) {
    case 'integer':
    case 'number':
      return parseNumber(key, raw, typed);
    case 'duration':
      return parseTime(key, raw, 1_000);
    case 'blocks':
      // They are read as a tree: see blocks/parse.ts.
      return { fault: 'must be a list of blocks' };
    case 'milliseconds':
      return parseTime(key, raw, 1);
    case 'choices':
    case 'selectors':
    case 'factors':
      return parseList(key, raw, typed);
    default:
      return parseText(key, raw, typed);
  }
}

function parseNumber(key: KeySpec, raw: Raw, typed: boolean): Parsed {
  const expected = key.kind === 'integer' ? 'a whole number' : 'a number';
  let value = Number.NaN;
  if (typeof raw === 'number') value = raw;
  else if (!typed && typeof raw === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(raw.trim())) {
    value = Number(raw);
  }
  if (!Number.isFinite(value) || (key.kind === 'integer' && !Number.isInteger(value))) {
    return { fault: `must be ${expected}${rangeWords(key)}, not ${described(raw)}` };
  }
  return inRange(key, value);
}

function parseTime(key: KeySpec, raw: Raw, bareUnitMs: number): Parsed {
  const value =
    typeof raw === 'number' || typeof raw === 'string' ? parseDuration(String(raw), bareUnitMs) : undefined;
  if (value === undefined) {
    const bare = bareUnitMs === 1 ? 'milliseconds' : 'seconds';
    return {
      fault: `must be a number of ${bare} or a duration such as "500ms", "5s", "2m", "1h" or "7d", not ${described(raw)}`,
    };
  }
  return inRange(key, value);
}

function inRange(key: KeySpec, value: number): Parsed {
  if (key.zero === true && value === 0) return { value };
  if (value < (key.min ?? -Infinity) || value > (key.max ?? Infinity)) {
    return { fault: `must be${rangeWords(key)}, not ${formatted(key, value)}` };
  }
  return { value };
}

/** " from 1s to 1d", for messages. */
function rangeWords(key: KeySpec): string {
  if (key.min === undefined || key.max === undefined) return '';
  const off = key.zero === true ? ' 0 or' : '';
  return `${off} from ${formatted(key, key.min)} to ${formatted(key, key.max)}`;
}

export function formatted(key: KeySpec, value: number): string {
  return key.kind === 'duration' || key.kind === 'milliseconds' ? formatDuration(value) : String(value);
}

function parseList(key: KeySpec, raw: Raw, typed: boolean): Parsed {
  let items: readonly unknown[];
  if (Array.isArray(raw)) items = raw;
  else if (!typed && typeof raw === 'string') {
    // Selectors hold commas themselves.
    items = raw.split(key.kind === 'selectors' ? ';' : ',').map((item) => item.trim());
  } else return { fault: `must be a list such as ${exampleOf(key)}, not ${described(raw)}` };
  if (items.length === 0 && key.kind !== 'factors') return { fault: 'must not be empty' };
  if (items.length > 64) return { fault: 'must have at most 64 items' };
  const texts = items.map(String);
  const names = key.kind === 'factors' ? texts.map(nameOfFactor) : texts;
  const faults = items.flatMap((item, index) => {
    const fault = typeof item === 'string' ? itemFault(key, item) : `${described(item)} is not text`;
    const name = names[index] ?? '';
    const twice = names.indexOf(name) < index ? `${shown(name)} stands there twice` : undefined;
    return fault ?? twice ?? [];
  });
  if (faults.length > 0) return { fault: faults.join('; ') };
  return { value: texts };
}

const exampleOf = (key: KeySpec): string =>
  key.kind === 'factors' ? '["cpu_milli=1.5"]' : JSON.stringify(key.default);

function itemFault(key: KeySpec, item: string): string | undefined {
  if (key.kind === 'factors') return factorFault(key, item);
  if (key.kind === 'choices') return choiceFault(key, item);
  return item === 'all_agents' ? undefined : selectorFault(item);
}

function choiceFault(key: KeySpec, value: string): string | undefined {
  const choices = key.choices ?? [];
  if (choices.includes(value)) return undefined;
  return `${shown(value)} is not one of ${choices.join(', ')}${didYouMean(value, choices)}`;
}

function parseText(key: KeySpec, raw: Raw, typed: boolean): Parsed {
  if (typeof raw !== 'string') {
    const hint = typed && typeof raw !== 'object' ? ' (put it in quotes)' : '';
    const found = key.secret === true && typeof raw !== 'object' ? 'what is there' : described(raw);
    return { fault: `must be text, not ${found}${hint}` };
  }
  const fault = textFault(key, raw);
  return fault === undefined ? { value: raw } : { fault };
}

function textFault(key: KeySpec, text: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f\u007f]/.test(text)) return 'must not hold control characters';
  if (text.length > 4_096) return 'must have at most 4096 characters';
  switch (key.kind) {
    case 'choice':
      return choiceFault(key, text);
    case 'listen':
      return listenFault(text);
    case 'store':
      return storeFault(text);
    case 'database':
      return databaseFault(text);
    case 'file':
      return text === '' ? 'must name a file' : undefined;
    default:
      return plainFault(key, text);
  }
}

function plainFault(key: KeySpec, text: string): string | undefined {
  const [min, max] = [key.min ?? 0, key.max ?? 4_096];
  if (text.length < min || text.length > max) {
    return `must have ${min} to ${max} characters, not ${text.length}`;
  }
  const isName = key.path === 'id' || key.path === 'redis.key_prefix';
  if (isName && !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(text)) {
    return `must hold only letters, digits, ".", "_" and "-" and start with a letter or digit, not ${shown(text)}`;
  }
  return undefined;
}

export interface ListenAddress {
  /** Without brackets. */
  host: string;
  port: number;
}

/** Splits "host:port" or "[IPv6]:port"; undefined if it is neither. */
export function parseListen(text: string): ListenAddress | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const [, v6, name] = match ?? [];
  const host = v6 ?? name;
  const port = Number(match?.[3]);
  if (host === undefined || port > 65_535) return undefined;
  if (v6 !== undefined) return isIPv6(v6) ? { host, port } : undefined;
  if (/^[\d.]+$/.test(host)) return isIPv4(host) ? { host, port } : undefined;
  const label = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/;
  return host.length <= 253 && host.split('.').every((part) => label.test(part)) ? { host, port } : undefined;
}

function listenFault(text: string): string | undefined {
  if (parseListen(text) !== undefined) return undefined;
  let hint = '';
  if (/^:\d+$/.test(text)) hint = `; for all addresses write 0.0.0.0${text} or [::]${text}`;
  else if (/^\d+$/.test(text)) hint = `; did you mean 127.0.0.1:${text}?`;
  else if (text.split(':').length > 2 && !text.includes('[')) hint = '; IPv6 addresses stand in brackets';
  return `must be "host:port" or "[IPv6]:port" with a port from 0 to 65535, not ${shown(text)}${hint}`;
}

function described(raw: unknown): string {
  if (raw === null || raw === undefined) return 'nothing';
  if (Array.isArray(raw)) return 'a list';
  if (typeof raw === 'object') return 'a section';
  if (typeof raw === 'string') return `the text ${shown(raw)}`;
  return String(raw);
}
