import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { StoreOpenError } from '../store.ts';
import type { Command, Connection, Reply } from './connection.ts';

type Argument = string | Buffer | number;

interface Script {
  source: string;
  sha: string;
}

function load(file: string): Script {
  const source = readFileSync(new URL(`./scripts/${file}.lua`, import.meta.url), 'utf8');
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}

const scripts = {
  activate: load('activate'),
  adopt: load('adopt'),
  commit: load('commit'),
  open: load('open'),
  pulse: load('pulse'),
  putLive: load('put_live'),
  scan: load('scan'),
  settle: load('settle'),
  trimSeries: load('trim_series'),
};
type ScriptName = keyof typeof scripts;

/** One call of a script, to be sent by its hash or, when the server has forgotten it, by its text. */
export interface ScriptCall {
  script: ScriptName;
  keys: readonly string[];
  args: readonly Argument[];
}

export function byHash({ script, keys, args }: ScriptCall): Command {
  return ['evalsha', scripts[script].sha, keys.length, ...keys, ...args];
}

export function byText({ script, keys, args }: ScriptCall): Command {
  return ['eval', scripts[script].source, keys.length, ...keys, ...args];
}

export function isUnknownScript(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

export async function loadScripts(connection: Connection): Promise<void> {
  const replies = await connection.send(
    Object.values(scripts).map(({ source }): Command => ['script', 'load', source]),
  );
  for (const reply of replies) if (reply instanceof Error) throw reply;
}

async function run(connection: Connection, call: ScriptCall): Promise<Reply> {
  try {
    return await connection.call(...byHash(call));
  } catch (error) {
    if (!isUnknownScript(error)) throw error;
    return connection.call(...byText(call));
  }
}

export const text = (reply: Reply | undefined): string => (reply == null ? '' : reply.toString());
export const list = (reply: Reply | undefined): Reply[] => (Array.isArray(reply) ? reply : []);
export const number = (reply: Reply | undefined): bigint => BigInt(text(reply) || '0');

export type CommitReply =
  | { kind: 'committed'; revision: bigint; timeMs: number }
  | { kind: 'repeated'; record: Buffer }
  | { kind: 'conflict'; key: string; revision: bigint }
  | { kind: 'epoch' }
  | { kind: 'fenced' };

/** What commit.lua returns. */
export function parseCommit(reply: Reply): CommitReply {
  const [kind, first, second] = list(reply);
  switch (text(kind)) {
    case 'committed':
      return { kind: 'committed', revision: number(first), timeMs: Number(text(second)) };
    case 'repeated':
      return { kind: 'repeated', record: first as Buffer };
    case 'conflict':
      return { kind: 'conflict', key: text(first), revision: number(second) };
    case 'epoch':
      return { kind: 'epoch' };
    case 'fenced':
      return { kind: 'fenced' };
    default:
      throw new Error(`commit.lua returned ${text(kind)}`);
  }
}

export type Settlement = { kind: 'committed'; revision: bigint } | { kind: 'repeated' } | { kind: 'refused' };

/** What settle.lua returns. */
export function parseSettlement(reply: Reply): Settlement {
  const found = text(reply);
  if (found.startsWith('c')) return { kind: 'committed', revision: BigInt(found.slice(1)) };
  return { kind: found === 'r' ? 'repeated' : 'refused' };
}

/** Why a store cannot be opened into which a transfer was begun then. */
export const unfinishedReason = (begun: string): string =>
  `a copy or restore into this store in Redis, begun ${begun}, was not completed: repeat it with --force`;

/** @throws StoreOpenError while a transfer fills the store */
export async function openEpoch(
  connection: Connection,
  options: { storeKey: string; runId: string; seen: bigint; leave: bigint; channel: string },
): Promise<{ epoch: bigint; fresh: boolean }> {
  const { storeKey, runId, seen, leave, channel } = options;
  const [epoch, state] = list(
    await run(connection, {
      script: 'open',
      keys: [storeKey],
      args: [runId, String(seen), String(leave), channel],
    }),
  );
  if (text(state) === 'importing') throw new StoreOpenError(unfinishedReason(text(epoch)));
  return { epoch: number(epoch), fresh: text(state) === 'new' };
}

export async function adopt(
  connection: Connection,
  options: { metaKey: string; epoch: bigint; runId: string; token: string },
): Promise<'ready' | 'announced' | 'newer'> {
  const { metaKey, epoch, runId, token } = options;
  const args = [String(epoch), runId, token];
  return text(await run(connection, { script: 'adopt', keys: [metaKey], args })) as
    | 'ready'
    | 'announced'
    | 'newer';
}

export async function activate(
  connection: Connection,
  options: {
    keys: { meta: string; log: string; marks: string };
    epoch: bigint;
    runId: string;
    token: string;
    seen: bigint;
    leap: number;
  },
): Promise<'ready' | 'lost'> {
  const { keys, epoch, runId, token, seen, leap } = options;
  return text(
    await run(connection, {
      script: 'activate',
      keys: [keys.meta, keys.log, keys.marks],
      args: [String(epoch), runId, token, String(seen), leap],
    }),
  ) as 'ready' | 'lost';
}

export interface Pulse {
  timeMs: number;
  epoch: bigint;
  runId: string;
  primary: boolean;
  /** That are connected. */
  replicas: number;
}

export async function pulse(connection: Connection, storeKey: string): Promise<Pulse> {
  const reply = list(await run(connection, { script: 'pulse', keys: [storeKey], args: [] }));
  const [seconds, micros, epoch, runId, role, replicas] = reply;
  return {
    timeMs: Number(text(seconds)) * 1000 + Number(text(micros)) / 1000,
    epoch: number(epoch),
    runId: text(runId),
    primary: text(role) === 'master',
    replicas: Number(text(replicas)),
  };
}

export interface ScanReply {
  epoch: bigint;
  revision: bigint;
  more: boolean;
  /** Key and "revision:value" by turns. */
  items: Reply[];
}

export async function scan(
  connection: Connection,
  options: {
    keys: { meta: string; data: string; index: string };
    from: Buffer | string;
    to: Buffer | string;
    limit: number;
  },
): Promise<ScanReply> {
  const { keys, from, to, limit } = options;
  const [epoch, revision, more, ...items] = list(
    await run(connection, {
      script: 'scan',
      keys: [keys.meta, keys.data, keys.index],
      args: [from, to, limit],
    }),
  );
  return { epoch: number(epoch), revision: number(revision), more: text(more) === '1', items };
}

export async function trimSeries(
  connection: Connection,
  options: { seriesKey: string; beforeMs: number; limit: number },
): Promise<number> {
  const args = [options.beforeMs, options.limit];
  return Number(await run(connection, { script: 'trimSeries', keys: [options.seriesKey], args }));
}

export async function putLive(
  connection: Connection,
  options: {
    keys: { live: string; gone: string };
    channel: string;
    namespace: string;
    ttlMs: number;
    goneTtlMs: number;
    records: Argument[];
  },
): Promise<number> {
  const { keys, channel, namespace, ttlMs, goneTtlMs, records } = options;
  const args = [channel, namespace, ttlMs, goneTtlMs, ...records];
  return Number(await run(connection, { script: 'putLive', keys: [keys.live, keys.gone], args }));
}
