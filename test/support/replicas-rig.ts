import type { Agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Event } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type Clients, connectClients } from './clients.ts';
import { listAgents } from './redis-outage.ts';
import { type RedisServer, startRedis } from './redis-server.ts';
import { ReturningAgent, type ReturningAgentOptions } from './returning-agent.ts';
import { ServiceProcess } from './service.ts';
import { TcpBalancer } from './tcp-balancer.ts';
import { until } from './until.ts';

/** Pings that come often; the lease and the graces stay as they are by default. */
const times: Record<string, string> = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '1s',
  ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '1s',
};

/** Replicas on one Redis behind a balancer, with agents that come back. */
export class ReplicasRig {
  readonly agents: ReturningAgent[] = [];
  readonly replicas: ServiceProcess[] = [];
  readonly redis: RedisServer;
  readonly balancer: TcpBalancer;
  /** Through the balancer. */
  readonly clients: Clients;
  readonly #env: Record<string, string>;

  private constructor(options: {
    redis: RedisServer;
    replicas: ServiceProcess[];
    balancer: TcpBalancer;
    env: Record<string, string>;
  }) {
    this.redis = options.redis;
    this.replicas = options.replicas;
    this.balancer = options.balancer;
    this.#env = options.env;
    this.clients = connectClients(options.balancer.address);
  }

  static async start(options: { replicas: number; env?: Record<string, string> }): Promise<ReplicasRig> {
    const env = { ...times, ...options.env };
    const redis = await startRedis();
    const replicas: ServiceProcess[] = [];
    try {
      for (let index = 1; index <= options.replicas; index++) {
        replicas.push(
          await ServiceProcess.start({
            store: redis.url,
            env: { ...env, ORCHESTRATOR_ID: `replica-${index}` },
          }),
        );
      }
      const balancer = await TcpBalancer.start({ backends: replicas });
      return new ReplicasRig({ redis, replicas, balancer, env });
    } catch (error) {
      await Promise.all(replicas.map((replica) => replica.stop()));
      await redis.stop();
      throw error;
    }
  }

  /** One more replica, known to the balancer once it is ready. */
  async grow(): Promise<ServiceProcess> {
    const id = `replica-${this.replicas.length + 1}`;
    const env = { ...this.#env, ORCHESTRATOR_ID: id };
    const replica = await ServiceProcess.start({ store: this.redis.url, env });
    this.replicas.push(replica);
    this.balancer.add(replica);
    return replica;
  }

  /** Registers agents and waits until all are attached. */
  async attach(count: number, answer?: ReturningAgentOptions['answer']): Promise<void> {
    for (let at = 0; at < count; at += 50) {
      const group = Array.from({ length: Math.min(50, count - at) }, async (_, index) => {
        const agentId = `a${at + index}`;
        const { agentToken } = await this.clients.agents.registerAgent({ agentId });
        const { address } = this.balancer;
        const agent = new ReturningAgent({
          address,
          id: agentId,
          token: agentToken,
          ...(answer === undefined ? {} : { answer }),
        });
        this.agents.push(agent);
        await agent.welcomed;
      });
      await Promise.all(group);
    }
  }

  /** Waits until every agent has a session at a replica that is still there. Returns how long it took. */
  async untilAllAttached(timeoutMs = 30_000): Promise<number> {
    const fromMs = performance.now();
    const away = () => this.agents.filter(({ attached }) => attached === undefined).length;
    await until(away, (count) => count === 0, { what: 'all agents to be attached', timeoutMs });
    return performance.now() - fromMs;
  }

  /** Sessions by replica, as the agents know it. */
  shares(): Record<string, number> {
    const shares: Record<string, number> = {};
    for (const { attached } of this.agents) {
      const id = attached?.replicaId ?? 'none';
      shares[id] = (shares[id] ?? 0) + 1;
    }
    return shares;
  }

  async events(types: string[]): Promise<Event[]> {
    const all: Event[] = [];
    for (let pageToken = ''; ; ) {
      const page = await this.clients.monitoring.listEvents({
        filter: { types },
        pageSize: 1_000,
        pageToken,
      });
      all.push(...page.events);
      pageToken = page.nextPageToken;
      if (pageToken === '') return all;
    }
  }

  /** The agents as each replica shows them. */
  async seenByEach(): Promise<Agent[][]> {
    return Promise.all(
      this.replicas.map(async ({ grpc }) => {
        const clients = connectClients(grpc);
        try {
          return await listAgents(clients);
        } finally {
          clients.close();
        }
      }),
    );
  }

  async stop(): Promise<void> {
    for (const agent of this.agents) agent.close();
    this.clients.close();
    await this.balancer.close();
    await Promise.all(this.replicas.map((replica) => replica.stop()));
    await this.redis.stop();
  }
}
