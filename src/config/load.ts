import { crossFaults } from './blocks/cross.ts';
import type { RawNode } from './blocks/node.ts';
import { type ParsedBlock, parseBlocks } from './blocks/parse.ts';
import type { Config } from './config.ts';
import { ConfigError, type ConfigFault, shown } from './errors.ts';
import { configPath, ENV_PREFIX, envName, flagName, type KeySpec } from './key.ts';
import { brokenRules } from './rules.ts';
import { KEYS, OTHER_VARIABLES } from './schema.ts';
import { didYouMean } from './suggest.ts';
import { parseValue, type Raw } from './values.ts';
import { parseBlockText, readConfigFile } from './yaml-file.ts';

export interface LoadOptions {
  /** Path of a YAML file; absent: ORCHESTRATOR_CONFIG, else none. */
  file?: string | undefined;
  env: NodeJS.ProcessEnv;
  /** Flags by name, without or with the leading dashes: "grpc.listen", "--session.ping-interval". */
  flags: Record<string, string>;
}

export interface LoadedConfig {
  config: Config;
  /** Where each key that is not a default came from: "file:<path>:<line>", "env:<name>" or "flag:<name>". */
  sources: Record<string, string>;
}

/** A value that was found somewhere. */
interface Found {
  key: KeySpec;
  raw: Raw;
  typed: boolean;
  /** Of a list of blocks that stood in a file. */
  node?: RawNode | undefined;
  /** For a fault. */
  at: string;
  /** For `sources`. */
  source: string;
}

/** Reads file, then environment, then flags; later ones win. Throws ConfigError with every mistake. */
export function loadConfig(options: LoadOptions): LoadedConfig {
  const faults: ConfigFault[] = [];
  const found = [
    ...fromFile(options, faults),
    ...fromEnv(options.env, faults),
    ...fromFlags(options, faults),
  ];
  const values = new Map<string, unknown>();
  const winners = new Map<string, Found>();
  const lists = new Map<string, readonly ParsedBlock[]>();
  // Also a value that a later one overrides must be well-formed.
  for (const item of found) {
    winners.set(item.key.path, item);
    if (item.key.blocks !== undefined) {
      const node =
        item.node ?? parseBlockText(String(item.raw), { path: item.key.path, source: item.at }, faults);
      if (node === undefined) continue;
      const parsed = parseBlocks(item.key.path, item.key.blocks, node);
      faults.push(...parsed.faults);
      lists.set(item.key.path, parsed.blocks);
      values.set(
        item.key.path,
        parsed.blocks.map((block) => block.values),
      );
      continue;
    }
    const parsed = parseValue(item.key, item.raw, item.typed);
    if ('fault' in parsed) faults.push({ path: item.key.path, source: item.at, message: parsed.fault });
    else values.set(item.key.path, parsed.value);
  }
  const config = assemble(values);
  faults.push(...crossFaults(config, lists));
  for (const rule of brokenRules(config)) {
    // A key that is wrong by itself was replaced by its default, which says nothing about the rule.
    if (rule.paths.some((path) => faults.some((fault) => fault.path === path))) continue;
    const path = rule.paths.find((candidate) => winners.has(candidate)) ?? rule.paths[0] ?? '';
    const about = path === rule.paths[0] ? '' : `${rule.paths[0]} `;
    faults.push({ path, source: winners.get(path)?.at ?? 'default', message: about + rule.message });
  }
  if (faults.length > 0) throw new ConfigError(faults);
  const sources = Object.fromEntries([...winners].map(([path, { source }]) => [path, source]));
  return { config: deepFreeze(config), sources };
}

function fromFile(options: LoadOptions, faults: ConfigFault[]): Found[] {
  const file = options.file ?? (options.env.ORCHESTRATOR_CONFIG || undefined);
  if (file === undefined) return [];
  const content = readConfigFile(file);
  faults.push(...content.faults);
  return content.values.map((value) => ({ ...value, typed: true }));
}

const BY_ENV = new Map(KEYS.map((key) => [envName(key.path), key]));

/** Kubernetes gives every pod such variables for each Service; one may well be called "orchestrator". */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)$/;

function fromEnv(env: NodeJS.ProcessEnv, faults: ConfigFault[]): Found[] {
  const found: Found[] = [];
  for (const name of Object.keys(env).sort()) {
    if (!name.startsWith(ENV_PREFIX) || name in OTHER_VARIABLES) continue;
    const raw = env[name];
    const key = BY_ENV.get(name);
    if (key === undefined) {
      if (SERVICE_LINK.test(name)) continue;
      const hint = didYouMean(name, [...BY_ENV.keys(), ...Object.keys(OTHER_VARIABLES)]);
      faults.push({ path: '', source: bounded(name), message: `unknown environment variable${hint}` });
    } else if (raw !== undefined && raw !== '') {
      found.push({ key, raw, typed: false, at: name, source: `env:${name}` });
    }
  }
  return found;
}

const BY_FLAG = new Map(KEYS.map((key) => [key.path, key]));

function fromFlags({ flags }: LoadOptions, faults: ConfigFault[]): Found[] {
  const found: Found[] = [];
  for (const [given, raw] of Object.entries(flags)) {
    const path = given.replace(/^--/, '').replaceAll('-', '_');
    const key = BY_FLAG.get(path);
    const name = bounded(`--${given.replace(/^--/, '')}`);
    if (key === undefined) {
      const hint = didYouMean(path, BY_FLAG.keys());
      const flag = hint === '' ? '' : hint.replace(/mean (\S+)\?$/, (_, guess) => `mean ${flagName(guess)}?`);
      faults.push({ path: '', source: name, message: `unknown flag${flag}` });
    } else found.push({ key, raw, typed: false, at: name, source: `flag:${name}` });
  }
  return found;
}

function bounded(name: string): string {
  return /^[\w.-]{1,100}$/.test(name) ? name : shown(name);
}

type Tree = { [name: string]: unknown };

/** Puts values and defaults in their places. A test holds the outcome against a literal of type Config. */
function assemble(values: ReadonlyMap<string, unknown>): Config {
  const root: Tree = {};
  for (const key of KEYS) {
    const path = configPath(key);
    let parent = root;
    for (const part of path.slice(0, -1)) {
      parent[part] ??= {};
      parent = parent[part] as Tree;
    }
    parent[path.at(-1) ?? ''] = values.has(key.path) ? values.get(key.path) : defaultValue(key);
  }
  for (const name of ['grpc', 'http']) {
    const listener = root[name] as Tree;
    const { certFile, keyFile } = listener.tls as Tree;
    if (certFile === undefined && keyFile === undefined) listener.tls = undefined;
  }
  return root as unknown as Config;
}

/** A key's default as Config holds it. */
export function defaultValue(key: KeySpec): unknown {
  if (key.default === undefined || key.kind === 'blocks') return key.default;
  const parsed = parseValue(key, key.default, true);
  if ('fault' in parsed) throw new Error(`the default of ${key.path} ${parsed.fault}`);
  return parsed.value;
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner);
    Object.freeze(value);
  }
  return value;
}
