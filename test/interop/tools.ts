import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe } from 'vitest';

/** A tool as scripts/interop.mjs set it up. */
export interface Tool {
  command: string;
  args: string[];
  env?: Record<string, string>;
}

const nothing: Tool = { command: '', args: [] };

type Prepared = Tool | { missing: string } | { broken: string };
type ToolName =
  | 'python-agent'
  | 'python-pair'
  | 'python-worker'
  | 'go-agent'
  | 'go-pair'
  | 'go-worker'
  | 'grpcurl'
  | 'protoc'
  | 'strace'
  | 'curl'
  | 'prometheus'
  | 'promtool'
  | 'prometheus-alertmanager'
  | 'amtool';

const prepared = JSON.parse(readFileSync('.cache/interop/tools.json', 'utf8')) as Record<ToolName, Prepared>;

/** A suite that needs a tool: skipped, with the reason in its name, where the machine lacks the toolchain. */
export function suiteWith(name: ToolName, title: string, body: (tool: Tool) => void): void {
  suiteWithAll([name], title, ([tool = nothing]) => body(tool));
}

/** The same for a suite that needs several. */
export function suiteWithAll(names: readonly ToolName[], title: string, body: (tools: Tool[]) => void): void {
  const tools: Tool[] = [];
  for (const name of names) {
    const tool = prepared[name];
    if ('missing' in tool) {
      describe.skip(`${title} [not run: ${tool.missing}]`, () => body(names.map(() => nothing)));
      return;
    }
    if ('broken' in tool) {
      describe(title, () => {
        throw new Error(`${name} could not be set up: ${tool.broken}`);
      });
      return;
    }
    tools.push(tool);
  }
  describe(title, () => body(tools));
}

export interface Output {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a tool to its end. */
export function runTool(tool: Tool, args: readonly string[], timeoutMs = 20_000): Promise<Output> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, ...tool.env };
    const options = { timeout: timeoutMs, env, maxBuffer: 16 * 1024 * 1024 };
    execFile(tool.command, [...tool.args, ...args], options, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr });
      else reject(error);
    });
  });
}
