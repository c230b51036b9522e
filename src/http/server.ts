import { createServer, type Server } from 'node:http';
import { createServer as createHttp2Server, type Http2Server, type ServerHttp2Session } from 'node:http2';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { ListenerConfig } from '../config/config.ts';
import { Listener, type Rejection } from '../lib/listener.ts';
import type { Logger } from '../lib/logger.ts';
import { createConnectHandler } from '../rpc/connect.ts';
import type { NodeRequest, NodeResponse } from '../rpc/connect-response.ts';
import type { RunningListener } from '../rpc/grpc.ts';
import type { Pipeline } from '../rpc/pipeline.ts';
import type { ServiceBinding } from '../rpc/service.ts';
import { createEventsRoute, type EventsOptions } from './events.ts';
import { createPages, type PagesOptions } from './pages.ts';
import { Requests } from './requests.ts';

export interface HttpListenerOptions {
  config: ListenerConfig;
  pipeline: Pipeline;
  services: readonly ServiceBinding[];
  maxMessageBytes: number;
  /** What the pages show: see PagesOptions. */
  pages: Omit<PagesOptions, 'services' | 'log' | 'events'>;
  /** How events are sent that come by POST /events; absent: none are taken. */
  events?: EventsOptions;
  /** How long a client may leave the end of an answer unread. */
  drainTimeoutMs: number;
  log: Logger;
  onRejected: (reason: Rejection) => void;
  /** How long a request body may take; default 30 s. */
  requestTimeoutMs?: number;
  /** How long a connection may be idle between requests; default 75 s. */
  idleTimeoutMs?: number;
  maxStreamsPerConnection?: number;
  /** For tests: how often slow requests and connections are looked at. */
  sweepMs?: number;
  certificatePollMs?: number;
}

/** The first bytes of an HTTP/2 connection (RFC 9113, 3.4); no HTTP/1 method begins so. */
const http2Start = Buffer.from('PRI');

/**
 * Serves HTTP/1.1 and HTTP/2 on one port: by ALPN with TLS, in the clear by the first bytes. Throws a ListenError.
 * No CORS headers are sent: only pages of the same origin may read answers.
 */
