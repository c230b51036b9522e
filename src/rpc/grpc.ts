import {
  Server,
  ServerCredentials,
  type ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import type { ListenerConfig } from '../config/config.ts';
import { Listener, type Rejection } from '../lib/listener.ts';
import type { Logger } from '../lib/logger.ts';
import { GrpcCall } from './grpc-call.ts';
import { GrpcHost } from './grpc-host.ts';
import { GrpcSession } from './grpc-session.ts';
import type { Pipeline } from './pipeline.ts';
import type { Handler, ServiceBinding } from './service.ts';

export interface GrpcListenerOptions {
  config: ListenerConfig & { maxStreamsPerConnection: number };
  maxMessageBytes: number;
  /** How long a client may leave the end of a call unread before its stream is reset. */
  drainTimeoutMs: number;
  services: readonly ServiceBinding[];
  pipeline: Pipeline;
  log: Logger;
  onRejected: (reason: Rejection) => void;
  /** Connections without any call are closed, politely, after this long; default 15 min. Agents have a call open. */
  maxConnectionIdleMs?: number;
  /** For tests: how often waiting calls and connections are looked at. */
  sweepMs?: number;
  certificatePollMs?: number;
}

export interface RunningListener {
  readonly address: { host: string; port: number };
  /** Open connections. */
  connections(): number;
  /** Accepts no more, lets calls finish for `graceMs`, then ends what is left. Bounded by about graceMs + 2 s. */
  close(options: { graceMs: number }): Promise<void>;
}

/** The length of an HTTP/2 client preface (RFC 9113, 3.4). */
const prefaceBytes = 24;

/** Serves gRPC over HTTP/2 with grpc-js, on connections that our own listener accepted. Throws a ListenError. */
export async function startGrpcListener(options: GrpcListenerOptions): Promise<RunningListener> {
  const { config, pipeline } = options;
  const sweep = options.sweepMs === undefined ? {} : { sweepMs: options.sweepMs };
  const host = new GrpcHost({
    pipeline,
    requestTimeoutMs: config.helloTimeoutMs,
    lingerMs: options.drainTimeoutMs,
    ...sweep,
  });
  const server = new Server({
    // channelz is not served, and its counters cost memory on every connection and call.
    'grpc.enable_channelz': 0,
    'grpc.max_receive_message_length': options.maxMessageBytes,
    // What services send is bounded by their page sizes and the session window.
    'grpc.max_send_message_length': -1,
    'grpc.max_concurrent_streams': config.maxStreamsPerConnection,
    'grpc.max_connection_idle_ms': options.maxConnectionIdleMs ?? 15 * 60_000,
    interceptors: [ownCalls(host, options.services)],
  });
  for (const service of options.services) server.addService(...definitionOf(service));
  // Connections arrive in the clear or with TLS done; either way grpc-js has no handshake to make.
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  let listener: Listener;
  try {
    listener = await Listener.open({
      key: 'grpc.listen',
      listen: config.listen,
      tls: config.tls,
      alpn: ['h2'],
      maxConnections: config.maxConnections,
      maxConnectionsPerAddress: config.maxConnectionsPerAddress,
      helloTimeoutMs: config.helloTimeoutMs,
      helloBytes: prefaceBytes,
      allowHalfOpen: false,
      log: options.log,
      onConnection: (socket) => injector.injectConnection(socket),
      onRejected: options.onRejected,
      ...sweep,
      ...(options.certificatePollMs === undefined ? {} : { certificatePollMs: options.certificatePollMs }),
    });
  } catch (error) {
    host.close();
    server.forceShutdown();
    throw error;
  }

  let closing: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    pipeline.leave();
    listener.stopAccepting();
    // GOAWAY to every connection: calls under way go on, and a connection closes with its last one.
    injector.drain(graceMs + 500);
    const forced = setTimeout(() => pipeline.endAll('grpc'), graceMs);
    await listener.close(graceMs + 500);
    clearTimeout(forced);
    server.forceShutdown();
    host.close();
  };
  return {
    address: listener.address,
    connections: () => listener.connections,
    close: ({ graceMs }) => {
      closing ??= close(graceMs);
      return closing;
    },
  };
}

/** Methods as grpc-js wants to know them; bytes stay bytes, because what is wrong with them is ours to say. */
function definitionOf({
  service,
  handlers,
}: ServiceBinding): [ServiceDefinition, Record<string, () => void>] {
  const methods = handlers.map(({ method, kind }) => [
    method.name,
    {
      path: `/${service.typeName}/${method.name}`,
      requestStream: kind === 'session' || kind === 'bidi',
      responseStream: kind !== 'unary',
      requestSerialize: asBuffer,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: asBuffer,
      responseDeserialize: (bytes: Buffer) => bytes,
    },
  ]);
  const unused = handlers.map(({ method }) => [method.name, () => {}]);
  return [Object.fromEntries(methods), Object.fromEntries(unused)];
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Takes every call over where grpc-js asks its interceptors, and so before it builds its own call objects: those
 * cost a Duplex for each stream and cannot be told what is wrong with a message. `start` is all that grpc-js calls.
 */
function ownCalls(host: GrpcHost, services: readonly ServiceBinding[]): ServerInterceptor {
  const handlers = new Map<string, Handler>();
  for (const { service, handlers: all } of services) {
    for (const handler of all) handlers.set(`/${service.typeName}/${handler.method.name}`, handler);
  }
  return (definition, call) => {
    const handler = handlers.get(definition.path);
    if (handler === undefined) throw new Error(`${definition.path} has no handler`);
    return new OwnedStart(host, call, handler) as unknown as ServerInterceptingCall;
  };
}

class OwnedStart {
  readonly #host: GrpcHost;
  readonly #call: ServerInterceptingCallInterface;
  readonly #handler: Handler;

  constructor(host: GrpcHost, call: ServerInterceptingCallInterface, handler: Handler) {
    this.#host = host;
    this.#call = call;
    this.#handler = handler;
  }

  start(): void {
    const handler = this.#handler;
    this.#call.start(
      handler.kind === 'session'
        ? new GrpcSession(this.#host, this.#call, handler.method, handler.handle)
        : new GrpcCall(this.#host, this.#call, handler),
    );
  }
}
