import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from 'node:tls';
import { CertificateFiles } from './certificate-files.ts';
import { ListenError } from './listen-error.ts';
import type { Logger } from './logger.ts';

/**
 * Connections that may wait to be accepted (the system's own limit, net.core.somaxconn, holds too). What does not fit is
 * dropped and tried again by the client's kernel after 1, 3, 7… s: a fleet that comes back at once shall fit.
 */
const BACKLOG = 4_096;

/** Why a connection was turned away or cut off. */
export type Rejection =
  | 'connection_limit'
  | 'address_limit'
  /** TLS handshake or first bytes did not come in time. */
  | 'hello_timeout'
  | 'tls_failed';

export interface ListenerOptions {
  /** The configuration key, for errors: "grpc.listen". */
  key: string;
  /** "host:port" or "[v6]:port"; port 0 takes a free one. */
  listen: string;
  tls: { certFile: string; keyFile: string } | undefined;
  /** Protocols offered by ALPN, in order of preference. */
  alpn: readonly string[];
  maxConnections: number;
  maxConnectionsPerAddress: number;
  helloTimeoutMs: number;
  /** Bytes that a client must send, after the TLS handshake, to have said hello. */
  helloBytes: number;
  /** Whether a client may end its side and still read the answer, as HTTP/1 clients do. */
  allowHalfOpen: boolean;
  log: Logger;
  /** Takes a connection over, after its TLS handshake; a TLSSocket if `tls`. */
  onConnection: (socket: Socket | TLSSocket) => void;
  onRejected: (reason: Rejection) => void;
  /** How often silent connections are looked at and certificate files checked; default 1 s and 5 s. */
  sweepMs?: number;
  certificatePollMs?: number;
}

/** TCP keepalive finds peers that vanished without a word; the kernel does it, so it costs no timer. */
const tcpKeepAliveMs = 30_000;
/** A sweep this much too late says that the process did not run. */
const STALL_MS = 100;
/** A peer that vanished never ends its side. */
const lingerMs = 5_000;

