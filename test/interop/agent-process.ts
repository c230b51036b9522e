import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { until } from '../support/until.ts';
import type { Tool } from './tools.ts';

export interface Line {
  text: string;
  /** performance.now() when it was read. */
  at: number;
}

/** An example agent as a process of its own. */
export class AgentProcess {
  readonly lines: Line[] = [];
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;

  constructor(tool: Tool, args: readonly string[], env: Record<string, string> = {}) {
    const child = spawn(tool.command, [...tool.args, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...tool.env, ...env },
    });
    this.#child = child;
    const keep = (text: string) => this.lines.push({ text, at: performance.now() });
    createInterface({ input: child.stdout }).on('line', keep);
    createInterface({ input: child.stderr }).on('line', keep);
    this.exited = new Promise((resolve) => child.once('close', resolve));
  }

  /** The n-th line (from 1) that matches. */
  line(pattern: RegExp, nth = 1, timeoutMs = 20_000): Promise<Line> {
    const matching = () => this.lines.filter(({ text }) => pattern.test(text))[nth - 1];
    const what = `line ${nth} like ${pattern}`;
    return until(
      () => matching() ?? this.lines.map(({ text }) => text),
      (found) => !Array.isArray(found),
      { timeoutMs, what },
    ) as Promise<Line>;
  }

  /** The epoch in the n-th "connected" line. */
  async epoch(nth = 1): Promise<bigint> {
    const { text } = await this.line(/^connected epoch=\d+/, nth);
    return BigInt(/\d+/.exec(text)?.[0] ?? '0');
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Ends it, whatever state it is in. */
  async end(): Promise<void> {
    this.#child.kill('SIGCONT');
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}
