import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe } from 'vitest';

/** A tool as scripts/interop.mjs set it up. */
export interface Tool {
  command: string;
  args: string[];
  env?: Record<string, string>;
}

type Prepared = Tool | { missing: string } | { broken: string };
type ToolName =
  | 'python-agent'
  | 'python-pair'
  | 'go-agent'
  | 'go-pair'
  | 'grpcurl'
  | 'protoc'
  | 'strace'
  | 'curl';

const prepared = JSON.parse(readFileSync('.cache/interop/tools.json', 'utf8')) as Record<ToolName, Prepared>;

/** A suite that needs a tool: skipped, with the reason in its name, where the machine lacks the toolchain. */
export function suiteWith(name: ToolName, title: string, body: (tool: Tool) => void): void {
  const tool = prepared[name];
  if ('missing' in tool)
    describe.skip(`${title} [not run: ${tool.missing}]`, () => body({ command: '', args: [] }));
  else if ('broken' in tool) {
    describe(title, () => {
      throw new Error(`${name} could not be set up: ${tool.broken}`);
    });
  } else describe(title, () => body(tool));
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
