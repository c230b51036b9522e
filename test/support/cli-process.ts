import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

const entry = join('dist', 'src', 'cli', 'main.js');

/** The built CLI as a real process, without a terminal. */
export class CliProcess {
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;
  /** The exit code, also if its output was not read to the end. */
  readonly exited: Promise<number | null>;
  readonly #waiting = new Set<() => void>();

  private constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
      for (const check of [...this.#waiting]) check();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
      for (const check of [...this.#waiting]) check();
    });
    this.exited = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    this.#exited = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  }

  static start(args: readonly string[], env: Record<string, string> = {}): CliProcess {
    if (!existsSync(entry)) throw new Error(`${entry} is missing: run npm run build`);
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(ORCHESTRATOR_|VITEST|FORCE_COLOR|NO_COLOR)/.test(name),
    );
    return new CliProcess(
      spawn(process.execPath, [entry, ...args], {
        env: { ...Object.fromEntries(inherited), ...env },
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
  }

  /** Runs it to its end. */
  static async run(args: readonly string[], env: Record<string, string> = {}): Promise<CliEnd> {
    return await CliProcess.start(args, env).ended();
  }

  async ended(): Promise<CliEnd> {
    const code = await this.#exited;
    return { code, stdout: this.stdout, stderr: this.stderr };
  }

  /** Resolves when stdout or stderr holds `text`; rejects if it ends without. */
  async shows(text: string): Promise<void> {
    const has = () => this.stdout.includes(text) || this.stderr.includes(text);
    const seen = new Promise<void>((resolve) => {
      const check = () => {
        if (!has()) return;
        this.#waiting.delete(check);
        resolve();
      };
      this.#waiting.add(check);
      check();
    });
    const code = await Promise.race([seen, this.#exited]);
    if (!has()) throw new Error(`ended with ${code} without "${text}":\n${this.stdout}\n${this.stderr}`);
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Reads its stdout no more, and keeps it open. */
  stopReading(): void {
    this.#child.stdout?.pause();
  }

  /** Stops reading its stdout, as `head` does once it has enough. */
  hangUp(): void {
    this.#child.stdout?.destroy();
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }
}

export interface CliEnd {
  code: number | null;
  stdout: string;
  stderr: string;
}
