import type { GenEnum } from '@bufbuild/protobuf/codegenv2';
import { InvalidArgumentError } from 'commander';
import { enumChoices, enumValue } from './output/names.ts';

const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `500ms`, `10s`, `1m30s`, `1.5h`, `7d`. */
export function parseDuration(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h|d)/g)];
  if (parts.length === 0 || parts.map(([part]) => part).join('') !== text) {
    throw new InvalidArgumentError('write a duration such as 500ms, 10s, 1m30s, 2h or 7d.');
  }
  const ms = parts.reduce((sum, [, figure, unit]) => sum + Number(figure) * (units[unit ?? ''] ?? 0), 0);
  if (ms > 10 * 365 * 86_400_000) throw new InvalidArgumentError('the most is ten years.');
  return ms;
}

/** A duration above zero. */
export function parsePositiveDuration(text: string): number {
  const ms = parseDuration(text);
  if (ms <= 0) throw new InvalidArgumentError('must be more than zero.');
  return ms;
}

/** A point in time, milliseconds since the epoch: RFC 3339, or a duration that counts back from `nowMs`. */
export function parseMoment(text: string, nowMs: number): number {
  if (/^[\d.]+(ms|s|m|h|d)/.test(text)) return nowMs - parseDuration(text);
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) {
    throw new InvalidArgumentError('write a time such as 2026-08-03T14:00:00Z, or how long ago: 10m, 2h.');
  }
  return ms;
}

/** A whole number from `least` to `most`. */
export function parseCount(least: number, most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^\d+$/.test(text) || count < least || count > most) {
      throw new InvalidArgumentError(`write a whole number from ${least} to ${most}.`);
    }
    return count;
  };
}

/** A revision, as agents show it. */
export function parseRevision(text: string): bigint {
  if (!/^\d{1,19}$/.test(text) || BigInt.asIntN(64, BigInt(text)) !== BigInt(text)) {
    throw new InvalidArgumentError('write a revision: a whole number, 0 or more.');
  }
  return BigInt(text);
}

/** Collects an option that may be given several times or with commas between its values. */
export function collectList(text: string, before: readonly string[] | undefined): string[] {
  const values = text.split(',').map((value) => value.trim());
  if (values.includes('')) throw new InvalidArgumentError('an empty value.');
  return [...(before ?? []), ...values];
}

/** Collects an option that may be given several times. */
export function collect(text: string, before: readonly string[] | undefined): string[] {
  return [...(before ?? []), text];
}

/** Collects names of an enum, in any case, as their numbers. */
export function collectEnum<Value extends number>(
  schema: GenEnum<Value>,
): (text: string, before: readonly Value[] | undefined) => Value[] {
  return (text, before) => [...(before ?? []), ...collectList(text, undefined).map(parseEnum(schema))];
}

/** The number of an enum's name. */
export function parseEnum<Value extends number>(schema: GenEnum<Value>): (text: string) => Value {
  return (text) => {
    const value = enumValue(schema, text);
    if (value === undefined) throw new InvalidArgumentError(`allowed: ${enumChoices(schema).join(', ')}.`);
    return value as Value;
  };
}

/** Collects `key=value`; the value may hold `=` and may be empty. */
export function collectPair(
  text: string,
  before: ReadonlyMap<string, string> | undefined,
): Map<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('write key=value.');
  const key = text.slice(0, at);
  if (before?.has(key)) throw new InvalidArgumentError(`${key} is given twice.`);
  return new Map(before).set(key, text.slice(at + 1));
}

/** Collects `key=number`, a whole number of at most 63 bits. */
export function collectAmount(
  text: string,
  before: ReadonlyMap<string, bigint> | undefined,
): Map<string, bigint> {
  const [[key, value] = ['', '']] = collectPair(text, undefined);
  if (!/^-?\d{1,19}$/.test(value) || BigInt.asIntN(64, BigInt(value)) !== BigInt(value)) {
    throw new InvalidArgumentError('write key=number, a whole number.');
  }
  if (before?.has(key)) throw new InvalidArgumentError(`${key} is given twice.`);
  return new Map(before).set(key, BigInt(value));
}

/** Collects changes of a map: `key=value` sets, `key-` removes. */
export function collectChange(text: string, before: readonly MapChange[] | undefined): MapChange[] {
  const removed = /^([^=]+)-$/.exec(text)?.[1];
  const [pair] = removed === undefined ? collectPair(text, undefined) : [[removed, undefined] as const];
  const [key, value] = pair ?? [''];
  if (before?.some((change) => change.key === key)) throw new InvalidArgumentError(`${key} is given twice.`);
  return [...(before ?? []), { key, value }];
}

export interface MapChange {
  key: string;
  /** undefined: without it. */
  value: string | undefined;
}
