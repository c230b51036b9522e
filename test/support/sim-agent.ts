import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import {
  type ClientDuplexStream,
  credentials,
  Client as GrpcClient,
  Metadata,
  type StatusObject,
} from '@grpc/grpc-js';
import type { Agent } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  AgentService,
  type RegisterAgentRequestSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type Delivery,
  type GoAway,
  type HelloSchema,
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  type Ping,
  type Result,
  SessionService,
  type Welcome,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

type Stream = ClientDuplexStream<OpenSessionRequest | Buffer, OpenSessionResponse>;
type Frame = MessageInitShape<typeof OpenSessionRequestSchema>;

const pathOf = (method: DescMethod) => `/${method.parent.typeName}/${method.name}`;

function metadataOf(token: string | undefined): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

/** A grpc-js channel; `own` gives it a connection that it shares with no other channel of the process. */
export function grpcChannel(address: string, options: { own?: boolean } = {}): GrpcClient {
  return new GrpcClient(address, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': options.own === false ? 0 : 1,
    'grpc.initial_reconnect_backoff_ms': 100,
    'grpc.max_reconnect_backoff_ms': 500,
  });
}

/** One unary call over grpc-js. */
export function unary<M extends DescMethod>(
  client: GrpcClient,
  method: M,
  request: MessageInitShape<M['input']>,
  options: { token?: string | undefined; deadlineMs?: number } = {},
): Promise<MessageShape<M['output']>> {
  const deadline = Date.now() + (options.deadlineMs ?? 20_000);
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      pathOf(method),
      (message: MessageShape<M['input']>) => Buffer.from(toBinary(method.input, message)),
      (bytes) => fromBinary(method.output, bytes) as MessageShape<M['output']>,
      create(method.input, request) as MessageShape<M['input']>,
      metadataOf(options.token),
      { deadline },
      (error, response) => (response === undefined ? reject(error) : resolve(response)),
    );
  });
}

/** How a simulated agent behaves; may be changed while its session is open. */
export interface Manner {
  /** Whether it answers pings. */
  answering: boolean;
  /** How long it waits before it answers, milliseconds. */
  answerDelayMs: number;
  /** Whether it owns up to that delay in `held`. */
  tellsHeld: boolean;
  /** Its clock minus the real one, milliseconds; undefined: it sends no time. */
  clockOffsetMs: number | undefined;
}

/** One session stream of a simulated agent. */
export class SimSession {
  readonly manner: Manner;
  /** Resolves with welcome, rejects if the stream ends before. */
  readonly welcome: Promise<Welcome>;
  /** Resolves when the stream is over, with its status. */
  readonly ended: Promise<StatusObject>;
  readonly results: Result[] = [];
  readonly pings: Ping[] = [];
  goAway: GoAway | undefined;
  onDelivery: (delivery: Delivery) => void = () => {};
  readonly #stream: Stream;

  constructor(options: { client: GrpcClient; token: string | undefined; manner: Manner }) {
    this.manner = options.manner;
    this.#stream = options.client.makeBidiStreamRequest(
      pathOf(SessionService.method.openSession),
      (message: OpenSessionRequest | Buffer) =>
        Buffer.isBuffer(message) ? message : Buffer.from(toBinary(OpenSessionRequestSchema, message)),
      (bytes) => fromBinary(OpenSessionResponseSchema, bytes),
      metadataOf(options.token),
    );
    this.ended = new Promise((resolve) => this.#stream.on('status', resolve));
    this.#stream.on('error', () => {}); // the status says it too
    this.welcome = new Promise((resolve, reject) => {
      this.#stream.on('data', (response: OpenSessionResponse) => this.#hear(response, resolve));
      this.#stream.on('status', (status) => reject(new Error(`${status.code} ${status.details}`)));
    });
    this.welcome.catch(() => {});
  }

  send(frame: Frame): void {
    this.#stream.write(create(OpenSessionRequestSchema, frame));
  }

  /** Sends bytes that need not be a message. False: wait for `drained`. */
  sendRaw(bytes: Buffer): boolean {
    return this.#stream.write(bytes);
  }

  /** Stops taking bytes: HTTP/2 flow control passes it on to the server. */
  stopReading(): void {
    this.#stream.pause();
  }

