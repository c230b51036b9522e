import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
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

async function startOrchestrator(store: string | undefined): Promise<Running> {
  const service = await ServiceProcess.start({
    ...(store === undefined ? {} : { store }),
    env: orchestratorEnv,
  });
  return { address: service.grpc, pid: service.pid, helpers: [], stop: () => service.stop() };
}

export const onLmdb: Subject = {
  name: 'orchestrator/lmdb',
  protocol: 'session',
  register: true,
  start: () => startOrchestrator(undefined),
};

export const onRedis: Subject = {
  name: 'orchestrator/redis',
  protocol: 'session',
  register: true,
  start: async () => {
    // Durable as LMDB is: each answer waits for the disk.
    const redis = await startRedis({ appendfsync: 'always' });
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
  },
};

async function endProcess(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}

export const bare: Subject = {
  name: 'bare grpc-js',
  protocol: 'session',
  register: false,
  start: async () => {
    const child = spawn(process.execPath, [fileURLToPath(new URL('./bare-server.js', import.meta.url))], {
      env: { ...process.env, NODE_ENV: 'production' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const address = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).once('line', (line) => {
        resolve((JSON.parse(line) as { grpc: string }).grpc);
      });
      child.once('exit', () => reject(new Error('the bare server died')));
    });
    return { address, pid: child.pid ?? 0, helpers: [], stop: () => endProcess(child) };
  },
};

/** Where etcd is: ETCD_BIN, the PATH, or a package unpacked under .cache/etcd. */
export function findEtcd(): string | undefined {
  const named = process.env.ETCD_BIN;
  const folders = [...(process.env.PATH ?? '').split(delimiter), join('.cache', 'etcd', 'usr', 'bin')];
  const candidates = [
    ...(named === undefined ? [] : [named]),
    ...folders.map((folder) => join(folder, 'etcd')),
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
