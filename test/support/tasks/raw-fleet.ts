import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import type { AgentSpecSchema, Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  RegisterAgentRequestSchema,
  RegisterAgentResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type DeliveryUpdateSchema,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
  type Result,
  DeliveryUpdate_State as State,
  type Task,
  type Welcome,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { GrpcReader, grpcHeaders, grpcUnary, H2Client } from '../h2-client.ts';

const OPEN_SESSION = '/mycosoft.orchestrator.agent.v1.SessionService/OpenSession';
const REGISTER = '/mycosoft.orchestrator.agent.v1.AgentService/RegisterAgent';
const REGISTERED_AT_A_TIME = 64;

type Frame = MessageInitShape<typeof OpenSessionRequestSchema>;
type Update = Omit<Exclude<MessageInitShape<typeof DeliveryUpdateSchema>, { $typeName: string }>, 'work'>;

/** A task that an agent was given. */
export interface Given {
  agent: RawAgent;
  work: Work;
  task: Task;
  /** Monotonic clock of this process, milliseconds. */
  atMs: number;
}

/** One agent on a stream of its own, one of many on a connection. */
export class RawAgent {
  readonly id: string;
  readonly revoked: Work[] = [];
  welcome: Welcome | undefined;
  /** It stands still: it reads nothing and says nothing, not even to pings. */
  paused = false;
  over = false;
  readonly #fleet: RawFleet;
  readonly #token: string;
  readonly #waiting = new Map<string, (result: Result) => void>();
  #client: H2Client;
  #stream = 0;
  #frames = 0;
  #killed = false;

  constructor(options: { id: string; token: string; client: H2Client; fleet: RawFleet }) {
    this.id = options.id;
    this.#token = options.token;
    this.#client = options.client;
    this.#fleet = options.fleet;
  }

  /** Attaches, again if it was attached; resolves with the welcome. */
  async attach(held: readonly Work[] = [], maxInFlight = 16): Promise<Welcome> {
    // A new process has a connection of its own; the old one may be about to be closed, because nothing is left on it.
    if (this.#killed || this.#client.socket.destroyed) this.#client = await this.#fleet.connect();
    this.#killed = false;
    this.over = false;
    this.paused = false;
    const hello: Frame = {
      frame: {
        case: 'hello',
        value: { held: [...held], maxInFlight, instanceId: this.id, client: 'raw/1' },
      },
    };
    const headers = grpcHeaders(OPEN_SESSION, this.#fleet.address, {
      authorization: `Bearer ${this.#token}`,
    });
    return await new Promise((resolve, reject) => {
      const reader = new GrpcReader({ onMessage: (frame) => this.#hear(frame, resolve) });
      const end = (): void => {
        this.over = true;
        reject(new Error(`the session of ${this.id} ended`));
      };
      const first = toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, hello));
      this.#stream = this.#client.open(headers, { data: (bytes) => reader.read(bytes), end }, first);
    });
  }

  /** Its process is gone: the stream is reset without a word. */
  kill(): void {
    this.over = true;
    this.#killed = true;
    this.#client.reset(this.#stream);
  }

  /** Resolves with what became of it. */
  say(work: Work, update: Update): Promise<Result> {
    this.#frames += 1;
    const frameId = `${this.#frames}`;
    const answer = new Promise<Result>((resolve) => this.#waiting.set(frameId, resolve));
    this.#send({ frameId, frame: { case: 'deliveryUpdate', value: { work, ...update } } });
    return answer;
  }

  accept(work: Work): Promise<Result> {
    return this.say(work, { state: State.ACCEPTED });
  }

  succeed(work: Work, output = 'done'): Promise<Result> {
    return this.say(work, { state: State.SUCCEEDED, output: { data: { case: 'text', value: output } } });
  }

  #send(frame: Frame): void {
    if (this.paused || this.over) return;
    this.#client.send(
      this.#stream,
      toBinary(OpenSessionRequestSchema, create(OpenSessionRequestSchema, frame)),
    );
  }

  #hear(bytes: Buffer, onWelcome: (welcome: Welcome) => void): void {
    if (this.paused || this.over) return;
    const { frame } = fromBinary(OpenSessionResponseSchema, bytes);
    switch (frame.case) {
      case 'ping':
        this.#send({ frame: { case: 'heartbeat', value: { echo: frame.value.echo } } });
        return;
      case 'welcome':
        this.welcome = frame.value;
        onWelcome(frame.value);
        return;
      case 'delivery': {
        const { work, item } = frame.value;
        if (work === undefined || item.case !== 'task') return;
        this.#fleet.onTask({ agent: this, work, task: item.value, atMs: performance.now() });
        return;
      }
      case 'revoke':
        if (frame.value.work !== undefined) this.revoked.push(frame.value.work);
        return;
      case 'result':
        this.#waiting.get(frame.value.frameId)?.(frame.value);
        this.#waiting.delete(frame.value.frameId);
        return;
      default:
    }
  }
}

export interface RawFleetOptions {
  /** "host:port" */
  address: string;
  namespace?: string;
  /** Default 4. */
  connections?: number;
  /** Told of each task that an agent is given; default: it says that it is done. */
  onTask?: (given: Given) => void;
}

/** Many agents in one process, at little cost: raw frames, many sessions on a connection. */
export class RawFleet {
  readonly agents = new Map<string, RawAgent>();
  readonly address: string;
  onTask: (given: Given) => void;
  readonly #namespace: string;
  readonly #clients: H2Client[];

  constructor({ address, namespace = '', connections = 4, onTask }: RawFleetOptions) {
    this.address = address;
    this.#namespace = namespace;
    this.onTask = onTask ?? (({ agent, work }) => void agent.succeed(work));
    this.#clients = Array.from({ length: connections }, () => this.#open());
  }

  async connect(): Promise<H2Client> {
    const client = this.#open();
    this.#clients.push(client);
    await client.connected();
    return client;
  }

  /** Registers and attaches; resolves when all are welcome. */
  async join(
    agents: readonly { id: string; spec: MessageInitShape<typeof AgentSpecSchema> }[],
    maxInFlight = 16,
  ): Promise<RawAgent[]> {
    const joined: RawAgent[] = [];
    for (const [index, client] of this.#clients.entries()) {
      // One on which nothing was opened is closed after a while.
      if (client.socket.destroyed) this.#clients[index] = this.#open();
      await this.#clients[index]?.connected();
    }
    for (let at = 0; at < agents.length; at += REGISTERED_AT_A_TIME) {
      const group = agents.slice(at, at + REGISTERED_AT_A_TIME).map(async ({ id, spec }, index) => {
        const client = this.#clients[(at + index) % this.#clients.length];
        if (client === undefined) throw new Error('there is no connection');
        const request = create(RegisterAgentRequestSchema, {
          ...{ namespace: this.#namespace, agentId: id, spec },
        });
        const bytes = toBinary(RegisterAgentRequestSchema, request);
        const answer = await grpcUnary(client, grpcHeaders(REGISTER, this.address), bytes);
        if (answer === undefined) throw new Error(`registration of ${id} was refused`);
        const { agentToken: token } = fromBinary(RegisterAgentResponseSchema, answer);
        const agent = new RawAgent({ id, token, client, fleet: this });
        this.agents.set(id, agent);
        await agent.attach([], maxInFlight);
        return agent;
      });
      joined.push(...(await Promise.all(group)));
    }
    return joined;
  }

  #open(): H2Client {
    const colon = this.address.lastIndexOf(':');
    return new H2Client({ host: this.address.slice(0, colon), port: Number(this.address.slice(colon + 1)) });
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }
}
