import { shown } from './errors.ts';
import type { KeySpec } from './key.ts';

const FACTOR = /^([A-Za-z0-9._/-]{1,64})=(\d{1,6}(?:\.\d{1,6})?)$/;

/** What is wrong with an item of a list of factors, or undefined. */
export function factorFault({ min = 0, max = Infinity }: KeySpec, item: string): string | undefined {
  const [, , digits] = FACTOR.exec(item) ?? [];
  if (digits === undefined) return `${shown(item)} is not a name, "=" and a number, such as "cpu_milli=1.5"`;
  const factor = Number(digits);
  return factor < min || factor > max ? `${shown(item)} must have a factor from ${min} to ${max}` : undefined;
}

/** What a factor is about. */
export const nameOfFactor = (item: string): string => item.slice(0, Math.max(0, item.indexOf('=')));

/** A list of factors that was checked, by name. No prototype: a resource may be called "constructor". */
export function factorsOf(items: readonly string[]): Readonly<Record<string, number>> {
  const factors = Object.create(null) as Record<string, number>;
  for (const item of items) factors[nameOfFactor(item)] = Number(item.slice(item.indexOf('=') + 1));
  return factors;
}