export async function startHttpListener(options: HttpListenerOptions): Promise<RunningListener> {
  const { config, pipeline } = options;
  const sweepMs = options.sweepMs ?? 1_000;
  const idleTimeoutMs = options.idleTimeoutMs ?? 75_000;
  const requestTimeoutMs = options.requestTimeoutMs ?? 30_000;
  const requests = new Requests({ requestTimeoutMs, drainTimeoutMs: options.drainTimeoutMs, sweepMs });
  const connect = createConnectHandler(options);
  const names = options.services.filter(({ gated }) => gated !== true).map(({ service }) => service.typeName);
  const pages = createPages({
    ...options.pages,
    services: names,
    log: options.log,
    ...(options.events === undefined ? {} : { events: createEventsRoute({ ...options, ...options.events }) }),
  });
  const streams = streamPaths(options.services);
  let leaving = false;
  const handle = (request: NodeRequest, response: NodeResponse): void => {
    requests.add(request, response, streams.has(request.url ?? ''));
    response.on('error', ignore);
    if (leaving && request.httpVersionMajor === 1) response.setHeader('connection', 'close');
    if (!connect(request, response)) pages(request, response);
  };
  const http1 = createHttp1(
    { helloTimeoutMs: config.helloTimeoutMs, idleTimeoutMs, requestTimeoutMs, sweepMs },
    handle,
  );
  const http2 = createHttp2({ idleTimeoutMs, maxStreams: options.maxStreamsPerConnection ?? 1_000 }, handle);

  const onConnection = (socket: Socket | TLSSocket) => {
    if (socket instanceof TLSSocket) {
      (socket.alpnProtocol === 'h2' ? http2 : http1).server.emit('connection', socket);
    } else {
      firstBytes(socket, (isHttp2) => (isHttp2 ? http2 : http1).server.emit('connection', socket));
    }
  };
  let listener: Listener;
  try {
    listener = await Listener.open({
      key: 'http.listen',
      listen: config.listen,
      tls: config.tls,
      alpn: ['h2', 'http/1.1'],
      maxConnections: config.maxConnections,
      maxConnectionsPerAddress: config.maxConnectionsPerAddress,
      helloTimeoutMs: config.helloTimeoutMs,
      helloBytes: http2Start.length,
      allowHalfOpen: true,
      log: options.log,
      onConnection,
      onRejected: options.onRejected,
      sweepMs,
      ...(options.certificatePollMs === undefined ? {} : { certificatePollMs: options.certificatePollMs }),
    });
  } catch (error) {
    requests.close();
    http1.close();
    throw error;
  }

  let closing: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    leaving = true;
    pipeline.leave();
    listener.stopAccepting();
    http1.leave();
    http2.leave();
    const forced = setTimeout(() => pipeline.endAll('http'), graceMs);
    await listener.close(graceMs + 500);
    clearTimeout(forced);
    requests.close();
    http1.close();
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

/** The methods whose request lasts as long as the call. */
function streamPaths(services: readonly ServiceBinding[]): ReadonlySet<string> {
  const endless = services.flatMap(({ service, handlers }) =>
    handlers
      .filter(({ kind }) => kind === 'session' || kind === 'bidi')
      .map(({ method }) => `/${service.typeName}/${method.name}`),
  );
  return new Set(endless);
}

type Handle = (request: NodeRequest, response: NodeResponse) => void;

function createHttp1(
  limits: { helloTimeoutMs: number; idleTimeoutMs: number; requestTimeoutMs: number; sweepMs: number },
  handle: Handle,
): { server: Server; leave: () => void; close: () => void } {
  const server = createServer(
    {
      headersTimeout: limits.helloTimeoutMs,
      requestTimeout: Math.max(limits.requestTimeoutMs, limits.helloTimeoutMs),
      keepAliveTimeout: limits.idleTimeoutMs,
      connectionsCheckingInterval: limits.sweepMs,
      maxHeaderSize: 16 * 1_024,
    },
    handle,
  );
  // Node starts its checks of slow headers when a server listens. This one is given connections instead.
  server.emit('listening');
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const status = error.code === 'ERR_HTTP_REQUEST_TIMEOUT' ? '408 Request Timeout' : '400 Bad Request';
    socket.end(`HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`, () =>
      socket.destroy(),
    );
  });
  return {
    server,
    leave: () => server.closeIdleConnections(),
    // It never listened, so that close only ends its checks; its complaint about that is of no interest.
    close: () => void server.close(ignore),
  };
}

function createHttp2(
  limits: { idleTimeoutMs: number; maxStreams: number },
  handle: Handle,
): { server: Http2Server; leave: () => void } {
  const sessions = new Set<ServerHttp2Session>();
  let leaving = false;
  const server = createHttp2Server({ settings: { maxConcurrentStreams: limits.maxStreams } }, handle);
  server.on('sessionError', ignore);
  server.on('session', (session) => {
    sessions.add(session);
    session.once('close', () => sessions.delete(session));
    // Polite: streams that are open go on, and the connection closes with the last one.
    session.setTimeout(limits.idleTimeoutMs, () => session.close());
    if (leaving) session.close();
  });
  return {
    server,
    leave: () => {
      leaving = true;
      for (const session of sessions) session.close();
    },
  };
}

/** Tells HTTP/2 from HTTP/1 by the first bytes, and puts them back. Silent connections are the listener's to cut. */
function firstBytes(socket: Socket, decide: (isHttp2: boolean) => void): void {
  let head = Buffer.alloc(0);
  const onReadable = () => {
    for (let bytes = socket.read() as Buffer | null; bytes !== null; bytes = socket.read() as Buffer | null) {
      head = Buffer.concat([head, bytes]);
    }
    const known = head.subarray(0, http2Start.length);
    const mayBe = known.equals(http2Start.subarray(0, known.length));
    if (mayBe && known.length < http2Start.length) return;
    socket.off('readable', onReadable);
    socket.off('end', onEnd);
    // Put back only now: unshifting makes the socket readable again.
    socket.unshift(head);
    decide(mayBe);
  };
  const onEnd = () => socket.destroy();
  socket.on('readable', onReadable);
  socket.once('end', onEnd);
}

const ignore = () => {};
