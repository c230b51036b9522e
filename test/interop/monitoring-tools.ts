import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../support/redis-server.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
import type { Tool } from './tools.ts';

/** Prometheus or Alertmanager as a process of its own, with its data in a folder that `end` removes. */
export class MonitoringTool {
  readonly address: string;
  readonly #process: AgentProcess;
  readonly #folder: string;

  private constructor(options: { address: string; process: AgentProcess; folder: string }) {
    this.address = options.address;
    this.#process = options.process;
    this.#folder = options.folder;
  }

  static async start(
    tool: Tool,
    config: object,
    args: (folder: string) => readonly string[],
  ): Promise<MonitoringTool> {
    const folder = mkdtempSync(join(tmpdir(), 'orchestrator-monitoring-'));
    const file = join(folder, 'config.yml');
    writeFileSync(file, stringify(config));
    const address = `127.0.0.1:${await freePort()}`;
    const common = [`--config.file=${file}`, `--web.listen-address=${address}`];
    const process = new AgentProcess(tool, [...common, ...args(folder)]);
    const started = new MonitoringTool({ address, process, folder });
    try {
      const ready = async () => (await fetch(`http://${address}/-/ready`)).status;
      await until(ready, (status) => status === 200, { what: 'it to be ready', timeoutMs: 30_000 });
    } catch (error) {
      const said = process.lines.map(({ text }) => text).join('\n');
      await started.end();
      throw new Error(`${String(error)}\n${said.slice(-2_000)}`);
    }
    return started;
  }

  /** The answer to a GET, parsed. */
  async get(path: string): Promise<unknown> {
    const response = await fetch(`http://${this.address}${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return await response.json();
  }

  async end(): Promise<void> {
    await this.#process.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
