import { availableParallelism, loadavg } from 'node:os';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ConnectError } from '@connectrpc/connect';
import { Redis } from 'ioredis';
import { expect } from 'vitest';
import { RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { type Agent, Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Event } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type Clients, connectClients } from './clients.ts';
import { ServiceProcess } from './service.ts';
import { grpcChannel, SimAgent, type SimSession } from './sim-agent.ts';
import { pause, until } from './until.ts';

/** How much of it: the whole exercise is 1,000 agents and 30 s; by default a smaller one that takes seconds. */
export const size = {
  agents: Number(process.env.OUTAGE_AGENTS ?? 200),
  seconds: Number(process.env.OUTAGE_SECONDS ?? 8),
};

const PER_CONNECTION = 50;
const LEASE_MS = 5_000;
/** Agents that answer so late are rightly suspected: their process did not get the CPU. */
const LATE_MS = 1_000;
const CURRENT_MS = 2_000;
const SUSPICIONS = ['agent.suspect', 'agent.answering'];
const VERDICTS = ['agent.suspect', 'agent.lost', 'agent.disconnected', 'agent.left', 'agent.answering'];

/** A lease shorter than the outage: whoever counted it as silence would lose everybody. */
const times: Record<string, string> = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '1s',
  ORCHESTRATOR_SESSION_LEASE: `${LEASE_MS}ms`,
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '2s',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '10s',
  ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '1s',
};

/** A service on Redis, in one or several replicas, with a fleet of simulated agents attached. */
export class OutageRig {
  readonly services: ServiceProcess[] = [];
  readonly clients: Clients[] = [];
  readonly agents: SimAgent[] = [];
  readonly sessions: SimSession[] = [];
  readonly #channels: ReturnType<typeof grpcChannel>[] = [];
  readonly #loop = monitorEventLoopDelay({ resolution: 20 });
  /** The longest stall of the agents' process, which is that of the test. */
  #stallMs = 0;

  static async start(options: {
    store: string;
    replicas?: number;
    env?: Record<string, string>;
  }): Promise<OutageRig> {
    const rig = new OutageRig();
    rig.#loop.enable();
    try {
      for (let index = 0; index < (options.replicas ?? 1); index++) {
        const env = { ...times, ...options.env, ORCHESTRATOR_ID: `replica-${index + 1}` };
        const service = await ServiceProcess.start({ store: options.store, env });
        rig.services.push(service);
        rig.clients.push(connectClients(service.grpc));
      }
      await rig.#attach();
    } catch (error) {
      await rig.stop();
      throw error;
    }
    return rig;
  }

  get service(): ServiceProcess {
    return this.services[0] as ServiceProcess;
  }

  get api(): Clients {
    return this.clients[0] as Clients;
  }

  /** Another agent, on a connection of its own. */
  agent(id: string): SimAgent {
    const agent = new SimAgent({ via: this.service.grpc, id });
    this.agents.push(agent);
    return agent;
  }

