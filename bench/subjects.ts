import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { freePort, startRedis } from '../test/support/redis-server.ts';
import { ServiceProcess } from '../test/support/service.ts';

/** A server under measurement, running. */
export interface Running {
  /** "host:port" of its gRPC listener. */
  address: string;
  pid: number;
  /** Processes that work for it and are reported beside it. */
  helpers: { name: string; pid: number }[];
  stop(): Promise<void>;
}

export interface Subject {
  name: string;
  protocol: 'session' | 'etcd';
  /** Whether agents register before they attach. */
  register: boolean;
  start(): Promise<Running>;
}

const orchestratorEnv = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '1s',
  ORCHESTRATOR_SESSION_MAX_PINGS_PER_SECOND: '20000',
  ORCHESTRATOR_GRPC_MAX_CONNECTIONS_PER_ADDRESS: '20000',
};

async function startOrchestrator(
  store: string | undefined,
  more: Record<string, string> = {},
): Promise<Running> {
  const service = await ServiceProcess.start({
    ...(store === undefined ? {} : { store }),
    env: { ...orchestratorEnv, ...more },
  });
  return { address: service.grpc, pid: service.pid, helpers: [], stop: () => service.stop() };
}

export const onLmdb: Subject = {
  name: 'orchestrator/lmdb',
  protocol: 'session',
  register: true,
  start: () => startOrchestrator(undefined),
};

/** The same with other settings. */
export const onLmdbWith = (name: string, env: Record<string, string>): Subject => ({
  ...onLmdb,
  name,
  start: () => startOrchestrator(undefined, env),
});

async function startOnRedis(appendfsync: 'always' | 'everysec'): Promise<Running> {
  const redis = await startRedis({ appendfsync });
  try {
    const running = await startOrchestrator(redis.url);
    const stop = async () => {
      await running.stop();
      await redis.stop();
    };
    return { ...running, helpers: [{ name: 'redis-server', pid: redis.pid }], stop };
  } catch (error) {
    await redis.stop();
    throw error;
  }
}

export const onRedis: Subject = {
  name: 'orchestrator/redis',
  protocol: 'session',
  register: true,
  // Durable as LMDB is: each answer waits for the disk.
  start: () => startOnRedis('always'),
};

/** An answer survives the death of every process, as JetStream's does: the disk is synced once a second. */
export const onRedisEverySecond: Subject = {
  name: 'orchestrator/redis everysec',
  protocol: 'session',
  register: true,
  start: () => startOnRedis('everysec'),
};

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

/** A server of the bench's own, in `script`. */
async function startScript(script: string): Promise<Running> {
  const child = spawn(process.execPath, [fileURLToPath(new URL(script, import.meta.url))], {
    env: { ...process.env, NODE_ENV: 'production' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const address = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => {
      resolve((JSON.parse(line) as { grpc: string }).grpc);
    });
    child.once('exit', () => reject(new Error(`${script} died`)));
  });
  return { address, pid: child.pid ?? 0, helpers: [], stop: () => endProcess(child) };
}

export const bare: Subject = {
  name: 'bare grpc-js',
  protocol: 'session',
  register: false,
  start: () => startScript('./bare-server.js'),
};

export const relay: Subject = {
  name: 'bare grpc-js relay',
  protocol: 'session',
  register: false,
  start: () => startScript('./relay-server.js'),
};

/** Where etcd is: ETCD_BIN, the PATH, or a package unpacked under .cache/etcd. */
export const findEtcd = (): string | undefined =>
  find('etcd', process.env.ETCD_BIN, join('.cache', 'etcd', 'usr', 'bin'));

/** Where nats-server is: NATS_BIN, the PATH, or a package unpacked under .cache/nats. */
export const findNats = (): string | undefined =>
  find('nats-server', process.env.NATS_BIN, join('.cache', 'nats', 'usr', 'sbin'));

function find(program: string, named: string | undefined, unpacked: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', unpacked];
  const candidates = [
    ...(named === undefined ? [] : [named]),
    ...folders.map((folder) => join(folder, program)),
  ];
  return candidates.find((file) => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export function etcd(binary: string): Subject {
  return {
    name: 'etcd LeaseKeepAlive',
    protocol: 'etcd',
    register: false,
    start: async () => {
      const directory = mkdtempSync(join(tmpdir(), 'bench-etcd-'));
      const address = `127.0.0.1:${await freePort()}`;
      const client = `http://${address}`;
      const peer = `http://127.0.0.1:${await freePort()}`;
      const child = spawn(
        binary,
        [
          ...['--data-dir', directory, '--log-level', 'error', '--initial-cluster', `default=${peer}`],
          ...['--listen-client-urls', client, '--advertise-client-urls', client],
          ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ],
        { stdio: 'ignore' },
      );
      const stop = async () => {
        await endProcess(child);
        rmSync(directory, { recursive: true, force: true });
      };
      const deadline = performance.now() + 20_000;
      while (!(await etcdIsHealthy(client))) {
        if (performance.now() < deadline && child.exitCode === null) continue;
        await stop();
        throw new Error('etcd did not start');
      }
      return { address, pid: child.pid ?? 0, helpers: [], stop };
    },
  };
}

async function etcdIsHealthy(url: string): Promise<boolean> {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return fetch(`${url}/health`).then(
    (response) => response.ok,
    () => false,
  );
}

/** A server that speaks NATS, with JetStream. */
export async function startNats(binary: string): Promise<Running> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-nats-'));
  const port = await freePort();
  const child = spawn(
    binary,
    ['--jetstream', '--store_dir', directory, '--addr', '127.0.0.1', '--port', `${port}`],
    { stdio: 'ignore' },
  );
  const stop = async () => {
    await endProcess(child);
    rmSync(directory, { recursive: true, force: true });
  };
  const deadline = performance.now() + 10_000;
  while (!(await listens(port))) {
    if (performance.now() < deadline && child.exitCode === null) continue;
    await stop();
    throw new Error('nats-server did not start');
  }
  return { address: `127.0.0.1:${port}`, pid: child.pid ?? 0, helpers: [], stop };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port });
    const end = (listening: boolean) => () => {
      socket.destroy();
      if (listening) resolve(true);
      else setTimeout(() => resolve(false), 50);
    };
    socket.once('connect', end(true));
    socket.once('error', end(false));
  });
}
