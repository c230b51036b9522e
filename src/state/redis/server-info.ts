import { type Durability, StoreOpenError } from '../store.ts';
import type { Connection, Reply } from './connection.ts';
import { list, text } from './scripts.ts';

/** What the store needs to know of the server behind a connection. */
export interface ServerInfo {
  runId: string;
  version: string;
  primary: boolean;
  loading: boolean;
  appendOnly: boolean;
  /** Undefined: CONFIG GET is not permitted. */
  appendFsync: string | undefined;
}

const MIN_VERSION = [6, 2] as const;

/** The `field:value` lines of INFO. */
export function parseInfo(reply: Reply): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text(reply).split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon > 0 && !line.startsWith('#')) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

/**
 * Reads what kind of server this is.
 * @throws StoreOpenError when the store cannot be kept there: too old, or it evicts keys.
 */
export async function inspectServer(connection: Connection): Promise<ServerInfo> {
  const names = ['maxmemory-policy', 'appendonly', 'appendfsync'] as const;
  const [info, ...configs] = await connection.send([
    ['info'],
    ...names.map((name) => ['config', 'get', name] as const),
  ]);
  if (info === undefined || info instanceof Error) throw info ?? new Error('INFO was not answered');
  const fields = parseInfo(info);
  const setting = (name: (typeof names)[number]): string | undefined => {
    const reply = configs[names.indexOf(name)];
    if (reply === undefined || reply instanceof Error) return undefined;
    const value = list(reply)[1];
    return value === undefined ? undefined : text(value);
  };
  const version = fields.get('redis_version') ?? '0';
  const loading = fields.get('loading') === '1';
  const policy = setting('maxmemory-policy') ?? fields.get('maxmemory_policy');
  if (!loading) {
    checkVersion(version);
    checkPolicy(policy);
  }
  return {
    runId: fields.get('run_id') ?? '',
    version,
    primary: fields.get('role') === 'master',
    loading,
    appendOnly: setting('appendonly') === 'yes' || fields.get('aof_enabled') === '1',
    appendFsync: setting('appendfsync'),
  };
}

function checkVersion(version: string): void {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1])) return;
  throw new StoreOpenError(`Redis ${version} is too old: ${MIN_VERSION.join('.')} or later is needed`);
}

function checkPolicy(policy: string | undefined): void {
  if (policy === 'noeviction') return;
  if (policy === undefined) {
    throw new StoreOpenError(
      'cannot tell whether Redis evicts keys: allow this user CONFIG GET, or INFO to say maxmemory_policy',
    );
  }
  throw new StoreOpenError(
    `Redis evicts keys when memory runs short (maxmemory-policy ${policy}): set maxmemory-policy to noeviction`,
  );
}

interface Guarantees {
  appendOnly: boolean;
  appendFsync: string | undefined;
  /** Sentinels may promote a replica at any time. */
  watched: boolean;
  /** Replicas that must have each commit. */
  minReplicas: number;
}

/** What an acknowledgement is worth there, and why, for operators. `replicas`: how many are connected. */
export function durabilityOf(server: Guarantees & { replicas: number }): {
  durability: Durability;
  detail: string;
} {
  const { replicas, minReplicas } = server;
  const [durability, detail] = levelOf(server);
  if (minReplicas === 0) return { durability, detail };
  const connected = `${replicas} ${replicas === 1 ? 'replica is' : 'replicas are'} connected`;
  if (replicas >= minReplicas) return { durability, detail: `${detail}; ${connected}` };
  return { durability, detail: `${detail}; only ${connected}, so that no commit can be acknowledged` };
}

function levelOf({ appendOnly, appendFsync, watched, minReplicas }: Guarantees): [Durability, string] {
  if (!appendOnly) return ['process', 'Redis keeps no append-only file (appendonly no)'];
  if (appendFsync === undefined) {
    return [
      'process',
      'CONFIG GET is not permitted, so it is unknown whether Redis syncs each write: assuming not',
    ];
  }
  if (appendFsync !== 'always') return ['process', `Redis syncs later (appendfsync ${appendFsync})`];
  if (minReplicas > 0) {
    return ['replicated', `Redis syncs each write, and ${minReplicas} of its replicas have it (WAIT)`];
  }
  if (watched) {
    return ['process', 'Sentinels may promote a replica that lacks the last writes (redis.min_replicas 0)'];
  }
  return ['disk', 'Redis syncs each write (appendfsync always)'];
}
