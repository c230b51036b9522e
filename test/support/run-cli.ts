import { PassThrough, Writable } from 'node:stream';
import { runCli } from '../../src/cli/cli.ts';

export interface CliRun {
  readonly stdout: string;
  readonly stderr: string;
  /** The exit code, once it ended. */
  readonly ended: Promise<number>;
  /** Resolves when stdout and stderr together hold `text`. */
  shows(text: string): Promise<void>;
  /** Types on the terminal. */
  type(text: string): void;
  /** Ends stdin. */
  endInput(): void;
  interrupt(): void;
}

export interface CliRunOptions {
  env?: Record<string, string>;
  /** A terminal of so many columns; absent: none. */
  columns?: number;
  rows?: number;
}

class Collected extends Writable {
  text = '';
  isTTY?: boolean;
  columns?: number;
  rows?: number;
  readonly #wrote: () => void;

  constructor({ columns, rows }: CliRunOptions, wrote: () => void) {
    super();
    this.#wrote = wrote;
    if (columns === undefined) return;
    this.isTTY = true;
    this.columns = columns;
    this.rows = rows ?? 24;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    this.#wrote();
    done();
  }
}

/** Runs the CLI in this process, on streams of its own. */
export function startCli(argv: readonly string[], options: CliRunOptions = {}): CliRun {
  const waiting = new Set<() => void>();
  const wrote = () => {
    for (const check of [...waiting]) check();
  };
  const stdout = new Collected(options, wrote);
  const stderr = new Collected(options, wrote);
  const stdin = Object.assign(new PassThrough(), { isTTY: options.columns !== undefined });
  const controller = new AbortController();
  const ended = runCli({
    argv,
    env: options.env ?? {},
    stdin,
    stdout,
    stderr,
    interrupted: () => controller.signal,
  });
  return {
    get stdout() {
      return stdout.text;
    },
    get stderr() {
      return stderr.text;
    },
    ended,
    shows: (text) =>
      new Promise((resolve, reject) => {
        const check = () => {
          if (!stdout.text.includes(text) && !stderr.text.includes(text)) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
        ended.then((code) => {
          check();
          reject(new Error(`ended with ${code} without "${text}":\n${stdout.text}\n${stderr.text}`));
        }, reject);
      }),
    type: (text) => stdin.write(text),
    endInput: () => stdin.end(),
    interrupt: () => controller.abort(),
  };
}

/** Runs the CLI to its end. */
export async function cli(
  argv: readonly string[],
  options: CliRunOptions = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const run = startCli(argv, options);
  const code = await run.ended;
  return { code, stdout: run.stdout, stderr: run.stderr };
}
