import { shownUrl } from '../../lib/shown-url.ts';
import { formatDuration } from '../duration.ts';
import type { FieldSpec } from './spec.ts';

/** A field's value as one would write it. */
type Written = string | number | boolean | (string | number)[] | { [name: string]: string };

/** A block under its YAML names, secrets blanked; what is absent or has its default of nothing is left out. */
export function describeBlock(
  fields: readonly FieldSpec[],
  block: Readonly<Record<string, unknown>>,
): { [name: string]: Written } {
  const described: { [name: string]: Written } = {};
  for (const field of fields) {
    const value = block[field.to];
    if (value === undefined || value === '') continue;
    if (field.kind === 'range' && block.probe !== 'http' && field.name === 'expect_status') continue;
    if (Array.isArray(value) && value.length === 0) continue;
    described[field.name] = written(field, value);
  }
  return described;
}

function written(field: FieldSpec, value: unknown): Written {
  if (field.kind === 'duration') return formatDuration(Number(value));
  if (field.kind === 'map') {
    const entries = Object.entries(value as Readonly<Record<string, string>>);
    return Object.fromEntries(entries.map(([name, text]) => [name, field.secret === 'all' ? '***' : text]));
  }
  if (Array.isArray(value)) return value as (string | number)[];
  if (field.secret === 'all') return '***';
  if (field.secret !== undefined) return shownUrl(String(value), { path: field.secret === 'url' });
  return value as string | number | boolean;
}
