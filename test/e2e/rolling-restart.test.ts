import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ServiceError, status } from '@grpc/grpc-js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { connectClients } from '../support/clients.ts';
import { ReplicasRig } from '../support/replicas-rig.ts';
import { grpcChannel, unary } from '../support/sim-agent.ts';
import { until } from '../support/until.ts';

/** The whole exercise has 1,000 agents; by default a smaller one. */
const AGENTS = Number(process.env.ROLLING_AGENTS ?? 150);
/** The default lease: who is away for longer may be lost. */
const LEASE_MS = 30_000;
/** A replica that has left still counts for 5 s as looking after its agents; who is away for less is never judged. */
const UNJUDGED_MS = 4_000;

/**
 * The agents live in this process: where it stood still, they did not answer, and are suspected with reason. Nobody is
 * suspected otherwise.
 */
const STARVED_MS = 300;

/** Registers agents all the time, as callers do that try again when they are told to. */
class Writer {
  /** Acknowledged, with the revision. */
  readonly written = new Map<string, bigint>();
  readonly failures: ServiceError[] = [];
  readonly #done: Promise<void>;
  #over = false;

  constructor(address: string, name: string) {
    this.#done = this.#run(address, name);
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#done;
  }

  async #run(address: string, name: string): Promise<void> {
    const channel = grpcChannel(address);
    for (let count = 0; !this.#over; count++) {
      const agentId = `${name}-${count}`;
      // The same request id: a repeat of what was stored gets the first answer.
      const request = { agentId, requestId: agentId };
      while (!this.written.has(agentId)) {
        try {
          const { agent } = await unary(channel, AgentService.method.registerAgent, request);
          this.written.set(agentId, agent?.revision ?? 0n);
        } catch (error) {
          this.failures.push(error as ServiceError);
          await sleep(50);
        }
      }
      await sleep(20);
    }
    channel.close();
  }
}

const bigger = (a: bigint, b: bigint): bigint => (a < b ? b : a);

