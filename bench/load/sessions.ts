import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  RegisterAgentRequestSchema,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { OpenSessionRequestSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { GrpcReader, grpcHeaders, grpcUnary, H2Client } from '../../test/support/h2-client.ts';
import { Backoff } from './backoff.ts';
import { drawDelayMs } from './delays.ts';
import { echoOffset, heartbeatFor, leaseGrant, leaseKeepAlive } from './frames.ts';
import type { AnswerDelays, LoadCount, SessionLoad } from './protocol.ts';

const openSession = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const registerAgent = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';
const setupCallsInFlight = 64;
const connectsInFlight = 100;
const wheelSlots = 100;
const leaseTtlSeconds = 3600;

/** Runs `work` for 0..count-1, at most `width` at a time. */
async function spread(count: number, width: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane));
}

/** Holds agents' sessions open and answers for them. */
export class SessionFleet {
  readonly #load: SessionLoad;
  readonly #host: string;
  readonly #port: number;
  readonly #clients: H2Client[] = [];
  readonly #slots: (() => void)[][] = Array.from({ length: wheelSlots }, () => []);
  #timer: NodeJS.Timeout | undefined;
  #roundTrips = 0;
  #broken = 0;
  #attached = 0;
  #retries = 0;
  #delays: AnswerDelays | undefined;
  #closing = false;

  constructor(options: { load: SessionLoad }) {
    this.#load = options.load;
    const colon = options.load.address.lastIndexOf(':');
    this.#host = options.load.address.slice(0, colon);
    this.#port = Number(options.load.address.slice(colon + 1));
  }

  /** Resolves once every agent is attached and has had its first answer. */
  async open(): Promise<void> {
    const { connections, agentsPerConnection, protocol } = this.#load;
    const agents = connections * agentsPerConnection;
    const setup = new H2Client({ host: this.#host, port: this.#port });
    await setup.connected();
    const tokens: string[] = [];
    await spread(agents, setupCallsInFlight, async (index) => {
      if (protocol === 'etcd') await this.#grantLease(setup, index);
      else tokens[index] = this.#load.register ? await this.#register(setup, index) : 'x'.repeat(48);
    });
    setup.close();
    await spread(connections, connectsInFlight, async (connection) => {
      const first = connection * agentsPerConnection;
      if (this.#load.reconnect === true) {
        await this.#hold(tokens[first] ?? '');
        return;
      }
      const client = new H2Client({ host: this.#host, port: this.#port });
      this.#clients.push(client);
      await client.connected();
      const attach = (index: number) =>
        protocol === 'etcd' ? this.#keepLease(client, index) : this.#attach(client, tokens[index] ?? '');
      await Promise.all(Array.from({ length: agentsPerConnection }, (_, offset) => attach(first + offset)));
    });
    if (protocol === 'etcd') this.#pace();
  }

  delayAnswers(delays: AnswerDelays | undefined): void {
    this.#delays = delays;
  }

  count(): LoadCount {
    const { user, system } = process.cpuUsage();
    return {
      roundTrips: this.#roundTrips,
      broken: this.#broken,
      attached: this.#attached,
      retries: this.#retries,
      cpuUs: user + system,
    };
  }

  close(): void {
    this.#closing = true;
    clearInterval(this.#timer);
    for (const client of this.#clients) client.close();
  }

  async #register(client: H2Client, index: number): Promise<string> {
    const request = create(RegisterAgentRequestSchema, {
      agentId: `${this.#load.prefix ?? 'bench'}-${index}`,
      spec: { kind: 'bench', capabilities: [{ name: 'echo' }], labels: { tier: 'bench' } },
    });
    const headers = grpcHeaders(registerAgent, this.#load.address);
    const answer = await grpcUnary(client, headers, toBinary(RegisterAgentRequestSchema, request));
    if (answer === undefined) throw new Error(`registration of agent ${index} was refused`);
    return fromBinary(RegisterAgentResponseSchema, answer).agentToken;
  }

  /** An agent that comes back whenever its connection breaks. Resolves with its first welcome. */
  #hold(token: string): Promise<void> {
    const backoff = new Backoff();
    return new Promise((resolve) => {
      const run = (): void => {
        const client = new H2Client({ host: this.#host, port: this.#port });
        const again = (): void => {
          client.close();
          if (this.#closing) return;
          this.#retries++;
          setTimeout(run, backoff.nextMs());
        };
        const welcome = (): void => {
          backoff.attached();
          resolve();
        };
        client.connected().then(() => this.#attach(client, token, again).then(welcome, () => {}), again);
      };
      run();
    });
  }

  #attach(client: H2Client, token: string, onEnd?: () => void): Promise<void> {
    return new Promise((resolve, reject) => {
      let welcome = false;
      const hello = create(OpenSessionRequestSchema, {
        frame: { case: 'hello', value: { maxInFlight: 1, client: 'bench/1' } },
      });
      const reader = new GrpcReader({
        onMessage: (message) => {
          const offset = echoOffset(message);
          if (offset >= 0) {
            this.#answer(client, id, heartbeatFor(message, offset));
          } else if (!welcome) {
            welcome = true;
            this.#attached++;
            resolve();
          }
        },
      });
      const end = () => {
        if (welcome) this.#attached--;
        if (!this.#closing) this.#broken++;
        reject(new Error('a session ended before its welcome'));
        onEnd?.();
      };
      const headers = grpcHeaders(openSession, this.#load.address, { authorization: `Bearer ${token}` });
      const stream = { data: (payload: Buffer) => reader.read(payload), end };
      const id = client.open(headers, stream, toBinary(OpenSessionRequestSchema, hello));
    });
  }

  #answer(client: H2Client, stream: number, heartbeat: Buffer): void {
    this.#roundTrips++;
    if (this.#delays === undefined) client.send(stream, heartbeat);
    else setTimeout(() => client.send(stream, heartbeat), drawDelayMs(this.#delays));
  }

  async #grantLease(client: H2Client, index: number): Promise<void> {
    const headers = grpcHeaders('/etcdserverpb.Lease/LeaseGrant', this.#load.address);
    const answer = await grpcUnary(client, headers, leaseGrant(index + 1, leaseTtlSeconds));
    if (answer === undefined) throw new Error(`lease ${index + 1} was not granted`);
  }

  #keepLease(client: H2Client, index: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const reader = new GrpcReader({
        onMessage: () => {
          this.#roundTrips++;
          resolve();
        },
      });
      const end = () => {
        if (!this.#closing) this.#broken++;
        reject(new Error('a keep-alive stream ended'));
      };
      const message = leaseKeepAlive(index + 1);
      const headers = grpcHeaders('/etcdserverpb.Lease/LeaseKeepAlive', this.#load.address);
      const id = client.open(headers, { data: (payload) => reader.read(payload), end }, message);
      this.#slots[index % wheelSlots]?.push(() => client.send(id, message));
    });
  }

  /** One keep-alive a second for each lease, spread evenly over a hundred slots. */
  #pace(): void {
    const startMs = performance.now();
    let slot = 0;
    this.#timer = setInterval(() => {
      const due = Math.floor((performance.now() - startMs) / (1000 / wheelSlots));
      for (; slot < due; slot++) for (const send of this.#slots[slot % wheelSlots] ?? []) send();
    }, 5);
  }
}
