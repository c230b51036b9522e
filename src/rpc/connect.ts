import type { IncomingMessage, ServerResponse } from 'node:http';
import { constants } from 'node:http2';
import type { Message } from '@bufbuild/protobuf';
import {
  Code as ConnectCode,
  ConnectError,
  type ConnectRouter,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
} from '@connectrpc/connect';
import type { UniversalHandler } from '@connectrpc/connect/protocol';
import {
  compressionBrotli,
  compressionGzip,
  universalRequestFromNodeRequest,
} from '@connectrpc/connect-node';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { type ActiveCall, cancelled, deadlineExceeded } from './active-call.ts';
import { connectError, connectErrorJson } from './connect-errors.ts';
import { explainRefusal } from './connect-refusals.ts';
import { type NodeRequest, type NodeResponse, writeResponse } from './connect-response.ts';
import { ConnectSession } from './connect-session.ts';
import { describeRefusal } from './errors.ts';
import type { Protocol } from './observer.ts';
import { CallFailure, type Pipeline } from './pipeline.ts';
import type { Handler, ServiceBinding } from './service.ts';

export interface ConnectOptions {
  services: readonly ServiceBinding[];
  pipeline: Pipeline;
  maxMessageBytes: number;
  /** How long a client may leave the end of a call unread before its stream is broken off. */
  drainTimeoutMs: number;
  log: Logger;
}

/** Handles a request if its path is a method's; returns whether it did. */
export type ConnectHandler = (request: NodeRequest, response: NodeResponse) => boolean;

/** What Connect's context does not know of a call. */
interface Site {
  peer: string;
  /** Whether a method of ours took the call. */
  begun: boolean;
  abort: () => void;
}

const siteKey = createContextKey<Site>({ peer: 'unknown', begun: false, abort: () => {} });

/**
 * Serves Connect and gRPC-Web (and gRPC over HTTP/2) for the HTTP listener, by the same pipeline as the gRPC
 * listener. Unknown fields in JSON are refused: whoever writes JSON by hand must learn of a misspelt field.
 */
export function createConnectHandler(options: ConnectOptions): ConnectHandler {
  const router = createConnectRouter({
    readMaxBytes: options.maxMessageBytes,
    jsonOptions: { ignoreUnknownFields: false },
    acceptCompression: [compressionGzip, compressionBrotli],
    // Beyond it setTimeout overflows.
    maxTimeoutMs: 0x7fff_ffff,
  });
  for (const { handlers } of options.services)
    for (const handler of handlers) mount(router, handler, options);
  const methods = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  return (request, response) => {
    const handler = methods.get((request.url ?? '').split('?', 1)[0] ?? '');
    if (handler === undefined) return false;
    serve(options, handler, request, response).catch((error: unknown) => {
      // A request without a usable host, or a client that went away; what methods throw was mapped inside.
      options.log.debug({ err: error }, 'an RPC could not be answered');
      refuse(response);
    });
    return true;
  };
}

async function serve(
  options: ConnectOptions,
  handler: UniversalHandler,
  request: NodeRequest,
  response: NodeResponse,
): Promise<void> {
  const { remoteAddress, remotePort } = request.socket;
  const site: Site = {
    peer: `${remoteAddress ?? 'unknown'}:${remotePort ?? 0}`,
    begun: false,
    abort: () => breakOff(response),
  };
  const call = universalRequestFromNodeRequest(
    request as IncomingMessage,
    response as ServerResponse,
    undefined,
    createContextValues().set(siteKey, site),
  );
  const answer = await explainRefusal(await handler(call), () => site.begun);
  if (handler.method.methodKind !== 'unary') {
    await writeResponse(answer, response);
    return;
  }
  const { limits } = options.pipeline;
  limits.unread += 1;
  try {
    await writeResponse(answer, response);
    await closed(response);
  } finally {
    limits.unread -= 1;
  }
}

/** Resolves once the client has taken the answer or is gone; the HTTP server cuts off those that do neither. */
function closed(response: NodeResponse): Promise<void> {
  return new Promise((resolve) => {
    if (response.destroyed || response.writableFinished) resolve();
    else for (const event of ['finish', 'close']) response.once(event, resolve);
  });
}

/** Ends an answer that its client does not read. */
function breakOff(response: NodeResponse): void {
  if ('stream' in response) response.stream?.close(constants.NGHTTP2_CANCEL);
  else response.destroy();
}

