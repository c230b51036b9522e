import { type Clients, connectClients } from './clients.ts';
import { type RedisServer, type RedisServerOptions, startRedis } from './redis-server.ts';
import { type ServiceOptions, ServiceProcess } from './service.ts';
import { grpcChannel, SimAgent, type SimAgentOptions } from './sim-agent.ts';

export const storeKinds = ['lmdb', 'redis'] as const;
export type StoreKind = (typeof storeKinds)[number];

/** Short times, so that a life cycle takes seconds. The lease leaves room for SUSPECT before LOST. */
export const fastTimes: Record<string, string> = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '200ms',
  ORCHESTRATOR_SESSION_LEASE: '3s',
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '1s',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '1s',
  ORCHESTRATOR_SESSION_DRAIN_TIMEOUT: '1s',
  ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '200ms',
  ORCHESTRATOR_GRPC_HELLO_TIMEOUT: '1s',
  ORCHESTRATOR_HTTP_HELLO_TIMEOUT: '1s',
  ORCHESTRATOR_SHUTDOWN_SPREAD: '200ms',
  ORCHESTRATOR_SHUTDOWN_TIMEOUT: '5s',
};

export type StackOptions = Omit<ServiceOptions, 'store'> & { redis?: RedisServerOptions };

/** A service on a store of its own, with clients; `dispose` ends all of it. */
export class Stack {
  readonly service: ServiceProcess;
  readonly redis: RedisServer | undefined;
  clients: Clients;
  readonly #agents: SimAgent[] = [];

  private constructor(options: { service: ServiceProcess; redis: RedisServer | undefined }) {
    this.service = options.service;
    this.redis = options.redis;
    this.clients = connectClients(options.service.grpc);
  }

  static async start(kind: StoreKind, options: StackOptions = {}): Promise<Stack> {
    const env = { ...fastTimes, ...options.env };
    if (kind === 'lmdb') {
      return new Stack({ service: await ServiceProcess.start({ ...options, env }), redis: undefined });
    }
    const redis = await startRedis(options.redis ?? {});
    try {
      const service = await ServiceProcess.start({ ...options, env, store: redis.url });
      return new Stack({ service, redis });
    } catch (error) {
      await redis.stop();
      throw error;
    }
  }

  /** A simulated agent that is closed with the stack; by default on a connection of its own to the service. */
  agent(options: Partial<SimAgentOptions> = {}): SimAgent {
    const agent = new SimAgent({ via: this.service.grpc, ...options });
    this.#agents.push(agent);
    return agent;
  }

  /** A gRPC channel for raw calls. The caller closes it. */
  channel() {
    return grpcChannel(this.service.grpc);
  }

  /** Restarts the service and renews the clients. */
  async restart(env: Record<string, string> = {}): Promise<void> {
    this.clients.close();
    await this.service.restart(env);
    this.clients = connectClients(this.service.grpc);
  }

  async dispose(): Promise<void> {
    for (const agent of this.#agents) agent.close();
    this.clients.close();
    await this.service.stop();
    await this.redis?.stop();
  }
}
