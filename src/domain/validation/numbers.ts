import type { DescEnum } from '@bufbuild/protobuf';
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import { quote } from '../../lib/violations.ts';
import type { Rule } from './rules.ts';

// The ranges that google/protobuf/duration.proto and timestamp.proto document.
const MAX_DURATION_SECONDS = 315_576_000_000n;
const MIN_TIMESTAMP_SECONDS = -62_135_596_800n;
const MAX_TIMESTAMP_SECONDS = 253_402_300_799n;
const MAX_NANOS = 999_999_999;

function durationFault({ seconds, nanos }: Duration): string | undefined {
  if (seconds < -MAX_DURATION_SECONDS || seconds > MAX_DURATION_SECONDS) {
    return 'has seconds beyond ±315,576,000,000';
  }
  if (nanos < -MAX_NANOS || nanos > MAX_NANOS) return 'has nanos beyond ±999,999,999';
  if ((seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0)) {
    return 'has seconds and nanos of different sign';
  }
  return undefined;
}

export interface DurationLimits {
  minMs: number;
  maxMs: number;
  /** The limits for people: "100 ms to 1 h". */
  range: string;
}

/** A duration within limits; absent is fine. */
export function duration(limits: DurationLimits): Rule<Duration | undefined> {
  const { minMs, maxMs, range } = limits;
  return (violations, value) => {
    if (value === undefined) return;
    const fault = durationFault(value);
    if (fault !== undefined) {
      violations.add(fault);
      return;
    }
    const ms = Number(value.seconds) * 1000 + value.nanos / 1e6;
    if (ms < minMs || ms > maxMs) violations.add(`is ${ms / 1000} s; ${range} is allowed`);
  };
}

/** A point in time; absent is fine. Any that the format can hold: clocks are measured, not trusted. */
export const timestamp: Rule<Timestamp | undefined> = (violations, value) => {
  if (value === undefined) return;
  if (value.seconds < MIN_TIMESTAMP_SECONDS || value.seconds > MAX_TIMESTAMP_SECONDS) {
    violations.add('is outside of the years 1 to 9999');
  } else if (value.nanos < 0 || value.nanos > MAX_NANOS) {
    violations.add('has nanos outside of 0 to 999,999,999');
  }
};

/** Whether `a` is before `b`; both must be valid. */
export function isBefore(a: Timestamp, b: Timestamp): boolean {
  return a.seconds < b.seconds || (a.seconds === b.seconds && a.nanos < b.nanos);
}

/** A measured share that may be above 1; absent is fine. */
export const load: Rule<number | undefined> = (violations, value) => {
  if (value === undefined) return;
  if (!(value >= 0 && value < Number.POSITIVE_INFINITY)) {
    violations.add(`is ${value}; must be a finite number of 0 or more`);
  }
};

/** An amount, a revision: 0 or more. */
export const notNegative: Rule<bigint | number | undefined> = (violations, value) => {
  if (value !== undefined && value < 0) violations.add(`is ${value}; must be 0 or more`);
};

/** A count of at most `max`. */
export function atMost(max: number): Rule<number> {
  return (violations, value) => {
    if (value > max) violations.add(`is ${value}; at most ${max} is allowed`);
  };
}

/** A count of `min` to `max`. */
export function between(min: number, max: number): Rule<number> {
  return (violations, value) => {
    if (value < min || value > max) violations.add(`is ${value}; ${min} to ${max} is allowed`);
  };
}

/** A known value of an open enum; `unspecified` says whether 0 is one. */
export function known(schema: DescEnum, unspecified: 'allowed' | 'refused'): Rule<number> {
  const values = schema.values.filter(({ number }) => number !== 0 || unspecified === 'allowed');
  const numbers = new Set(values.map(({ number }) => number));
  const names = values.map((value) => value.name).join(', ');
  return (violations, value) => {
    if (numbers.has(value)) return;
    const given = schema.value[value]?.name ?? quote(String(value));
    violations.add(`is ${given}; must be one of ${names}`);
  };
}
