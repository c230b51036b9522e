import type { DescMethod, DescService, MessageShape } from '@bufbuild/protobuf';

/** Who calls. Anonymous until access control arrives; an agent is who its token says, once a service checked it. */
export interface Principal {
  /** "anonymous", or "agent:<namespace>/<id>" as *claimed* by the token: services verify it against the stored hash. */
  name: string;
  /** The bearer token of the call. Never logged, never in a span. */
  token: string | undefined;
}

/** What a service method knows of its call; the same on both listeners. */
export interface CallContext {
  method: DescMethod;
  principal: Principal;
  /** "address:port" of the caller. */
  peer: string;
  /** Fires when the caller goes away, its deadline passes or the server leaves. Its reason is a DomainError where one fits. */
  signal: AbortSignal;
  /** Of server streams: the caller reads JSON, so that messages must be whole; else what is encoded already may be passed on. */
  json?: boolean;
  /** The W3C trace context of a unary call; empty: it brought none, or one that is not well-formed. */
  trace(): { traceparent: string; tracestate: string };
  /** Milliseconds until the caller's deadline, or undefined. */
  timeLeftMs(): number | undefined;
}

export type UnaryHandler<M extends DescMethod = DescMethod> = (
  request: MessageShape<M['input']>,
  context: CallContext,
) => Promise<MessageShape<M['output']>>;

/** Yields responses. A binding pulls the next one only when the transport has room: that is the backpressure. */
export type ServerStreamHandler<M extends DescMethod = DescMethod> = (
  request: MessageShape<M['input']>,
  context: CallContext,
) => AsyncIterable<MessageShape<M['output']>>;

/** The way down of one session stream, given by a binding. Bytes, because encoding is shared and pings are prebuilt. */
export interface SessionChannel {
  readonly peer: string;
  /** Queues one encoded response message. */
  send(message: Uint8Array): void;
  /** Bytes sent that the transport has not passed on yet; the session keeps this under its window. */
  pendingBytes(): number;
  /** Called whenever pendingBytes has fallen to 0. */
  onDrain: (() => void) | undefined;
  /** Ends the call: OK without an error. Idempotent. Messages sent before are still flushed unless `abort`. */
  end(error?: unknown, options?: EndOptions): void;
}

export interface EndOptions {
  /** Nothing more is flushed. */
  abort?: boolean;
  /** The client shall come back on another connection: this one takes no new calls, and ends with its last one. */
  retire?: boolean;
}

/** The way up: what a session does with what a binding brings it. Called in order, never concurrently. */
export interface SessionReceiver {
  /** One encoded request message; already within the size limit. */
  message(bytes: Uint8Array): void;
  /** The client half-closed. */
  halfClosed(): void;
  /** The call is over, whatever the cause; nothing follows. */
  closed(): void;
}

/** Opens a session on a bidirectional stream: frame by frame in callbacks, no async iterator on the hot path. */
export type SessionHandler = (channel: SessionChannel, context: CallContext) => SessionReceiver;

/** A bidirectional stream off the hot path (server reflection): plain async iterables, pulled as a server stream is. */
export type BidiHandler<M extends DescMethod = DescMethod> = (
  requests: AsyncIterable<MessageShape<M['input']>>,
  context: CallContext,
) => AsyncIterable<MessageShape<M['output']>>;

export type Handler =
  | { kind: 'unary'; method: DescMethod; handle: UnaryHandler }
  | { kind: 'server_stream'; method: DescMethod; handle: ServerStreamHandler }
  | { kind: 'session'; method: DescMethod; handle: SessionHandler }
  | { kind: 'bidi'; method: DescMethod; handle: BidiHandler };

/** One service with the handlers that a replica serves; bindings mount it as it is. */
export interface ServiceBinding {
  service: DescService;
  handlers: readonly Handler[];
  /** Set where every handler refuses, because the part is turned off: reflection and health leave it out. */
  gated?: boolean;
}

type MethodsOf<S extends DescService> = S['method'];

/** The implementation of service `S`: one function for each unary, server-streaming and bidirectional method. */
export type Implementation<S extends DescService> = {
  [K in keyof MethodsOf<S>]: MethodsOf<S>[K]['methodKind'] extends 'unary'
    ? UnaryHandler<MethodsOf<S>[K]>
    : MethodsOf<S>[K]['methodKind'] extends 'server_streaming'
      ? ServerStreamHandler<MethodsOf<S>[K]>
      : SessionHandler;
};

/** Binds an implementation to its service; a missing method is a compile error. */
export function bindService<S extends DescService>(
  service: S,
  implementation: Implementation<S>,
): ServiceBinding {
  const table = implementation as unknown as Record<
    string,
    UnaryHandler & ServerStreamHandler & SessionHandler
  >;
  const handlers = service.methods.map((method): Handler => {
    const handle = table[method.localName];
    if (handle === undefined) throw new Error(`${service.typeName}.${method.name} has no implementation`);
    switch (method.methodKind) {
      case 'unary':
        return { kind: 'unary', method, handle };
      case 'server_streaming':
        return { kind: 'server_stream', method, handle };
      case 'bidi_streaming':
        return { kind: 'session', method, handle };
      default:
        throw new Error(`${method.name}: client streaming is not part of this API`);
    }
  });
  return { service, handlers };
}