function refuse(response: NodeResponse): void {
  if (response.headersSent || response.destroyed) {
    breakOff(response);
    return;
  }
  const message = 'the request cannot be read: its path or host is not valid';
  const body = connectErrorJson(describeRefusal({ reason: ErrorReason.MALFORMED_MESSAGE, message }));
  const out = response as ServerResponse;
  out.writeHead(400, { 'content-type': 'application/json', 'content-length': body.byteLength });
  out.end(body);
}

function mount(router: ConnectRouter, handler: Handler, options: ConnectOptions): void {
  const { pipeline } = options;
  switch (handler.kind) {
    case 'unary':
      router.rpc(
        handler.method as never,
        (async (request: Message, context: HandlerContext) => {
          const call = begin(handler, context, options);
          try {
            return await pipeline.unary(call, handler.handle, authorizationOf(context), () => request);
          } catch (error) {
            throw failure(error);
          }
        }) as never,
      );
      break;
    case 'server_stream':
      router.rpc(
        handler.method as never,
        ((request: Message, context: HandlerContext) => {
          const call = begin(handler, context, options);
          const authorization = authorizationOf(context);
          return failing(pipeline.serverStream(call, handler.handle, authorization, () => request));
        }) as never,
      );
      break;
    case 'bidi':
      router.rpc(
        handler.method as never,
        ((requests: AsyncIterable<Message>, context: HandlerContext) => {
          const call = begin(handler, context, options);
          return failing(pipeline.bidi(call, handler.handle, authorizationOf(context), readable(requests)));
        }) as never,
      );
      break;
    case 'session':
      router.rpc(
        handler.method as never,
        ((requests: AsyncIterable<Message>, context: HandlerContext) => {
          const call = begin(handler, context, options);
          const { method, handle } = handler;
          const { abort } = context.values.get(siteKey);
          const authorization = authorizationOf(context);
          const session = new ConnectSession({ pipeline, call, method, handle, authorization, abort });
          return failing(session.run(readable(requests)));
        }) as never,
      );
      break;
  }
}

const protocols: Record<string, Protocol> = { grpc: 'grpc', 'grpc-web': 'grpc_web', connect: 'connect' };

function begin(handler: Handler, context: HandlerContext, options: ConnectOptions): ActiveCall {
  const site = context.values.get(siteKey);
  site.begun = true;
  const info = {
    method: handler.method,
    protocol: protocols[context.protocolName] ?? 'connect',
    listener: 'http' as const,
    peer: site.peer,
    header: (name: string) => context.requestHeader.get(name) ?? undefined,
  };
  // A call ended early while its client does not read cannot say so: its stream is broken off.
  const onEnded = () => {
    if (context.signal.aborted) return;
    const linger = setTimeout(site.abort, options.drainTimeoutMs);
    linger.unref();
    context.signal.addEventListener('abort', () => clearTimeout(linger), { once: true });
  };
  const call = options.pipeline.begin(info, context.timeoutMs(), onEnded);
  const { signal } = context;
  const end = () => (isDeadline(signal.reason) ? call.end(deadlineExceeded()) : call.leave());
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
  return call;
}

function isDeadline(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === ConnectCode.DeadlineExceeded;
}

function authorizationOf(context: HandlerContext): string | undefined {
  return context.requestHeader.get('authorization') ?? undefined;
}

async function* failing(
  responses: AsyncGenerator<Message, void, undefined>,
): AsyncGenerator<Message, void, undefined> {
  try {
    yield* responses;
  } catch (error) {
    throw failure(error);
  }
}

/** Request messages; what Connect says of those that it cannot read, in our words. */
async function* readable(requests: AsyncIterable<Message>): AsyncGenerator<Message, void, undefined> {
  try {
    yield* requests;
  } catch (error) {
    const { code, rawMessage: message } = ConnectError.from(error);
    if (code === ConnectCode.Canceled || code === ConnectCode.Aborted) throw cancelled();
    const tooLarge = code === ConnectCode.ResourceExhausted;
    const reason = tooLarge ? ErrorReason.MESSAGE_TOO_LARGE : ErrorReason.MALFORMED_MESSAGE;
    throw new DomainError({ reason, message });
  }
}

function failure(error: unknown): unknown {
  return error instanceof CallFailure ? connectError(error.mapped) : error;
}
