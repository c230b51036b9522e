import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** One replica behind the balancer. */
export interface Backend {
  /** "host:port" of its gRPC listener. */
  grpc: string;
  /** "host:port" of its HTTP listener, whose /readyz is asked. */
  http: string;
}

interface Target extends Backend {
  up: boolean;
  connections: number;
}

export interface TcpBalancerOptions {
  backends: readonly Backend[];
  /** How often /readyz is asked; default 250 ms. One answer decides. */
  checkMs?: number;
}

/**
 * A TCP balancer on loopback as one stands before replicas: the fewest connections first, only where /readyz answers
 * 200, and another backend when a connection is refused. It never cuts a connection because a backend is leaving.
 */
export class TcpBalancer {
  readonly #targets: Target[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #checkMs: number;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  private constructor(options: TcpBalancerOptions) {
    this.#targets = options.backends.map((backend) => ({ ...backend, up: true, connections: 0 }));
    this.#checkMs = options.checkMs ?? 250;
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  static async start(options: TcpBalancerOptions): Promise<TcpBalancer> {
    const balancer = new TcpBalancer(options);
    await new Promise<void>((resolve) => balancer.#server.listen(0, '127.0.0.1', resolve));
    balancer.#check();
    return balancer;
  }

  /** "host:port" to connect to. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the balancer is closed');
    return `127.0.0.1:${address.port}`;
  }

  /** Another replica, from now on. */
  add(backend: Backend): void {
    this.#targets.push({ ...backend, up: true, connections: 0 });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #check(): void {
    const asked = this.#targets.map(async (target) => {
      const signal = AbortSignal.timeout(this.#checkMs);
      const answer = await fetch(`http://${target.http}/readyz`, { signal }).catch(() => undefined);
      await answer?.arrayBuffer().catch(() => {});
      target.up = answer?.status === 200;
    });
    void Promise.all(asked).then(() => {
      if (!this.#closed) this.#timer = setTimeout(() => this.#check(), this.#checkMs);
    });
  }

  #accept(client: Socket): void {
    this.#track(client);
    this.#connect(client, new Set());
  }

  #connect(client: Socket, tried: Set<Target>): void {
    const [target] = this.#targets
      .filter((candidate) => candidate.up && !tried.has(candidate))
      .sort((a, b) => a.connections - b.connections);
    if (target === undefined) {
      client.destroy();
      return;
    }
    tried.add(target);
    const colon = target.grpc.lastIndexOf(':');
    const [host, port] = [target.grpc.slice(0, colon), Number(target.grpc.slice(colon + 1))];
    const server = createConnection({ host, port, noDelay: true });
    this.#track(server);
    let joined = false;
    target.connections += 1;
    server.once('connect', () => {
      joined = true;
      client.pipe(server).pipe(client);
    });
    server.once('close', () => {
      target.connections -= 1;
      if (joined || client.destroyed) client.destroy();
      else this.#connect(client, tried);
    });
    client.once('close', () => server.destroy());
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
