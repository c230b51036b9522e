import type { Client as GrpcClient } from '@grpc/grpc-js';
import { MessageService } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { type Clients, connectClients } from '../clients.ts';
import { ServiceProcess } from '../service.ts';
import { grpcChannel, unary } from '../sim-agent.ts';
import { pause, until } from '../until.ts';
import { Addresses, specOf, subscriptionOf } from './addresses.ts';
import { Caller } from './caller.ts';
import { Courier } from './courier.ts';
import { FaultAgent } from './fault-agent.ts';
import { Gate } from './gate.ts';
import { LogReader } from './log-reader.ts';
import { MessageBook } from './message-book.ts';
import type { Fault, Planned } from './plan.ts';
import type { Random } from './random.ts';
import { RedisPair } from './redis-pair.ts';
import { Acknowledged, Writer } from './writer.ts';

export interface FaultRigOptions {
  random: Random;
  agents: number;
  /** One replica with the embedded store, instead of two on Redis. */
  embedded?: boolean;
  /** Redis is a primary with a replica. */
  paired?: boolean;
  /** Default 0. */
  minReplicas?: number;
  /** Default 2 s: silence after which agents count as lost, and look elsewhere themselves. */
  leaseMs?: number;
  /** More settings of the service. */
  env?: Record<string, string>;
}

/** A replica of the service, behind a gate, with a gate of its own to Redis if that is its store. */
interface Replica {
  service: ServiceProcess;
  fromAgents: Gate;
  toRedis: Gate | undefined;
  /** Direct, for looking at it. */
  clients: Clients;
}

const REPLICAS = 2;
const WRITERS = 8;
const COURIERS = 6;
const CALLERS = 3;
const AGENTS_A_CHANNEL = 10;
const LEASE_MS = 2_000;
const times: Record<string, string> = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '500ms',
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '2s',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '3s',
  ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '500ms',
  ORCHESTRATOR_GRPC_HELLO_TIMEOUT: '2s',
  ORCHESTRATOR_DELIVERIES_ACCEPT_WITHIN: '1s',
  // Nothing is given up for being tried often: it would hide what was lost.
  ORCHESTRATOR_DELIVERIES_MAX_TRIES: '1000',
  ORCHESTRATOR_FAILURES_QUARANTINE: 'off',
};

/**
 * Two replicas of the service on one Redis, or one with the embedded store; agents, writers, couriers and callers that
 * never give up, and every link through a gate.
 */
export class FaultRig {
  readonly replicas: Replica[] = [];
  readonly agents: FaultAgent[] = [];
  readonly writers: Writer[] = [];
  readonly couriers: Courier[] = [];
  readonly callers: Caller[] = [];
  readonly acknowledged = new Acknowledged();
  readonly messages: MessageBook;
  readonly options: FaultRigOptions;
  readonly #redis: RedisPair | undefined;
  #reader: LogReader | undefined;
  #readerGate: Gate | undefined;
  readonly #channels: GrpcClient[] = [];
  readonly #services: ServiceProcess[] = [];
  readonly #gates: Gate[] = [];
  #disturbing: NodeJS.Timeout | undefined;

  private constructor(options: FaultRigOptions, redis: RedisPair | undefined) {
    this.options = options;
    this.#redis = redis;
    this.messages = new MessageBook({ fallsBack: options.paired ?? false });
  }

  static async start(options: FaultRigOptions): Promise<FaultRig> {
    const redis = options.embedded ? undefined : await RedisPair.start(options.paired ?? false);
    const rig = new FaultRig(options, redis);
    try {
      await rig.#start();
    } catch (error) {
      await rig.stop();
      throw error;
    }
    return rig;
  }

  get redis(): RedisPair {
    if (this.#redis === undefined) throw new Error('the store is embedded');
    return this.#redis;
  }

  /** Of what is in Redis; the embedded store lets nobody else in. */
  get reader(): LogReader | undefined {
    return this.#reader;
  }

  async #start(): Promise<void> {
    const { random, embedded, agents } = this.options;
    const start = (_: unknown, index: number) => this.#startReplica(index);
    this.replicas.push(...(await Promise.all(Array.from({ length: embedded ? 1 : REPLICAS }, start))));
    if (!embedded) {
      this.#readerGate = await Gate.start(this.redis.primary.port);
      this.#reader = await LogReader.open(`redis://${this.#readerGate.address}`);
    }
    if (agents === 0) return;
    await this.#startAgents();
    const ids = this.agents.map(({ id }) => id);
    for (let index = 0; index < WRITERS; index++) {
      const writer = new Writer({
        name: `w${index}`,
        doors: this.#doors(),
        agentIds: ids.filter((_, at) => at % WRITERS === index),
        random: random.fork(`writer ${index}`),
        acknowledged: this.acknowledged,
      });
      this.writers.push(writer);
    }
    const { agents: couriersFor, messages: book } = this;
    const addresses = new Addresses(ids);
    for (let index = 0; index < COURIERS; index++) {
      const name = `courier-${index}`;
      const own = { name, doors: this.#doors(), random: random.fork(name) };
      this.couriers.push(new Courier({ ...own, addresses, book, agents: couriersFor }));
    }
    const records = new Map(this.agents.map((agent) => [agent.id, agent.records]));
    for (let index = 0; index < CALLERS; index++) {
      const name = `caller-${index}`;
      const own = { name, doors: this.#doors(), random: random.fork(name) };
      this.callers.push(new Caller({ ...own, addresses, book, recordsOf: (id) => records.get(id) }));
    }
  }

  async #startReplica(index: number): Promise<Replica> {
    const toRedis = this.#redis && (await Gate.start(this.#redis.primary.port));
    const fromAgents = await Gate.start(0);
    this.#gates.push(fromAgents, ...(toRedis === undefined ? [] : [toRedis]));
    const env = {
      ...times,
      ORCHESTRATOR_SESSION_LEASE: `${this.options.leaseMs ?? LEASE_MS}ms`,
      ...this.options.env,
      ORCHESTRATOR_ID: `replica-${index}`,
      ORCHESTRATOR_REDIS_MIN_REPLICAS: `${this.options.minReplicas ?? 0}`,
    };
    const store = toRedis && { store: `redis://${toRedis.address}` };
    const service = await ServiceProcess.start({ ...store, env });
    this.#services.push(service);
    fromAgents.lead(portOf(service.grpc));
    return { service, fromAgents, toRedis, clients: connectClients(service.grpc) };
  }

  async #startAgents(): Promise<void> {
    const { random, agents: count } = this.options;
    for (let at = 0; at < count; at += AGENTS_A_CHANNEL) {
      const doors = this.#doors();
      const start = (_: unknown, index: number) =>
        this.#startAgent(`agent-${at + index}`, doors, random.fork(`agent ${at + index}`));
      await Promise.all(Array.from({ length: Math.min(AGENTS_A_CHANNEL, count - at) }, start));
    }
    const attached = () => this.agents.every(({ epoch }) => epoch !== 0n);
    await until(attached, Boolean, { what: 'all agents to attach', timeoutMs: 30_000 });
  }

