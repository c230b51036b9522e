import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { create, toBinary } from '@bufbuild/protobuf';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { OpenSessionRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { Clients } from '../../test/support/clients.ts';
import { type FleetWatch, nowMs } from '../fleet-watch.ts';
import type { AgentNews } from '../load/agent.ts';

const startsAtOnce = 4;
const attachTimeoutMs = 30_000;

/** An agent that is an operating-system process of its own. */
export class AgentProcess {
  readonly id: string;
  readonly #arguments: readonly string[];
  #child: ChildProcess | undefined;
  /** When its last answer left it, as `nowMs()`. */
  lastAnswerMs = 0;

  constructor(options: { id: string; address: string; token: string }) {
    this.id = options.id;
    const hello = create(OpenSessionRequestSchema, {
      frame: { case: 'hello', value: { maxInFlight: 1, client: 'bench/1' } },
    });
    const encoded = Buffer.from(toBinary(OpenSessionRequestSchema, hello)).toString('base64');
    this.#arguments = [options.address, options.token, encoded];
  }

  /** Resolves once it is attached. */
  async start(): Promise<void> {
    const child = fork(fileURLToPath(new URL('../load/agent.js', import.meta.url)), this.#arguments, {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#child = child;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${this.id} did not attach`)), attachTimeoutMs);
      child.on('message', (news: AgentNews) => {
        if (news.kind === 'attached') resolve();
        else if (news.kind === 'answered') this.lastAnswerMs = news.atMs;
      });
      child.once('exit', () => reject(new Error(`${this.id} ended before it was attached`)));
    }).finally(() => clearTimeout(timer));
  }

  /** Returns the moment just before the signal was sent. */
  signal(signal: NodeJS.Signals): number {
    const atMs = nowMs();
    this.#child?.kill(signal);
    return atMs;
  }

  async end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await exited;
  }
}

export async function registerProcesses(
  clients: Clients,
  address: string,
  count: number,
): Promise<AgentProcess[]> {
  const ids = Array.from({ length: count }, (_, index) => `process-${index}`);
  return Promise.all(
    ids.map(async (id) => {
      const { agentToken } = await clients.agents.registerAgent({ agentId: id, spec: { kind: 'bench' } });
      return new AgentProcess({ id, address, token: agentToken });
    }),
  );
}

/** Starts them, a few at a time: a start costs more than anything that is measured. */
export async function startAll(processes: readonly AgentProcess[]): Promise<void> {
  const waiting = [...processes];
  const lane = async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await next.start();
  };
  await Promise.all(Array.from({ length: startsAtOnce }, lane));
}

/** Verdicts heard while it counts. */
export class VerdictCount {
  readonly #stop: () => void;
  readonly #last = new Map<string, Agent_Liveness>();
  /** Of those which are SUSPECT or LOST: why. */
  readonly details: string[] = [];
  #counts = new Map<Agent_Liveness, number>();

  constructor(watch: FleetWatch) {
    this.#stop = watch.listen(({ agent }) => {
      if (this.#last.get(agent.id) === agent.liveness) return;
      this.#last.set(agent.id, agent.liveness);
      this.#counts.set(agent.liveness, this.of(agent.liveness) + 1);
      if (agent.liveness !== Agent_Liveness.SUSPECT && agent.liveness !== Agent_Liveness.LOST) return;
      this.details.push(`${agent.id}: ${agent.verdict?.rule}: ${agent.verdict?.detail}`);
    });
  }

  of(liveness: Agent_Liveness): number {
    return this.#counts.get(liveness) ?? 0;
  }

  stop(): void {
    this.#stop();
  }
}
