import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromJson, type JsonObject } from '@bufbuild/protobuf';
import { ValueSchema } from '@bufbuild/protobuf/wkt';
import {
  type ProcessReport,
  ProcessReport_State,
  type Report,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DeliveryUpdate,
  DeliveryUpdate_State,
  PayloadSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { startOf } from '../../src/supervisor/process-table.ts';
import { CliProcess } from './cli-process.ts';
import { type FakeSession, FakeSessionServer } from './fake-session-server.ts';
import { until } from './until.ts';

/** A folder of Python programs and the supervisors that run them; `close` leaves nothing of either. */
export class Workshop {
  readonly folder = mkdtempSync(join(tmpdir(), 'orchestrator-supervise-'));
  readonly #supervisors: CliProcess[] = [];
  readonly #pids = new Set<number>();

  /** Writes a program and returns its path. */
  program(name: string, source: string): string {
    const path = join(this.folder, name);
    writeFileSync(path, source, { mode: 0o755 });
    return path;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Supervises a Python program. */
  supervise(server: string, options: readonly string[], program: string, ...args: string[]): CliProcess {
    return this.run(['--server', server, ...options, '--', 'python3', '-u', program, ...args]);
  }

  run(args: readonly string[]): CliProcess {
    const supervisor = CliProcess.start(['supervise', ...args]);
    this.#supervisors.push(supervisor);
    return supervisor;
  }

  /** The process ids that a program printed as "pid <n>", oldest first. All are ended by `close`. */
  pids(supervisor: CliProcess): number[] {
    const pids = [...supervisor.stdout.matchAll(/^pid (\d+)$/gm)].map(([, pid]) => Number(pid));
    for (const pid of pids) this.#pids.add(pid);
    return pids;
  }

  async close(): Promise<void> {
    for (const supervisor of this.#supervisors) this.pids(supervisor);
    await Promise.all(this.#supervisors.map((supervisor) => supervisor.stop()));
    for (const pid of this.#pids) {
      try {
        process.kill(-pid, 'SIGKILL');
      } catch {
        // Its group has ended.
      }
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Whether a process runs; one that only waits to be looked at does not. */
export async function runs(pid: number): Promise<boolean> {
  return (await startOf(pid)) !== undefined;
}

export const gone = (pid: number): Promise<boolean> =>
  until(
    () => runs(pid),
    (alive) => !alive,
    { what: `the end of process ${pid}` },
  );

/** The service's side of one supervisor. */
export class Watchpost {
  readonly server: FakeSessionServer;
  session: FakeSession;
  #report: Report | undefined;
  #orders = 0;

  private constructor(server: FakeSessionServer, session: FakeSession) {
    this.server = server;
    this.session = session;
  }

  /** Starts a server, has `start` start a supervisor on it, and welcomes it. */
  static async start(start: (address: string) => void): Promise<Watchpost> {
    const server = await FakeSessionServer.start();
    start(server.address);
    const post = new Watchpost(server, await server.session());
    await post.#welcome();
    return post;
  }

  /** The next session. */
  async again(): Promise<void> {
    this.session = await this.server.session();
    await this.#welcome();
  }

  async #welcome(): Promise<void> {
    const hello = await this.session.next('hello');
    this.#report = hello.report;
    this.session.welcome(1n);
  }

  /** The report as it is now. */
  async report(): Promise<Report> {
    this.session.send({ case: 'ping', value: { echo: 1n, fullReport: true } });
    for (;;) {
      const beat = await this.session.next('heartbeat');
      if (beat.report !== undefined) this.#report = beat.report;
      if (beat.echo === 1n && this.#report !== undefined) return this.#report;
    }
  }

  /** Waits for a report of the program. */
  async process(accept: (process: ProcessReport) => boolean, what: string): Promise<ProcessReport> {
    const report = await until(
      () => this.report(),
      ({ process }) => process !== undefined && accept(process),
      { what, timeoutMs: 15_000 },
    );
    if (report.process === undefined) throw new Error('no process');
    return report.process;
  }

  running(starts = 1): Promise<ProcessReport> {
    return this.process(
      ({ state, starts: many }) => state === ProcessReport_State.RUNNING && many >= starts,
      `start ${starts}`,
    );
  }

  /** Gives an order and returns all updates up to its outcome. */
  async order(type: string, given: JsonObject = {}): Promise<DeliveryUpdate[]> {
    const deliveryId = this.give(type, given);
    const updates: DeliveryUpdate[] = [];
    for (;;) {
      const frame = await this.session.nextFrame('deliveryUpdate');
      if (frame.frame.case !== 'deliveryUpdate') continue;
      this.session.stored(frame.frameId);
      if (frame.frame.value.work?.deliveryId !== deliveryId) continue;
      updates.push(frame.frame.value);
      if (frame.frame.value.state !== DeliveryUpdate_State.ACCEPTED) return updates;
    }
  }

  /** Gives an order, without waiting for anything. */
  give(type: string, given: JsonObject = {}): string {
    const deliveryId = `order-${++this.#orders}`;
    const payload = create(PayloadSchema, { data: { case: 'json', value: fromJson(ValueSchema, given) } });
    this.session.send({
      case: 'delivery',
      value: {
        work: { deliveryId, attempt: 1n },
        item: { case: 'command', value: { type, arguments: payload } },
      },
    });
    return deliveryId;
  }

  stop(): void {
    this.server.stop();
  }
}
