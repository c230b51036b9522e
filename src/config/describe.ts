import { describeBlock } from './blocks/describe.ts';
import type { Config } from './config.ts';
import { configPath, type KeySpec } from './key.ts';
import { KEYS } from './schema.ts';
import { redactUrl } from './store-url.ts';
import { formatted } from './values.ts';

export type JsonValue = string | number | boolean | null | JsonValue[] | JsonObject;
export interface JsonObject {
  [name: string]: JsonValue;
}

export interface DescribedConfig {
  /** Every key under its YAML name with its effective value, as one would write it; passwords are blanked. */
  config: JsonObject;
  /** Where each key that is not a default came from. */
  sources: Record<string, string>;
}

/** The effective configuration for people and programs; under `orchestrator:` it loads again (blanked secrets aside). */
export function describeConfig(config: Config, sources: Record<string, string>): DescribedConfig {
  const root: JsonObject = {};
  for (const key of KEYS) {
    const value = valueAt(config, key);
    if (value === undefined) continue;
    const parts = key.path.split('.');
    let parent = root;
    for (const part of parts.slice(0, -1)) {
      parent[part] ??= {};
      parent = parent[part] as JsonObject;
    }
    parent[parts.at(-1) ?? ''] = written(key, value);
  }
  return { config: root, sources: { ...sources } };
}

function valueAt(config: Config, key: KeySpec): unknown {
  let value: unknown = config;
  for (const part of configPath(key)) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

function written(key: KeySpec, value: unknown): JsonValue {
  if (key.blocks !== undefined) {
    const { fields } = key.blocks;
    return (value as readonly Record<string, unknown>[]).map((block) => describeBlock(fields, block));
  }
  if (Array.isArray(value)) return value.map(String);
  if (typeof value !== 'number') return key.secret === true ? blanked(key, String(value)) : String(value);
  // The requirements write these as plain numbers.
  if (key.kind === 'milliseconds') return value;
  if (key.kind !== 'duration') return value;
  return typeof key.default === 'number' && value % 1_000 === 0 ? value / 1_000 : formatted(key, value);
}

/** What is no URL is a secret as a whole. */
function blanked(key: KeySpec, text: string): string {
  if (key.kind !== 'text') return redactUrl(text);
  return text === '' ? '' : '***';
}
