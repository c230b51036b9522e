import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { installRedis, type RedisBinary } from './redis-binary.ts';

export interface RedisServerOptions {
  /** "off": no append-only file at all. Default "off", the fastest. */
  appendfsync?: 'always' | 'everysec' | 'no' | 'off';
  /** More arguments: `['--maxmemory', '8mb']`. */
  args?: readonly string[];
  /** Where its files go; default a temporary directory, removed by `stop`. */
  directory?: string;
  /** Default: a free one. */
  port?: number;
}

/** A redis-server process, or a Sentinel. */
export interface RedisServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  readonly directory: string;
  /** Ends it and removes its files. */
  stop(): Promise<void>;
  /** After SIGKILL the promise resolves once the process is gone. */
  kill(signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
  /** Starts it again on the same port and files, after killing it if it still runs. */
  restart(): Promise<void>;
}

const HOME_PREFIX = 'orchestrator-redis-';
const READY = 'Ready to accept connections';
const running = new Map<ChildProcess, string>();
let reaperSet = false;

/** What distinguishes a server from a Sentinel: its arguments, and the words that say it is ready. */
interface Program {
  args(directory: string, port: number): string[];
  ready: string;
}

/** Starts a redis-server on loopback. It ends with the test process, whatever happens to the test. */
export function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const { appendfsync = 'off', args = [] } = options;
  const durability = appendfsync === 'off' ? ['no'] : ['yes', '--appendfsync', appendfsync];
  const listen = (directory: string, port: number) => [
    ...['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', '', '--logfile', ''],
    ...['--appendonly', ...durability, ...args],
  ];
  return startProcess({ args: listen, ready: READY }, options);
}

/** The same for any program that the redis-server binary can be. */
export async function startProcess(
  program: Program,
  options: Pick<RedisServerOptions, 'directory' | 'port'> = {},
): Promise<RedisServer> {
  const binary = installRedis();
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), HOME_PREFIX));
  let port = 0;
  let child: ChildProcess | undefined;
  for (let attempt = 1; !child; attempt++) {
    port = options.port ?? (await freePort());
    try {
      child = await launch(binary, directory, port, program);
    } catch (error) {
      // Another process may have taken the port in between.
      if (options.port === undefined && attempt < 5 && String(error).includes('in use')) continue;
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }
  let current: ChildProcess = child;
  const end = async (): Promise<void> => {
    if (current.exitCode !== null || current.signalCode !== null) return;
    const gone = once(current, 'exit');
    current.kill('SIGKILL');
    await gone;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    directory,
    get pid() {
      return current.pid ?? 0;
    },
    stop: async () => {
      await end();
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
    },
    kill: async (signal) => {
      if (signal === 'SIGKILL') await end();
      else current.kill(signal);
    },
    restart: async () => {
      await end();
      current = await launch(binary, directory, port, program);
    },
  };
}

async function launch(
  binary: RedisBinary,
  directory: string,
  port: number,
  program: Program,
): Promise<ChildProcess> {
  setReaper();
  const child = spawn(binary.command, program.args(directory, port), {
    env: binary.env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.set(child, directory);
  child.once('exit', () => running.delete(child));
  writeFileSync(join(directory, 'owner'), `${process.pid} ${child.pid ?? 0}`);
  await new Promise<void>((resolve, reject) => {
    let output = '';
    let ready = false;
    const timer = setTimeout(() => fail('was not ready within 20 s'), 20_000);
    const fail = (what: string): void => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`redis-server ${what}: ${output.slice(-1_000)}`));
    };
    const ended = (code: number | null): void => fail(`ended with code ${code}`);
    const read = (chunk: Buffer): void => {
      // Its output has to be read even when nobody wants it.
      if (ready) return;
      output += chunk.toString();
      if (!output.includes(program.ready)) return;
      ready = true;
      clearTimeout(timer);
      child.off('exit', ended);
      resolve();
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', (error) => fail(`could not be started (${error.message})`));
    child.once('exit', ended);
  });
  return child;
}

/** Test workers may be ended in a hurry: no server outlives them. */
function setReaper(): void {
  if (reaperSet) return;
  reaperSet = true;
  process.on('exit', () => {
    for (const [child, directory] of running) {
      child.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

/** Ends servers whose test process is gone (it was killed itself), and removes their files. */
export function reapOrphans(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(HOME_PREFIX)) continue;
    const directory = join(tmpdir(), name);
    const owner = join(directory, 'owner');
    if (!existsSync(owner)) continue;
    const [tester = 0, server = 0] = readFileSync(owner, 'utf8').split(' ').map(Number);
    if (isAlive(tester)) continue;
    // The number may belong to another process by now.
    if (isAlive(server) && workingDirectory(server) === directory) process.kill(server, 'SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}

function workingDirectory(pid: number): string | undefined {
  try {
    // Redis changes into its --dir.
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return undefined;
  }
}

function isAlive(pid: number): boolean {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
