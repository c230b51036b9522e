import type { BlockSpec } from './blocks/spec.ts';

/** How a key's value is written and checked. */
export type Kind =
  /** A line of text. */
  | 'text'
  | 'integer'
  | 'number'
  /** A number of seconds, or a number with a unit: "500ms", "5s", "2m", "1h", "7d". Milliseconds in Config. */
  | 'duration'
  /** The same, but a bare number means milliseconds. */
  | 'milliseconds'
  /** One of `choices`. */
  | 'choice'
  /** Some of `choices`. */
  | 'choices'
  /** Label selectors, or "all_agents". */
  | 'selectors'
  /** "name=factor", each factor from `min` to `max`; may be empty. */
  | 'factors'
  /** "host:port" or "[IPv6]:port". */
  | 'listen'
  /** A store's URL. */
  | 'store'
  /** A store's URL, or the name of a logical database in the default store. */
  | 'database'
  /** Path of a file. */
  | 'file'
  /** A list of blocks with fields of their own, see `blocks`. In variables and flags as YAML or JSON text. */
  | 'blocks';

export interface KeySpec {
  /** Where it stands in YAML, under `orchestrator:`. */
  readonly path: string;
  readonly kind: Kind;
  /** As one would write it in YAML; absent: nothing. */
  readonly default?: string | number | readonly string[];
  /** Inclusive, in milliseconds for durations. For text: of its length. */
  readonly min?: number;
  readonly max?: number;
  /** Allowed though outside the range, for "off". */
  readonly zero?: boolean;
  readonly choices?: readonly string[];
  /** What plain numbers count. */
  readonly unit?: string;
  readonly doc: string;
  /** Its value may hold a password: never echoed as it is. */
  readonly secret?: boolean;
  /** What the blocks of a list are. */
  readonly blocks?: BlockSpec;
}

export const ENV_PREFIX = 'ORCHESTRATOR_';

export function envName(path: string): string {
  return ENV_PREFIX + path.replaceAll('.', '_').toUpperCase();
}

export function flagName(path: string): string {
  return `--${path.replaceAll('_', '-')}`;
}

/** Where the value stands in Config: `session.ping_interval` is `session.pingIntervalMs`. */
export function configPath(key: KeySpec): string[] {
  const parts = key.path
    .split('.')
    .map((part) => part.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()));
  const last = parts.length - 1;
  if (key.kind === 'duration' || key.kind === 'milliseconds') parts[last] = `${parts[last]}Ms`;
  return parts;
}
