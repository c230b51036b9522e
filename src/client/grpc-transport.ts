// Why grpc-js and not connect-node: the session is handled frame by frame in callbacks (no async iterator that can
// hang with a dead connection, connect-es#463), writes report back-pressure, and a client with a subchannel pool of
// its own gives each attempt a fresh connection, so that the backoff is ours alone and a dead one is never used again.
import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromBinary,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyUnpack } from '@bufbuild/protobuf/wkt';
import * as grpc from '@grpc/grpc-js';
import { ErrorInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type OpenSessionRequest,
  OpenSessionRequestSchema,
  OpenSessionResponseSchema,
  SessionService,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from './errors.ts';
import type { AgentStream, AgentTransport, StreamEvents, TlsOptions, UnaryOptions } from './transport.ts';

const identity = (bytes: Buffer): Buffer => bytes;

/** Connects by gRPC. `server` is "host:port", or "http://host:port" / "https://host:port" (TLS). */
export function createGrpcTransport(options: {
  server: string;
  tls?: TlsOptions | undefined;
}): AgentTransport {
  const { target, secure } = parseServer(options.server);
  const credentials =
    secure || options.tls !== undefined
      ? grpc.credentials.createSsl(options.tls?.ca, options.tls?.key, options.tls?.cert)
      : grpc.credentials.createInsecure();
  const client = new grpc.Client(target, credentials, {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
    'grpc.keepalive_time_ms': 30_000,
    'grpc.keepalive_timeout_ms': 10_000,
  });
  return {
    register: (request, call) => unary(client, AgentService.method.registerAgent, request, call),
    open: (token, events) => open(client, token, events),
    unary: (method, request, call) => unary(client, method, request, call),
    stream: (method, request, call) => stream(client, method, request, call),
    close: () => client.close(),
  };
}

function parseServer(server: string): { target: string; secure: boolean } {
  const match = /^(https?):\/\/([^/]+)\/?$/.exec(server);
  if (match?.[2] !== undefined) return { target: match[2], secure: match[1] === 'https' };
  if (server.includes('://') && !server.startsWith('unix://') && !server.startsWith('dns://')) {
    throw new AgentError({
      code: Code.INVALID_ARGUMENT,
      message: 'server must be "host:port", "http://host:port" or "https://host:port"',
    });
  }
  return { target: server, secure: false };
}

function unary<M extends DescMethodUnary>(
  client: grpc.Client,
  method: M,
  request: MessageInitShape<M['input']>,
  options: UnaryOptions,
): Promise<MessageShape<M['output']>> {
  const { signal } = options;
  const output: DescMessage = method.output;
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      pathOf(method),
      encoderOf(method),
      identity,
      create(method.input, request),
      bearer(options.token, options.headers),
      { deadline: Date.now() + options.timeoutMs },
      (error, bytes) => {
        signal.removeEventListener('abort', cancel);
        if (error !== null) return reject(toAgentError(error));
        try {
          const response = bytes ? fromBinary(output, bytes) : create(output);
          resolve(response as MessageShape<M['output']>);
        } catch (cause) {
          reject(malformed(cause));
        }
      },
    );
    const cancel = () => call.cancel();
    if (signal.aborted) cancel();
    else signal.addEventListener('abort', cancel, { once: true });
  });
}

async function* stream<M extends DescMethodServerStreaming>(
  client: grpc.Client,
  method: M,
  request: MessageInitShape<M['input']>,
  { token, signal }: { token: string | undefined; signal: AbortSignal },
): AsyncGenerator<MessageShape<M['output']>, void, undefined> {
  const output: DescMessage = method.output;
  const input = create(method.input, request);
  const call = client.makeServerStreamRequest(
    pathOf(method),
    encoderOf(method),
    identity,
    input,
    bearer(token),
  );
  const cancel = () => call.cancel();
  // It also fails after nobody reads it any more.
  call.on('error', () => {});
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  try {
    for await (const bytes of call as AsyncIterable<Buffer>) {
      let response: MessageShape<M['output']>;
      try {
        response = fromBinary(output, bytes) as MessageShape<M['output']>;
      } catch (cause) {
        throw malformed(cause);
      }
      yield response;
    }
  } catch (error) {
    throw error instanceof AgentError ? error : toAgentError(error as grpc.ServiceError);
  } finally {
    signal.removeEventListener('abort', cancel);
    call.cancel();
  }
}

const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

const encoderOf = (method: DescMethod) => (message: Message) => Buffer.from(toBinary(method.input, message));

function open(client: grpc.Client, token: string, events: StreamEvents): AgentStream {
  const call = client.makeBidiStreamRequest(
    pathOf(SessionService.method.openSession),
    (frame: OpenSessionRequest) => Buffer.from(toBinary(OpenSessionRequestSchema, frame)),
    identity,
    bearer(token),
  );
  let over = false;
  const end = (error: AgentError | undefined) => {
    if (over) return;
    over = true;
    events.ended(error);
  };
  call.on('data', (bytes: Buffer) => {
    if (over) return;
    let frame: ReturnType<typeof decode>;
    try {
      frame = decode(bytes);
    } catch (cause) {
      end(malformed(cause));
      call.cancel();
      return;
    }
    events.frame(frame);
  });
  call.on('drain', () => {
    if (!over) events.drained();
  });
  call.on('error', (error: grpc.ServiceError) => end(toAgentError(error)));
  call.on('status', (status: grpc.StatusObject) => {
    if (status.code === grpc.status.OK) end(undefined);
  });
  return {
    write: (frame) => !over && call.write(frame),
    end: () => call.end(),
    cancel: () => call.cancel(),
  };
}

function decode(bytes: Buffer) {
  return fromBinary(OpenSessionResponseSchema, bytes);
}

function bearer(token: string | undefined, headers: Readonly<Record<string, string>> = {}): grpc.Metadata {
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return metadata;
}

function malformed(cause: unknown): AgentError {
  return new AgentError({ code: Code.UNKNOWN, message: 'the service sent a malformed message', cause });
}

function toAgentError(error: grpc.ServiceError): AgentError {
  const text = (key: string) => error.metadata?.get(key)[0]?.toString();
  const retry = Number(text('retry-after-ms') ?? Number.NaN);
  return new AgentError({
    code: error.code,
    message: (error.details || error.message).replace(/ Resolution note: $/, ''), // grpc-js's, when it has none
    reason: text('error-reason') ?? '',
    retryAfterMs: Number.isFinite(retry) && retry >= 0 ? retry : undefined,
    metadata: metadataOf(error),
    cause: error,
  });
}

/** Of google.rpc.ErrorInfo among the details. */
function metadataOf({ metadata }: grpc.ServiceError): Record<string, string> {
  const status = metadata?.get('grpc-status-details-bin')[0];
  if (!(status instanceof Uint8Array)) return {};
  try {
    const { details } = fromBinary(StatusSchema, status);
    const info = details.map((detail) => anyUnpack(detail, ErrorInfoSchema)).find(Boolean);
    return { ...info?.metadata };
  } catch {
    return {}; // it says no more than the rest
  }
}
