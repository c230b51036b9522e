import { create, fromBinary, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import {
  AgentService,
  type RegisterAgentRequest,
  RegisterAgentRequestSchema,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
  SessionService,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { MessageService } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';

export type DownFrame = NonNullable<MessageInitShape<typeof OpenSessionResponseSchema>['frame']>;
type UpFrame = OpenSessionRequest['frame'];

/** What a registration is answered with; throw a `refusal` to fail it. */
export type OnRegister = (
  request: RegisterAgentRequest,
  token: string | undefined,
) => { id: string; token: string };

/** An error as the service sends it. */
export function refusal(code: grpc.status, reason: string, retryAfterMs?: number): grpc.ServiceError {
  const metadata = new grpc.Metadata();
  metadata.set('error-reason', reason);
  if (retryAfterMs !== undefined) metadata.set('retry-after-ms', String(retryAfterMs));
  return Object.assign(new Error(reason), { code, details: `refused: ${reason}`, metadata });
}

/** A session as the server sees it; the test decides every frame. */
export class FakeSession {
  readonly token: string | undefined;
  readonly frames: OpenSessionRequest[] = [];
  /** Resolves when the client half-closed or broke the call. */
  readonly over: Promise<void>;
  readonly #call: grpc.ServerDuplexStream<Buffer, Buffer>;
  readonly #waiting: { kind: UpFrame['case']; resolve: (frame: OpenSessionRequest) => void }[] = [];

  constructor(call: grpc.ServerDuplexStream<Buffer, Buffer>) {
    this.#call = call;
    this.token = tokenOf(call.metadata);
    this.over = new Promise((resolve) => {
      call.on('end', resolve);
      call.on('cancelled', resolve);
    });
    call.on('error', () => {});
    call.on('data', (bytes: Buffer) => this.#receive(fromBinary(OpenSessionRequestSchema, bytes)));
  }

  /** The next frame of a kind that no earlier `next` took. */
  async next<K extends UpFrame['case']>(kind: K): Promise<Extract<UpFrame, { case: K }>['value']> {
    const { frame } = await this.nextFrame(kind);
    return frame.value as never;
  }

  /** The same with its frame id. */
  nextFrame(kind: UpFrame['case']): Promise<OpenSessionRequest> {
    const index = this.frames.findIndex(({ frame }) => frame.case === kind);
    const [frame] = index < 0 ? [] : this.frames.splice(index, 1);
    if (frame !== undefined) return Promise.resolve(frame);
    return new Promise((resolve) => this.#waiting.push({ kind, resolve }));
  }

  send(frame: DownFrame): void {
    const message = create(OpenSessionResponseSchema, { frame });
    this.#call.write(Buffer.from(toBinary(OpenSessionResponseSchema, message)));
  }

  welcome(epoch: bigint, leaseMs = 30_000): void {
    const lease = { seconds: BigInt(Math.floor(leaseMs / 1000)), nanos: (leaseMs % 1000) * 1e6 };
    this.send({ case: 'welcome', value: { epoch, lease, maxFrameBytes: 1_000_000, features: [] } });
  }

  stored(frameId: string): void {
    this.send({ case: 'result', value: { frameId } });
  }

  end(error?: grpc.ServiceError): void {
    if (error === undefined) this.#call.end();
    else this.#call.emit('error', error);
  }

  #receive(frame: OpenSessionRequest): void {
    const index = this.#waiting.findIndex(({ kind }) => kind === frame.frame.case);
    const [waiting] = index < 0 ? [] : this.#waiting.splice(index, 1);
    if (waiting === undefined) this.frames.push(frame);
    else waiting.resolve(frame);
  }
}

/** Speaks the session protocol over real sockets, and does nothing that the test did not say. */
export class FakeSessionServer {
  readonly registrations: { request: RegisterAgentRequest; token: string | undefined }[] = [];
  onRegister: OnRegister = (request, token) => ({
    id: request.agentId || 'made-1',
    token: token ?? 'token-1',
  });
  readonly #server = new grpc.Server();
  readonly #sessions: FakeSession[] = [];
  readonly #waiting: ((session: FakeSession) => void)[] = [];
  address = '';

  /** With `holdCalls` it takes calls of agents, and never answers them. */
  static async start({ holdCalls = false } = {}): Promise<FakeSessionServer> {
    const fake = new FakeSessionServer();
    await fake.#listen(holdCalls);
    return fake;
  }

  /** The next session that no earlier call took. */
  session(): Promise<FakeSession> {
    const session = this.#sessions.shift();
    if (session !== undefined) return Promise.resolve(session);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Cuts every connection. */
  stop(): void {
    this.#server.forceShutdown();
  }

  async #listen(holdCalls: boolean): Promise<void> {
    const { openSession } = SessionService.method;
    const { registerAgent } = AgentService.method;
    const raw = { requestSerialize: same, requestDeserialize: same, responseSerialize: same };
    const unary = { ...raw, responseDeserialize: same, requestStream: false, responseStream: false };
    const stream = { ...raw, responseDeserialize: same, requestStream: true, responseStream: true };
    this.#server.addService(
      { registerAgent: { ...unary, path: `/${AgentService.typeName}/${registerAgent.name}` } },
      { registerAgent: this.#register.bind(this) },
    );
    this.#server.addService(
      { openSession: { ...stream, path: `/${SessionService.typeName}/${openSession.name}` } },
      { openSession: this.#open.bind(this) },
    );
    if (holdCalls) {
      const path = `/${MessageService.typeName}/${MessageService.method.callAgent.name}`;
      this.#server.addService({ callAgent: { ...unary, path } }, { callAgent: () => {} });
    }
    const credentials = grpc.ServerCredentials.createInsecure();
    const port = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync('127.0.0.1:0', credentials, (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    this.address = `127.0.0.1:${port}`;
  }

  #register(call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>): void {
    const request = fromBinary(RegisterAgentRequestSchema, call.request);
    const token = tokenOf(call.metadata);
    this.registrations.push({ request, token });
    try {
      const { id, token: agentToken } = this.onRegister(request, token);
      const response = create(RegisterAgentResponseSchema, { agent: { id }, agentToken });
      answer(null, Buffer.from(toBinary(RegisterAgentResponseSchema, response)));
    } catch (error) {
      answer(error as grpc.ServiceError);
    }
  }

  #open(call: grpc.ServerDuplexStream<Buffer, Buffer>): void {
    const session = new FakeSession(call);
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#sessions.push(session);
    else waiting(session);
  }
}

const same = (bytes: Buffer): Buffer => bytes;

function tokenOf(metadata: grpc.Metadata): string | undefined {
  return metadata
    .get('authorization')[0]
    ?.toString()
    .replace(/^Bearer /, '');
}
