import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { type RedisServer, type RedisServerOptions, startProcess, startRedis } from './redis-server.ts';
import { until } from './until.ts';

export const MASTER_NAME = 'main';
const SENTINELS = 3;
/** How often a Sentinel looks at servers, asks other Sentinels and tells of itself, milliseconds: all it waits for otherwise. */
const QUICK = ['info-period', '500', 'publish-period', '500', 'ask-period', '200'];

export interface SentinelFleetOptions {
  /** Redis servers, the first of them primary; default 3. */
  servers?: number;
  /** For each of them. */
  redis?: RedisServerOptions;
  /** Silence after which a Sentinel takes the primary for down; default 2 s. */
  downAfterMs?: number;
  /** What Sentinels ask their clients for, and servers theirs. */
  sentinelPassword?: string;
  password?: string;
}

/** A primary with replicas, watched by three Sentinels: real processes on free ports of loopback. */
export interface SentinelFleet {
  /** `redis+sentinel://…/main`, with the servers' password. */
  readonly url: string;
  readonly servers: readonly RedisServer[];
  readonly sentinels: readonly RedisServer[];
  /** Where the Sentinels say the primary is, by most of them. */
  master(): Promise<RedisServer>;
  /** Resolves when most of them name another one than `old`. */
  failedOver(old: RedisServer): Promise<RedisServer>;
  /** Resolves when this server has so many replicas in step: what WAIT needs. */
  replicated(server: RedisServer, replicas: number): Promise<void>;
  /** Resolves when this many replicas are in step with the primary, and every Sentinel knows of them. */
  settled(replicas: number): Promise<void>;
  /** A plain client. Disconnect it. */
  client(server: RedisServer): Redis;
  stop(): Promise<void>;
}

export async function startSentinels(options: SentinelFleetOptions = {}): Promise<SentinelFleet> {
  const { servers: count = 3, redis = {}, password, sentinelPassword } = options;
  const servers: RedisServer[] = [];
  const sentinels: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all([...sentinels, ...servers].map((server) => server.stop()));
  };
  const client = (server: RedisServer): Redis => {
    const secret = sentinels.includes(server) ? sentinelPassword : password;
    const made = new Redis({
      ...{
        port: server.port,
        host: '127.0.0.1',
        retryStrategy: () => 50,
        maxRetriesPerRequest: 0,
        commandTimeout: 2_000,
      },
      ...{ enableReadyCheck: false, ...(secret === undefined ? {} : { password: secret }) },
    });
    made.on('error', () => {});
    return made;
  };
  const ask = async <T>(server: RedisServer, question: (asked: Redis) => Promise<T>): Promise<T> => {
    const asked = client(server);
    try {
      return await question(asked);
    } finally {
      asked.disconnect();
    }
  };
  const online = async (server: RedisServer): Promise<number> => {
    const info = await ask(server, (asked) => asked.info('replication'));
    return info.match(/state=online/g)?.length ?? 0;
  };
  try {
    const login = password === undefined ? [] : ['--requirepass', password, '--masterauth', password];
    for (let index = 0; index < count; index++) {
      const primary = servers[0];
      const args = [
        ...['--repl-diskless-sync-delay', '0', ...login, ...(redis.args ?? [])],
        ...(primary === undefined ? [] : ['--replicaof', `127.0.0.1 ${primary.port}`]),
      ];
      servers.push(await startRedis({ ...redis, args }));
    }
    const primary = servers[0];
    if (primary === undefined) throw new Error('no servers');
    const program = {
      ready: '+monitor master',
      args: (directory: string, port: number): string[] => {
        const file = join(directory, 'sentinel.conf');
        // A restarted one goes on with the file that it wrote itself.
        if (!existsSync(file))
          writeFileSync(file, configOf({ directory, port, primary: primary.port }, options));
        return [file, '--sentinel'];
      },
    };
    // The first look at the primary finds them; the next one would come after ten seconds.
    await until(
      () => online(primary),
      (found) => found >= count - 1,
      { what: 'replicas', timeoutMs: 30_000 },
    );
    for (let index = 0; index < SENTINELS; index++) {
      const sentinel = await startProcess(program);
      sentinels.push(sentinel);
      // Redis 7 can be told to look about more often.
      await ask(sentinel, (asked) => asked.call('sentinel', 'debug', ...QUICK)).catch(() => {});
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const named = async (): Promise<RedisServer | undefined> => {
    const ports = await Promise.all(
      sentinels.map((sentinel) =>
        ask(sentinel, async (asked) => {
          const place = await asked.call('sentinel', 'get-master-addr-by-name', MASTER_NAME);
          return Number((place as string[] | null)?.[1]);
        }).catch(() => 0),
      ),
    );
    return servers.find(({ port }) => ports.filter((found) => found === port).length * 2 > SENTINELS);
  };
  const master = async (): Promise<RedisServer> => {
    const found = await named();
    if (found === undefined) throw new Error('the Sentinels do not agree on a primary');
    return found;
  };
  const login = password === undefined ? '' : `:${encodeURIComponent(password)}@`;
  return {
    url: `redis+sentinel://${login}${sentinels.map(({ port }) => `127.0.0.1:${port}`).join()}/${MASTER_NAME}`,
    servers,
    sentinels,
    master,
    failedOver: (old) => until(master, (found) => found !== old, { what: 'the failover', timeoutMs: 30_000 }),
    replicated: async (server, replicas) => {
      const enough = (found: number): boolean => found >= replicas;
      await until(() => online(server), enough, { what: 'replicas', timeoutMs: 30_000 });
    },
    settled: async (replicas) => {
      const known = async (sentinel: RedisServer): Promise<string> => {
        const fields = await ask(sentinel, (asked) => asked.call('sentinel', 'master', MASTER_NAME));
        const texts = (fields as unknown[]).map(String);
        const field = (name: string) => texts[texts.indexOf(name) + 1];
        return `${field('num-slaves')}/${field('num-other-sentinels')}`;
      };
      const state = async () => ({
        online: await online(await master()),
        known: await Promise.all(sentinels.map(known)),
      });
      await until(
        state,
        ({ online: found, known: seen }) =>
          found >= replicas &&
          seen.every((text) => Number(text.split('/')[0]) >= replicas && text.endsWith(`/${SENTINELS - 1}`)),
        { what: 'replicas and Sentinels', timeoutMs: 30_000, everyMs: 100 },
      );
    },
    client,
    stop,
  };
}

function configOf(
  { directory, port, primary }: { directory: string; port: number; primary: number },
  options: SentinelFleetOptions,
): string {
  const { downAfterMs = 2_000, password, sentinelPassword } = options;
  return [
    ...[`port ${port}`, 'bind 127.0.0.1', `dir ${directory}`, 'logfile ""'],
    ...(sentinelPassword === undefined ? [] : [`requirepass ${sentinelPassword}`]),
    `sentinel monitor ${MASTER_NAME} 127.0.0.1 ${primary} 2`,
    ...(password === undefined ? [] : [`sentinel auth-pass ${MASTER_NAME} ${password}`]),
    `sentinel down-after-milliseconds ${MASTER_NAME} ${downAfterMs}`,
    `sentinel failover-timeout ${MASTER_NAME} 6000`,
    '',
  ].join('\n');
}