  /** Says goodbye and waits for the end. */
  async leave(reason = 'done'): Promise<StatusObject> {
    this.send({ frame: { case: 'leave', value: { reason } } });
    this.#stream.end();
    return await this.ended;
  }

  /** Ends its side without a goodbye. */
  halfClose(): void {
    this.#stream.end();
  }

  /** Breaks the stream (RST_STREAM). */
  break(): void {
    this.#stream.cancel();
  }

  #hear(response: OpenSessionResponse, onWelcome: (welcome: Welcome) => void): void {
    const { frame } = response;
    if (frame.case === 'welcome') onWelcome(frame.value);
    else if (frame.case === 'result') this.results.push(frame.value);
    else if (frame.case === 'goAway') this.goAway = frame.value;
    else if (frame.case === 'delivery') this.onDelivery(frame.value);
    else if (frame.case === 'ping') this.#pinged(frame.value);
  }

  #pinged(ping: Ping): void {
    this.pings.push(ping);
    if (!this.manner.answering) return;
    if (this.manner.answerDelayMs === 0) this.#answer(ping, performance.now());
    else setTimeout(this.#answer.bind(this), this.manner.answerDelayMs, ping, performance.now()).unref();
  }

  #answer(ping: Ping, heardMs: number): void {
    if (this.#stream.destroyed || this.#stream.writableEnded) return;
    const { clockOffsetMs, tellsHeld } = this.manner;
    const heldNanos = Math.round((performance.now() - heardMs) * 1e6);
    this.send({
      frame: {
        case: 'heartbeat',
        value: {
          echo: ping.echo,
          ...(tellsHeld ? { held: { seconds: 0n, nanos: heldNanos } } : {}),
          ...(clockOffsetMs === undefined ? {} : { agentTime: timestampFromMs(Date.now() + clockOffsetMs) }),
        },
      },
    });
  }
}

export interface SimAgentOptions {
  /** "host:port" of the gRPC listener, or a channel that several agents share. */
  via: string | GrpcClient;
  id?: string;
  namespace?: string;
  manner?: Partial<Manner>;
}

/** A light simulated agent over grpc-js; a process can hold thousands. */
export class SimAgent {
  readonly client: GrpcClient;
  readonly namespace: string;
  id: string;
  token: string | undefined;
  session: SimSession | undefined;
  readonly #ownsClient: boolean;
  readonly #manner: Manner;

  constructor(options: SimAgentOptions) {
    this.#ownsClient = typeof options.via === 'string';
    this.client = typeof options.via === 'string' ? grpcChannel(options.via) : options.via;
    this.id = options.id ?? '';
    this.namespace = options.namespace ?? '';
    this.#manner = {
      answering: true,
      answerDelayMs: 0,
      tellsHeld: true,
      clockOffsetMs: 0,
      ...options.manner,
    };
  }

  async register(request: MessageInitShape<typeof RegisterAgentRequestSchema> = {}): Promise<Agent> {
    const { namespace, token } = this;
    const response = await unary(
      this.client,
      AgentService.method.registerAgent,
      { namespace, agentId: this.id, ...request },
      { token },
    );
    if (response.agent === undefined) throw new Error('no agent in the response');
    this.id = response.agent.id;
    this.token = response.agentToken;
    return response.agent;
  }

  /** Opens a session stream and says nothing. */
  openSilently(): SimSession {
    this.session = new SimSession({ client: this.client, token: this.token, manner: { ...this.#manner } });
    return this.session;
  }

  /** Opens a session and says hello; the session is usable once `welcome` has resolved. */
  attach(hello: MessageInitShape<typeof HelloSchema> = {}): SimSession {
    const session = this.openSilently();
    session.send({ frame: { case: 'hello', value: { maxInFlight: 1, client: 'sim/1', ...hello } } });
    return session;
  }

  /** Registers, attaches and waits for welcome. */
  async join(hello: MessageInitShape<typeof HelloSchema> = {}): Promise<SimSession> {
    await this.register();
    const session = this.attach(hello);
    await session.welcome;
    return session;
  }

  close(): void {
    this.session?.break();
    if (this.#ownsClient) this.client.close();
  }
}