  async #startAgent(id: string, doors: readonly GrpcClient[], random: Random): Promise<void> {
    const [replica] = this.replicas;
    const made = await replica?.clients.agents.registerAgent({ agentId: id, spec: specOf(id) });
    const token = made?.agentToken ?? '';
    const patienceMs = this.options.leaseMs ?? LEASE_MS;
    const agent = new FaultAgent({ id, token, doors, patienceMs, random, book: this.messages });
    agent.desk.fallsBack = this.options.paired ?? false;
    this.agents.push(agent);
    const subscription = subscriptionOf(id);
    const [door] = doors;
    if (subscription !== undefined && door !== undefined) {
      await unary(door, MessageService.method.createSubscription, { subscription });
    }
    agent.start();
  }

  /** A channel to each replica. */
  #doors(): GrpcClient[] {
    const doors = this.replicas.map(({ fromAgents }) => grpcChannel(fromAgents.address));
    this.#channels.push(...doors);
    return doors;
  }

  /** Everybody writes, sends and calls, and now and then an agent crashes, stands still, or attaches although it is attached. */
  disturb(random: Random): void {
    for (const each of [...this.writers, ...this.couriers, ...this.callers]) each.start();
    for (const { desk } of this.agents) desk.diligent = false;
    this.#disturbing = setInterval(() => {
      const busy = this.agents.filter(({ desk }) => desk.working);
      const agent = random.pick(busy.length === 0 ? this.agents : busy);
      const draw = random.next();
      if (draw < 0.6) agent.attachAgain();
      else if (draw < 0.9) agent.crash();
      else agent.freeze(Math.round(200 + 2300 * random.next() ** 3));
    }, 100);
  }

  /** No agent is disturbed any more, and all do what they are told; what is written and sent goes on. */
  calm(): void {
    clearInterval(this.#disturbing);
    for (const { desk } of this.agents) desk.diligent = true;
  }

  /** Resolves when all faults are over and what they ended runs again. */
  async play(plan: readonly Planned[]): Promise<void> {
    await Promise.all(
      plan.map(async ({ afterMs, fault }) => {
        await pause(afterMs);
        await this.#inflict(fault);
      }),
    );
  }

  /** Every link to Redis leads to this port from now on; connections to another one are reset. */
  leadTo(port: number): void {
    for (const gate of [...this.replicas.map(({ toRedis }) => toRedis), this.#readerGate]) {
      gate?.lead(port);
      gate?.reset();
    }
  }

  async #inflict(fault: Fault): Promise<void> {
    if (fault.kind === 'kill-redis') {
      const { primary } = this.redis;
      await primary.kill('SIGKILL');
      await pause(fault.ms);
      await primary.restart();
      return;
    }
    if (fault.kind === 'pause-redis') {
      const { primary } = this.redis;
      await primary.kill('SIGSTOP');
      await pause(fault.ms);
      await primary.kill('SIGCONT');
      return;
    }
    const replica = this.replicas[fault.replica];
    if (replica === undefined) throw new Error(`no replica ${fault.replica}`);
    const { service, toRedis, fromAgents } = replica;
    if (fault.kind === 'kill-replica') {
      replica.clients.close();
      service.signal('SIGKILL');
      await service.exited;
      await pause(fault.ms);
      // It does not start without its store.
      const started = () => service.restart().then(() => true);
      await until(started, Boolean, { what: 'a replica to start again', timeoutMs: 30_000, everyMs: 200 });
      replica.clients = connectClients(service.grpc);
    } else if (fault.kind === 'pause-replica') {
      service.signal('SIGSTOP');
      await pause(fault.ms);
      service.signal('SIGCONT');
    } else if (fault.kind === 'reset-agents') {
      fromAgents.reset();
    } else {
      const gate = fault.kind === 'cut-redis' ? toRedis : fromAgents;
      gate?.shut(fault.cut);
      await pause(fault.ms);
      gate?.open(fault.late);
    }
  }

  async stop(): Promise<void> {
    this.calm();
    for (const agent of this.agents) agent.close();
    for (const channel of this.#channels) channel.close();
    await this.#reader?.close();
    for (const { clients } of this.replicas) clients.close();
    await Promise.all(this.#services.map((service) => service.stop()));
    for (const gate of [...this.#gates, this.#readerGate]) await gate?.close();
    await this.#redis?.stop();
  }
}

const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1));
