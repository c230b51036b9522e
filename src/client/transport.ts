import type {
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from '@bufbuild/protobuf';
import type {
  RegisterAgentRequest,
  RegisterAgentResponse,
} from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import type {
  OpenSessionRequest,
  OpenSessionResponse,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { AgentError } from './errors.ts';

/** What a stream tells its session. Called in order; nothing follows `ended`. */
export interface StreamEvents {
  frame(frame: OpenSessionResponse): void;
  /** The transport has passed on everything that was written. */
  drained(): void;
  /** The call is over; without an error the server ended it in good order. */
  ended(error: AgentError | undefined): void;
}

/** The way up. */
export interface AgentStream {
  /** Sends a frame; false when the transport holds back, until `drained`. */
  write(frame: OpenSessionRequest): boolean;
  /** Half-closes: nothing more will be written. */
  end(): void;
  /** Ends the call at once. */
  cancel(): void;
}

/** How a call is made. */
export interface UnaryOptions {
  token: string | undefined;
  timeoutMs: number;
  signal: AbortSignal;
  /** Further metadata, by lower-case names. */
  headers?: Readonly<Record<string, string>>;
}

/** One connection to the service, made anew for each attempt and thrown away with it. */
export interface AgentTransport {
  /** Registers. Rejects with an AgentError. */
  register(
    request: RegisterAgentRequest,
    options: { token: string | undefined; timeoutMs: number; signal: AbortSignal },
  ): Promise<RegisterAgentResponse>;
  open(token: string, events: StreamEvents): AgentStream;
  /** Any other call. Rejects with an AgentError. */
  unary<M extends DescMethodUnary>(
    method: M,
    request: MessageInitShape<M['input']>,
    options: UnaryOptions,
  ): Promise<MessageShape<M['output']>>;
  /** A watch. Throws an AgentError, also when the signal fires. */
  stream<M extends DescMethodServerStreaming>(
    method: M,
    request: MessageInitShape<M['input']>,
    options: { token: string | undefined; signal: AbortSignal },
  ): AsyncIterable<MessageShape<M['output']>>;
  close(): void;
}

/** TLS material, PEM. */
export interface TlsOptions {
  /** Certificates to trust instead of the system's. */
  ca?: Buffer;
  /** The agent's own certificate and key, where the service asks for one. */
  cert?: Buffer;
  key?: Buffer;
}
