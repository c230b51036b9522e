import { clone, create, type DescMessage, type Message, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type RegisterAgentRequest,
  RegisterAgentResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import type { AgentStream, AgentTransport, StreamEvents } from '../../src/client/transport.ts';

type DownFrame = NonNullable<MessageInitShape<typeof OpenSessionResponseSchema>['frame']>;

/** One session on a transport without sockets, so that fake timers rule everything. */
export class FakeStream implements AgentStream {
  readonly token: string;
  readonly up: OpenSessionRequest[] = [];
  cancelled = false;
  halfClosed = false;
  /** False makes the transport hold back. */
  room = true;
  readonly #events: StreamEvents;

  constructor(token: string, events: StreamEvents) {
    this.token = token;
    this.#events = events;
  }

  write(frame: OpenSessionRequest): boolean {
    this.up.push(clone(OpenSessionRequestSchema, frame));
    return this.room;
  }
  end(): void {
    this.halfClosed = true;
  }
  cancel(): void {
    this.cancelled = true;
  }

  down(frame: DownFrame): void {
    this.#events.frame(create(OpenSessionResponseSchema, { frame }));
  }
  welcome(epoch: bigint, leaseSeconds = 30): void {
    this.down({ case: 'welcome', value: { epoch, lease: { seconds: BigInt(leaseSeconds) } } });
  }
  drain(): void {
    this.room = true;
    this.#events.drained();
  }
  ended(error?: AgentError): void {
    this.#events.ended(error);
  }

  /** The frames of one kind that came up. */
  frames<K extends OpenSessionRequest['frame']['case']>(
    kind: K,
  ): Extract<OpenSessionRequest['frame'], { case: K }>['value'][] {
    return this.up.flatMap(({ frame }) => (frame.case === kind ? [frame.value as never] : []));
  }
}

/** Makes transports and keeps what they were used for. */
export class FakeNetwork {
  readonly registrations: { request: RegisterAgentRequest; token: string | undefined }[] = [];
  readonly streams: FakeStream[] = [];
  openTransports = 0;
  /** Calls other than registrations. */
  readonly calls: { method: string; request: Message; timeoutMs: number }[] = [];
  /** Answers them: with the fields of the response, or an AgentError. */
  onCall: (method: string, request: Record<string, unknown>) => Promise<object> = async () => ({});
  /** Answers watches. */
  onStream: (request: Record<string, unknown>, signal: AbortSignal) => AsyncIterable<object> =
    async function* (): AsyncGenerator<object> {};
  onRegister: (request: RegisterAgentRequest, token: string | undefined) => string = (_, token) =>
    token ?? 'token-1';

  createTransport = (): AgentTransport => {
    this.openTransports++;
    return {
      register: async (request, { token }) => {
        this.registrations.push({ request, token });
        const agentToken = this.onRegister(request, token);
        return create(RegisterAgentResponseSchema, {
          agent: { id: request.agentId || 'made-1' },
          agentToken,
        });
      },
      open: (token, events) => {
        const stream = new FakeStream(token, events);
        this.streams.push(stream);
        return stream;
      },
      unary: async (method, request, call) => {
        if (call.signal.aborted) throw new AgentError({ code: Code.CANCELLED, message: 'cancelled' });
        const message: Message = create(method.input as DescMessage, request as Record<string, unknown>);
        this.calls.push({ method: method.name, request: message, timeoutMs: call.timeoutMs });
        const answer = await Promise.race([
          this.onCall(method.name, message as never),
          new Promise<never>((_, reject) => {
            const cancel = () => reject(new AgentError({ code: Code.CANCELLED, message: 'cancelled' }));
            call.signal.addEventListener('abort', cancel, { once: true });
          }),
        ]);
        return create(method.output as DescMessage, answer as Record<string, unknown>) as never;
      },
      stream: (method, request, { signal }) =>
        this.onStream(
          create(method.input as DescMessage, request as Record<string, unknown>) as never,
          signal,
        ) as never,
      close: () => {
        this.openTransports--;
      },
    };
  };

  /** The latest stream. */
  get stream(): FakeStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('no session was opened');
    return stream;
  }
}