describe(`three replicas behind a TCP balancer, ${AGENTS} agents`, () => {
  let rig: ReplicasRig | undefined;
  const own = monitorEventLoopDelay({ resolution: 10 });
  const verdicts = () => {
    const starved = own.max / 1e6 > STARVED_MS;
    return ['agent.lost', 'agent.twin', ...(starved ? [] : ['agent.suspect'])];
  };
  beforeEach(() => {
    own.reset();
    own.enable();
  });
  afterEach(async () => {
    own.disable();
    await rig?.stop();
    rig = undefined;
  });

  it(
    'are restarted one after the other, and no agent is judged, no acknowledged write lost, no epoch given twice',
    async () => {
      rig = await ReplicasRig.start({ replicas: 3 });
      await rig.attach(AGENTS);
      const { address } = rig.balancer;
      const writers = [new Writer(address, 'w1'), new Writer(address, 'w2')];
      const figures = [];
      for (const replica of rig.replicas) {
        const before = rig.shares();
        const fromMs = performance.now();
        const exit = await replica.kill('SIGTERM');
        const leftMs = Math.round(performance.now() - fromMs);
        expect(exit).toEqual({ code: 0, signal: null });
        await rig.untilAllAttached();
        const attachedMs = Math.round(performance.now() - fromMs);
        expect(Object.keys(rig.shares()).length, JSON.stringify(rig.shares())).toBe(2);
        await replica.restart();
        figures.push({ before, leftMs, attachedMs, after: rig.shares() });
      }
      for (const writer of writers) await writer.stop();
      const longestGapMs = Math.max(...rig.agents.map((agent) => agent.longestGapMs));
      const failures = writers.flatMap((writer) => writer.failures);
      const refusals = rig.agents.reduce((sum, agent) => sum + agent.failures, 0);
      report({ figures, longestGapMs, failures: failures.length, refusals });

      // Sent away, never cut off; and never for long.
      const ends = rig.agents.flatMap(({ attachments }) =>
        attachments.filter((one) => one.endedMs !== undefined),
      );
      expect(ends.length).toBeGreaterThanOrEqual(AGENTS);
      expect(ends.filter(({ goAway }) => goAway !== GoAway_Reason.SHUTDOWN)).toEqual([]);
      expect(longestGapMs).toBeLessThan(LEASE_MS);
      for (const { attachments } of rig.agents) {
        const epochs = attachments.map(({ epoch }) => epoch);
        expect(epochs.every((epoch, index) => index === 0 || epoch > (epochs[index - 1] ?? 0n))).toBe(true);
      }
      // A caller at worst has to try again.
      expect(failures.filter(({ code }) => code !== status.UNAVAILABLE).map(String)).toEqual([]);
      const judged = await rig.events(verdicts());
      expect(judged.map(({ message }) => message)).toEqual([]);
      // Only a machine without a CPU to spare keeps an agent away so long that it is seen.
      const slow = rig.agents.filter((agent) => agent.longestGapMs > UNJUDGED_MS).map(({ id }) => id);
      const disconnected = (await rig.events(['agent.disconnected'])).map(({ agentId }) => agentId);
      expect(disconnected.filter((id) => !slow.includes(id))).toEqual([]);

      // What was acknowledged is there, at every replica, with the same revision.
      const written = new Map(writers.flatMap((writer) => [...writer.written]));
      expect(written.size).toBeGreaterThan(10);
      const newest = [...written.values()].reduce(bigger);
      for (const { grpc } of rig.replicas) {
        const clients = connectClients(grpc);
        const last = [...written.keys()].at(-1) ?? '';
        await clients.agents.getAgent({ agentId: last, minRevision: newest });
        clients.close();
      }
      for (const agents of await rig.seenByEach()) {
        const revisions = new Map(agents.map(({ id, revision }) => [id, revision]));
        for (const [id, revision] of written) expect(revisions.get(id), id).toBe(revision);
        const fleet = agents.filter(({ id }) => /^a\d/.test(id));
        expect(fleet.length).toBe(AGENTS);
        expect(fleet.filter(({ liveness }) => liveness !== Agent_Liveness.CONNECTED)).toEqual([]);
      }
    },
    120_000 + 200 * AGENTS,
  );

  it('hand agents over to a new replica until all hold about as many, and nobody is judged for it', async () => {
    const env = { ORCHESTRATOR_SESSION_REBALANCE_AFTER: '2s' };
    rig = await ReplicasRig.start({ replicas: 2, env });
    const { agents, clients } = rig;
    await rig.attach(AGENTS);
    await sleep(2_500);
    const settled = agents.map(({ attachments }) => attachments.length);
    await rig.grow();
    const health: number[] = [];
    const share = AGENTS / 3;
    const fromMs = performance.now();
    const filled = async () => {
      const { status: system } = await clients.monitoring.getSystemStatus({});
      health.push(system?.fleet?.health ?? 0);
      return rig?.shares()['replica-3'] ?? 0;
    };
    const enough = (held: number) => held >= share * 0.75;
    await until(filled, enough, { what: 'the new replica to fill', timeoutMs: 90_000, everyMs: 250 });
    const filledMs = Math.round(performance.now() - fromMs);
    await rig.untilAllAttached();
    const moves = agents.map(({ attachments }, index) => attachments.length - (settled[index] ?? 0));
    const moved = moves.reduce((sum, count) => sum + count, 0);
    const longestGapMs = Math.max(...agents.map((agent) => agent.longestGapMs));
    report({ filledMs, shares: rig.shares(), moved, longestGapMs, health: Math.min(...health) });
    const ends = agents.flatMap(({ attachments }) => attachments.filter((one) => one.endedMs !== undefined));
    expect(ends.filter(({ goAway }) => goAway !== GoAway_Reason.REBALANCE)).toEqual([]);
    // The balancer sends those who move where the fewest are: few had to move twice.
    expect(moved).toBeLessThanOrEqual(share * 1.5);
    expect(Math.min(...health)).toBeGreaterThan(0.95);
    const judged = await rig.events(['agent.disconnected', ...verdicts()]);
    expect(judged.map(({ message }) => message)).toEqual([]);
    const told = await rig.events(['agent.moved']);
    expect(told.every(({ attributes }) => attributes.from_replica !== '')).toBe(true);
    expect(told.length).toBeGreaterThanOrEqual(share * 0.75);
  }, 150_000);

  it('refuse a poll of a session that another one holds at once, and welcome the agent when it begins again', async () => {
    rig = await ReplicasRig.start({ replicas: 2 });
    const { agentToken } = await rig.clients.agents.registerAgent({ agentId: 'poller' });
    const [one, two] = rig.replicas.map(({ http }) => pollerAt(http, agentToken));
    const begin = { frames: [{ hello: { client: 'curl', instanceId: 'p' } }], wait: '0s' };
    const { body: first } = (await one?.(begin)) ?? {};
    const fromMs = performance.now();
    const refused = await two?.({ epoch: first?.epoch, wait: '20s' });
    expect(performance.now() - fromMs).toBeLessThan(5_000);
    expect(refused).toMatchObject({ status: 409, body: { code: 'aborted' } });
    expect(refused?.reason).toBe('EPOCH_STALE');
    const { body: second } = (await two?.(begin)) ?? {};
    expect(BigInt(second?.epoch ?? 0)).toBeGreaterThan(BigInt(first?.epoch ?? 0));
    expect(await rig.events(['agent.disconnected', 'agent.lost', 'agent.twin'])).toEqual([]);
  });
});

/** A client that polls one replica, by JSON over HTTP/1.1. */
function pollerAt(http: string, token: string) {
  return async (request: object) => {
    const url = `http://${http}/mycosoft.orchestrator.agent.v1.SessionService/PollSession`;
    const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
    const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(request) });
    const body = (await response.json()) as { epoch?: string; code?: string };
    return { status: response.status, reason: response.headers.get('error-reason'), body };
  };
}

/** Figures are for people: the tests assert what is promised. */
function report(figures: object): void {
  if (process.env.ROLLING_AGENTS !== undefined) console.info(JSON.stringify(figures, null, 1));
}