/**
 * Accepts connections for a server that does not listen itself (grpc-js, node:http, node:http2): caps them in total
 * and by address, cuts off those that say nothing, does TLS and reloads its certificate.
 */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #perAddress = new Map<string, number>();
  /** Connections that have not said hello, with the time (monotonic ms) when they must have. */
  readonly #silent = new Map<Socket, number>();
  /** Connections that we have ended and the other side has not, with the time when they are destroyed. */
  readonly #ending = new Map<Socket, number>();
  readonly #sweeper: NodeJS.Timeout;
  readonly #sweepMs: number;
  #sweptMs = performance.now();
  #tls: TlsServer | undefined;
  #certificate: CertificateFiles | undefined;

  private constructor(options: ListenerOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: options.allowHalfOpen, noDelay: true }, (socket) =>
      this.#accept(socket),
    );
    this.#sweepMs = options.sweepMs ?? 1_000;
    this.#sweeper = setInterval(() => this.#sweep(), this.#sweepMs);
    this.#sweeper.unref();
  }

  /** Opens the listener. Throws a ListenError. */
  static async open(options: ListenerOptions): Promise<Listener> {
    const listener = new Listener(options);
    try {
      await listener.#openTls();
      await listener.#listen();
      return listener;
    } catch (error) {
      listener.#release();
      throw error;
    }
  }

  get address(): { host: string; port: number } {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Accepts no more; what is open stays. */
  stopAccepting(): void {
    if (this.#server.listening) this.#server.close();
  }

  /** Resolves when nothing is open any more, or after `timeoutMs`; then cuts off what is left and waits for it to go. */
  async close(timeoutMs: number): Promise<void> {
    this.stopAccepting();
    if (!(await this.#empty(timeoutMs))) {
      for (const socket of this.#sockets) socket.destroy();
      await this.#empty(1_000);
    }
    this.#release();
  }

  /** Marks a connection as having said hello before `helloBytes` could show it. */
  spoke(socket: Socket): void {
    this.#silent.delete(socket);
  }

  #release(): void {
    clearInterval(this.#sweeper);
    this.#certificate?.close();
    if (this.#server.listening) this.#server.close();
  }

  async #empty(timeoutMs: number): Promise<boolean> {
    if (this.#sockets.size === 0) return true;
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle(false), timeoutMs);
      const onGone = () => this.#sockets.size === 0 && settle(true);
      const settle = (empty: boolean) => {
        clearTimeout(timer);
        this.#server.off('gone', onGone);
        resolve(empty);
      };
      this.#server.on('gone', onGone);
    });
  }

  async #openTls(): Promise<void> {
    const { tls, alpn, helloTimeoutMs, log, key } = this.#options;
    if (tls === undefined) return;
    const files = await CertificateFiles.open({
      ...tls,
      key,
      log,
      pollMs: this.#options.certificatePollMs ?? 5_000,
      onChange: (pair) => this.#tls?.setSecureContext({ ...pair, minVersion: 'TLSv1.2' }),
    });
    this.#certificate = files;
    // It never listens: accepted sockets are handed to it, after the caps were checked.
    this.#tls = createTlsServer(
      {
        ...files.pair,
        minVersion: 'TLSv1.2',
        ALPNProtocols: [...alpn],
        handshakeTimeout: helloTimeoutMs,
        allowHalfOpen: this.#options.allowHalfOpen,
      },
      (socket) => this.#handOver(socket),
    );
    this.#tls.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      this.#options.onRejected(error.code === 'ERR_TLS_HANDSHAKE_TIMEOUT' ? 'hello_timeout' : 'tls_failed');
      socket.destroy();
    });
  }

  async #listen(): Promise<void> {
    const { key, listen } = this.#options;
    const { host, port } = parseAddress(key, listen);
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) =>
        reject(new ListenError(explain(key, listen, error))),
      );
      this.#server.listen({ host, port, backlog: BACKLOG }, () => {
        this.#server.removeAllListeners('error');
        this.#server.on('error', (error) =>
          this.#options.log.error({ err: error, listener: key }, 'accepting failed'),
        );
        resolve();
      });
    });
  }

  #accept(socket: Socket): void {
    const { maxConnections, maxConnectionsPerAddress } = this.#options;
    const address = socket.remoteAddress;
    if (address === undefined) {
      // Gone before it was accepted.
      socket.destroy();
      return;
    }
    const fromHere = this.#perAddress.get(address) ?? 0;
    if (this.#sockets.size >= maxConnections) {
      this.#reject(socket, 'connection_limit');
      return;
    }
    if (fromHere >= maxConnectionsPerAddress) {
      this.#reject(socket, 'address_limit');
      return;
    }
    this.#perAddress.set(address, fromHere + 1);
    this.#sockets.add(socket);
    socket.setKeepAlive(true, tcpKeepAliveMs);
    socket.once('close', () => this.#gone(socket, address));
    socket.once('finish', () => this.#ending.set(socket, performance.now() + lingerMs));
    // The server that takes the socket over adds its own; without one a reset would end the process.
    socket.on('error', ignore);
    if (this.#tls !== undefined) this.#tls.emit('connection', socket);
    else this.#handOver(socket);
  }

  #handOver(socket: Socket | TLSSocket): void {
    this.#silent.set(socket, performance.now() + this.#options.helloTimeoutMs);
    if (this.#tls !== undefined) {
      socket.on('error', ignore);
      socket.once('close', () => this.#silent.delete(socket));
    }
    this.#options.onConnection(socket);
  }

  #gone(socket: Socket, address: string): void {
    this.#sockets.delete(socket);
    this.#silent.delete(socket);
    this.#ending.delete(socket);
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left === 0) this.#perAddress.delete(address);
    else this.#perAddress.set(address, left);
    this.#server.emit('gone');
  }

  #reject(socket: Socket, reason: Rejection): void {
    this.#options.onRejected(reason);
    socket.on('error', ignore);
    if (socket instanceof TLSSocket) socket.destroy();
    else socket.resetAndDestroy();
  }

  /** Looks at bytes already counted by the kernel handle, so that a talking connection costs nothing. */
  #sweep(): void {
    const now = performance.now();
    const late = now - this.#sweptMs - this.#sweepMs;
    this.#sweptMs = now;
    // A process that stood still, or is too busy to read what was said, cuts nobody off for its own slowness.
    const stalledMs = late > STALL_MS ? late : 0;
    for (const [socket, deadline] of this.#silent) {
      if (socket.bytesRead >= this.#options.helloBytes) this.#silent.delete(socket);
      else if (stalledMs > 0) this.#silent.set(socket, deadline + stalledMs);
      else if (now >= deadline) this.#reject(socket, 'hello_timeout');
    }
    for (const [socket, deadline] of this.#ending) {
      if (now >= deadline) socket.destroy();
    }
  }
}

const ignore = () => {};

function parseAddress(key: string, listen: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(listen);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new ListenError(`${key}: "${listen}" is not host:port`);
  }
  return { host: match[1] ?? match[2] ?? '', port };
}

function explain(key: string, listen: string, error: NodeJS.ErrnoException): string {
  const known: Record<string, string> = {
    EADDRINUSE: 'another process listens there already',
    EACCES: 'this user may not listen there',
    EADDRNOTAVAIL: 'this machine does not have that address',
    ENOTFOUND: 'the host name is unknown',
  };
  return `${key}: cannot listen on ${listen}: ${known[error.code ?? ''] ?? error.message}`;
}