  async #attach(): Promise<void> {
    for (let at = 0; at < size.agents; at += PER_CONNECTION) {
      const service = this.services[(at / PER_CONNECTION) % this.services.length] as ServiceProcess;
      const channel = grpcChannel(service.grpc);
      this.#channels.push(channel);
      const group = Array.from(
        { length: Math.min(PER_CONNECTION, size.agents - at) },
        (_, index) => new SimAgent({ via: channel, id: `kept-${at + index}` }),
      );
      this.agents.push(...group);
      this.sessions.push(...(await Promise.all(group.map((agent) => agent.join()))));
    }
    const pinged = () => this.sessions.every(({ pings }) => pings.length >= 3);
    await until(pinged, Boolean, { what: 'three pings to each agent', timeoutMs: 30_000 });
  }

  async storeStatus(clients = this.api) {
    const { status } = await clients.monitoring.getSystemStatus({}, { timeoutMs: 10_000 });
    if (status?.store === undefined) throw new Error('no status of the store');
    return status.store;
  }

  /** Looks after everything that must hold while Redis is away, until the time is over. */
  async expectToStandFor(ms: number): Promise<void> {
    const endMs = performance.now() + ms;
    const away = (available: boolean) => !available;
    for (const clients of this.clients) {
      await until(async () => (await this.storeStatus(clients)).available, away, { timeoutMs: 10_000 });
    }
    for (let round = 0; performance.now() < endMs; round++) {
      for (const [index, clients] of this.clients.entries()) {
        const { available, detail } = await this.storeStatus(clients);
        expect(available, detail).toBe(false);
        expect(detail).toMatch(/^Redis at /);
        const ready = await fetch(`http://${this.services[index]?.http}/readyz`);
        expect(ready.status, await ready.text()).toBe(200);
        const read = await clients.agents.getAgent({ agentId: `kept-${round}` }, { timeoutMs: 10_000 });
        expect(read.agent?.liveness).toBe(Agent_Liveness.CONNECTED);
        await expectRefused(clients.agents.registerAgent({ agentId: 'refused' }, { timeoutMs: 10_000 }));
      }
      await pause(Math.max(0, Math.min(1_000, endMs - performance.now())));
    }
  }

  /** Everybody is attached as before: no stream closed, pings go on, and nobody was judged but `leavers`. */
  async expectUntouched(leavers: readonly string[] = []): Promise<void> {
    expect(this.sessions.filter(({ goAway }) => goAway !== undefined).length).toBe(0);
    this.#takeStall();
    const late = this.#stallMs > LATE_MS;
    if (late)
      console.warn(`the agents' own process stood still for ${this.#stallMs} ms: they may be SUSPECT`);
    const pings = this.sessions.map((session) => session.pings.length);
    const pinged = () => this.sessions.every((session, index) => session.pings.length > (pings[index] ?? 0));
    await until(pinged, Boolean, { what: 'another ping to each agent', timeoutMs: 5_000 });
    for (const clients of this.clients) {
      const agents = (await listAgents(clients)).filter(({ id }) => id.startsWith('kept-'));
      expect(agents.length).toBe(size.agents);
      const judged = (await this.events(VERDICTS, clients)).filter(
        ({ agentId, type }) => !leavers.includes(agentId) && !(late && SUSPICIONS.includes(type)),
      );
      const shown = judged.slice(0, 3).map(({ message, verdict }) => `${message}: ${verdict?.detail}`);
      expect(shown, `of ${judged.length}`).toEqual([]);
      const fine: Agent_Liveness[] = [Agent_Liveness.CONNECTED, ...(late ? [Agent_Liveness.SUSPECT] : [])];
      const others = agents.filter(({ liveness }) => !fine.includes(liveness));
      expect(others.slice(0, 3).map(({ id, liveness }) => `${id} ${liveness}`)).toEqual([]);
    }
  }

  async events(types: string[], clients = this.api): Promise<Event[]> {
    const all: Event[] = [];
    for (let pageToken = ''; ; ) {
      const page = await clients.monitoring.listEvents({ filter: { types }, pageSize: 1_000, pageToken });
      all.push(...page.events);
      pageToken = page.nextPageToken;
      if (pageToken === '') return all;
    }
  }

  /**
   * Waits until the store is as it should be: available, nothing pending, a write works on every replica, and what is
   * measured reaches Redis: each within two seconds, on a machine that
   * is not overloaded. Returns how long it took, milliseconds.
   */
  async untilCurrent(
    redis: { port: number },
    sinceMs: number,
    written: string,
  ): Promise<Record<string, number>> {
    const took: Record<string, number> = {};
    this.#takeStall();
    const note = (what: string): void => {
      took[what] = Math.round(performance.now() - sinceMs);
    };
    const client = new Redis({ port: redis.port, host: '127.0.0.1', retryStrategy: () => 20 });
    client.on('error', () => {});
    const measured = () => client.hget('orchestrator:agents_db:{default}:live', 'agent/kept-0');
    try {
      const before = await measured();
      await Promise.all([
        ...this.clients.map(async (clients, index) => {
          await until(
            () => this.storeStatus(clients),
            ({ available }) => available,
            waiting('available'),
          );
          note('available');
          const agentId = `${written}-${index}`;
          await until(() => clients.agents.registerAgent({ agentId }), Boolean, waiting('a write'));
          note('write');
          await until(
            () => this.storeStatus(clients),
            ({ pendingVerdicts }) => pendingVerdicts === 0,
            waiting('verdicts'),
          );
          note('verdicts');
        }),
        until(measured, (now) => now !== null && now !== before, waiting('observations')).then(() =>
          note('observations'),
        ),
      ]);
    } finally {
      client.disconnect();
    }
    const stallMs = this.#takeStall();
    // Nobody can see it sooner than the one who looks gets the CPU, nor can it be quick where there is none.
    const limitMs = CURRENT_MS * Math.max(1, (loadavg()[0] ?? 0) / availableParallelism()) + stallMs;
    for (const [what, ms] of Object.entries(took)) expect(ms, what).toBeLessThan(limitMs);
    return { ...took, stallMs };
  }

  /** The longest stall since the last call, milliseconds. */
  #takeStall(): number {
    const stallMs = Math.round(this.#loop.max / 1e6);
    this.#loop.reset();
    this.#stallMs = Math.max(this.#stallMs, stallMs);
    return stallMs;
  }

  async stop(): Promise<void> {
    this.#loop.disable();
    for (const agent of this.agents) agent.close();
    for (const channel of this.#channels) channel.close();
    for (const clients of this.clients) clients.close();
    await Promise.all(this.services.map((service) => service.stop()));
  }
}

const waiting = (what: string) => ({ what, timeoutMs: 15_000, everyMs: 25 });

/** A write that is refused, soon, with the time to come back in the details. */
export async function expectRefused(call: Promise<unknown>): Promise<void> {
  const error = await call.then(
    () => undefined,
    (caught: unknown) => ConnectError.from(caught),
  );
  expect(error, 'the write was not refused').toBeDefined();
  // 14: UNAVAILABLE
  expect(error?.code, error?.rawMessage).toBe(14);
  expect(error?.findDetails(RetryInfoSchema)[0]?.retryDelay).toBeDefined();
}

export async function listAgents(clients: Clients): Promise<Agent[]> {
  const all: Agent[] = [];
  for (let pageToken = ''; ; ) {
    const page = await clients.agents.listAgents({ pageSize: 1_000, pageToken });
    all.push(...page.agents);
    pageToken = page.nextPageToken;
    if (pageToken === '') return all;
  }
}
