import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const entry = join('dist', 'src', 'main.js');
/** The flags with which `npm start` starts node. */
const nodeFlags = startFlags();
const readyTimeoutMs = 30_000;

export interface ServiceOptions {
  /** "lmdb:<directory>" or a Redis URL; default: LMDB in a temporary directory that stop() removes. */
  store?: string;
  /** Environment on top of the test defaults (free ports, JSON logs). */
  env?: Record<string, string>;
  /** Command-line arguments. */
  args?: readonly string[];
  /** How long it may take to become ready; default 30 s. */
  readyTimeoutMs?: number;
  /** Largest file that the process may write: stands for a full disk. Cleared by a restart. */
  fileSizeLimitKb?: number;
}

export interface Exit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface LogLine {
  msg: string;
  [field: string]: unknown;
}

interface Running {
  process: ChildProcess;
  exited: Promise<Exit>;
}

function startFlags(): string[] {
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: { start: string } };
  return /node ((?:--\S+ )*)dist/.exec(scripts.start)?.[1]?.trim().split(' ') ?? [];
}

function environment(options: ServiceOptions, store: string): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('ORCHESTRATOR_') && !name.startsWith('OTEL_') && !name.startsWith('VITEST'),
  );
  return {
    ...Object.fromEntries(inherited),
    NODE_ENV: 'production',
    ORCHESTRATOR_GRPC_LISTEN: '127.0.0.1:0',
    ORCHESTRATOR_HTTP_LISTEN: '127.0.0.1:0',
    ORCHESTRATOR_LOG_FORMAT: 'json',
    ORCHESTRATOR_STORE: store,
    ...options.env,
  };
}

function spawnService(options: ServiceOptions, store: string): Running {
  if (!existsSync(entry)) throw new Error(`${entry} is missing: run npm run build`);
  const command = [process.execPath, ...nodeFlags, entry, ...(options.args ?? [])];
  const [file = '', ...args] =
    options.fileSizeLimitKb === undefined
      ? command
      : ['bash', '-c', `ulimit -f ${options.fileSizeLimitKb} && exec "$@"`, 'bash', ...command];
  const child = spawn(file, args, {
    env: environment(options, store),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const exited = new Promise<Exit>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
  return { process: child, exited };
}

/** The built service as a real process. Everything it says is kept; `stop` leaves nothing behind. */
export class ServiceProcess {
  /** "host:port" of the gRPC listener. */
  grpc = '';
  /** "host:port" of the HTTP listener. */
  http = '';
  /** Structured log lines of all starts, oldest first. */
  readonly logs: LogLine[] = [];
  /** Lines on stdout or stderr that are not JSON. */
  readonly plain: string[] = [];
  readonly #options: ServiceOptions;
  readonly #store: string;
  readonly #scratch: string | undefined;
  #running: Running | undefined;

  private constructor(options: ServiceOptions) {
    this.#options = options;
    this.#scratch =
      options.store === undefined ? mkdtempSync(join(tmpdir(), 'orchestrator-test-')) : undefined;
    this.#store = options.store ?? `lmdb:${this.#scratch}`;
  }

  static async start(options: ServiceOptions = {}): Promise<ServiceProcess> {
    const service = new ServiceProcess(options);
    try {
      await service.#start(options);
    } catch (error) {
      await service.stop();
      throw error;
    }
    return service;
  }

  get pid(): number {
    const pid = this.#running?.process.pid;
    if (pid === undefined) throw new Error('the service is not running');
    return pid;
  }

  get store(): string {
    return this.#store;
  }

  /** Resolves when the process is gone. */
  get exited(): Promise<Exit> {
    return this.#running?.exited ?? Promise.resolve({ code: null, signal: null });
  }

  /** Sends a signal and waits for the end. */
  async kill(signal: NodeJS.Signals): Promise<Exit> {
    const running = this.#running;
    if (running === undefined) throw new Error('the service is not running');
    running.process.kill(signal);
    const exit = await running.exited;
    this.#running = undefined;
    return exit;
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#running?.process.kill(signal);
  }

  /** Starts it again, killed first if it still runs, with the same store and on the same ports. */
  async restart(env: Record<string, string> = {}): Promise<void> {
    if (this.#running !== undefined) await this.kill('SIGKILL');
    const ports = { ORCHESTRATOR_GRPC_LISTEN: this.grpc, ORCHESTRATOR_HTTP_LISTEN: this.http };
    const { fileSizeLimitKb: _, ...options } = this.#options;
    await this.#start({ ...options, env: { ...ports, ...this.#options.env, ...env } });
  }

  async stop(): Promise<void> {
    this.#running?.process.kill('SIGCONT');
    this.#running?.process.kill('SIGKILL');
    await this.#running?.exited;
    this.#running = undefined;
    if (this.#scratch !== undefined) rmSync(this.#scratch, { recursive: true, force: true });
  }

  /** Everything said so far, for a failure's message. */
  transcript(): string {
    return [...this.plain, ...this.logs.slice(-30).map((line) => JSON.stringify(line))].join('\n');
  }

  async #start(options: ServiceOptions): Promise<void> {
    const running = spawnService(options, this.#store);
    this.#running = running;
    const { stdout, stderr } = running.process;
    if (stdout === null || stderr === null) throw new Error('no pipes');
    const ready = new Promise<LogLine>((resolve) => {
      createInterface({ input: stdout }).on('line', (line) => {
        const parsed = this.#keep(line);
        if (parsed?.msg === 'ready') resolve(parsed);
      });
    });
    createInterface({ input: stderr }).on('line', (line) => this.#keep(line));
    let timer: NodeJS.Timeout | undefined;
    const timeoutMs = options.readyTimeoutMs ?? readyTimeoutMs;
    const failed = new Promise<never>((_, reject) => {
      timer = setTimeout(
        () => reject(new Error(`not ready in ${timeoutMs} ms\n${this.transcript()}`)),
        timeoutMs,
      );
      void running.exited.then(({ code, signal }) =>
        reject(new Error(`the service ended (${code ?? signal}) before it was ready\n${this.transcript()}`)),
      );
    });
    try {
      const line = await Promise.race([ready, failed]);
      this.grpc = String(line.grpc);
      this.http = String(line.http);
    } finally {
      clearTimeout(timer);
    }
  }

  #keep(line: string): LogLine | undefined {
    try {
      const parsed: unknown = JSON.parse(line);
      if (typeof parsed === 'object' && parsed !== null && 'msg' in parsed) {
        this.logs.push(parsed as LogLine);
        return parsed as LogLine;
      }
    } catch {
      // Not a structured line.
    }
    this.plain.push(line);
    return undefined;
  }
}

/** Runs the service where it is expected to end by itself, and returns what it said. */
export async function runToExit(
  options: ServiceOptions & { store: string; timeoutMs?: number },
): Promise<Exit & { stdout: string; stderr: string }> {
  const { process: child, exited } = spawnService(options, options.store);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    stdout += chunk.toString();
  });
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? readyTimeoutMs);
  const exit = await exited;
  clearTimeout(timer);
  return { ...exit, stdout, stderr };
}
