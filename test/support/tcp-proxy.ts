import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** Which way bytes go: up to the server or down to the client. */
export type Direction = 'up' | 'down';

interface Chunk {
  dueMs: number;
  /** Undefined: the sender's end of stream. */
  bytes: Buffer | undefined;
}

/** One way of one connection: holds chunks until they are due. */
class Lane {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #delayMs: () => number;
  readonly #queue: Chunk[] = [];
  #stalled = false;
  #armed: { cancel(): void } | undefined;

  constructor(options: { from: Socket; to: Socket; delayMs: () => number }) {
    this.#from = options.from;
    this.#to = options.to;
    this.#delayMs = options.delayMs;
    this.#from.on('data', (bytes) => this.#take(bytes as Buffer));
    this.#from.on('end', () => this.#take(undefined));
  }

  /** Stops reading and forwarding, as a link without bandwidth does; bytes wait in the sender's buffers. */
  stall(stalled: boolean): void {
    this.#stalled = stalled;
    if (stalled) this.#from.pause();
    else this.#from.resume();
    this.#flush();
  }

  close(): void {
    this.#armed?.cancel();
    this.#armed = undefined;
    this.#queue.length = 0;
  }

  #take(bytes: Buffer | undefined): void {
    this.#queue.push({ dueMs: performance.now() + this.#delayMs(), bytes });
    this.#flush();
  }

  #flush(): void {
    if (this.#stalled || this.#armed !== undefined) return;
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      const remainingMs = head.dueMs - performance.now();
      if (remainingMs > 0) {
        this.#arm(remainingMs);
        return;
      }
      this.#queue.shift();
      if (this.#to.destroyed) continue;
      if (head.bytes === undefined) this.#to.end();
      else this.#to.write(head.bytes);
    }
  }

  /** Timers are exact to a millisecond or two; the last stretch is spent turning the event loop. */
  #arm(remainingMs: number): void {
    const fire = () => {
      this.#armed = undefined;
      this.#flush();
    };
    if (remainingMs > 2) {
      const timer = setTimeout(fire, remainingMs - 2);
      this.#armed = { cancel: () => clearTimeout(timer) };
    } else {
      const immediate = setImmediate(fire);
      this.#armed = { cancel: () => clearImmediate(immediate) };
    }
  }
}

export class ProxiedConnection {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #lanes: Record<Direction, Lane>;
  #severed = false;

  constructor(options: { client: Socket; server: Socket; proxy: TcpProxy; onClose: () => void }) {
    const { client, server, proxy } = options;
    this.#client = client;
    this.#server = server;
    this.#lanes = {
      up: new Lane({ from: client, to: server, delayMs: () => proxy.delayMs.up }),
      down: new Lane({ from: server, to: client, delayMs: () => proxy.delayMs.down }),
    };
    const closed = (other: Socket) => () => {
      if (!this.#severed) other.destroy();
      if (client.destroyed && server.destroyed) {
        this.#lanes.up.close();
        this.#lanes.down.close();
        options.onClose();
      }
    };
    client.on('close', closed(server)).on('error', () => {});
    server.on('close', closed(client)).on('error', () => {});
  }

  /** Stops the given ways, or both: a black hole. Nobody is told. */
  stall(stalled: boolean, ...directions: Direction[]): void {
    for (const way of directions.length === 0 ? (['up', 'down'] as const) : directions) {
      this.#lanes[way].stall(stalled);
    }
  }

  /** RST to both sides. */
  cut(): void {
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
  }

  /** The client vanishes and the server is not told: a half-open connection. */
  sever(): void {
    this.#severed = true;
    this.stall(true);
    this.#client.destroy();
  }

  destroy(): void {
    this.#client.destroy();
    this.#server.destroy();
  }
}

/** A TCP proxy on loopback whose links can be slow, dead, cut or half-open. */
export class TcpProxy {
  /** Added to each way, milliseconds; may be changed at any time. */
  readonly delayMs = { up: 0, down: 0 };
  readonly connections = new Set<ProxiedConnection>();
  readonly #server: Server;
  readonly #target: string;

  private constructor(options: { target: string; delayMs?: number }) {
    this.#target = options.target;
    this.delayMs.up = options.delayMs ?? 0;
    this.delayMs.down = options.delayMs ?? 0;
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (client) => this.#accept(client));
  }

  static async start(options: { target: string; delayMs?: number }): Promise<TcpProxy> {
    const proxy = new TcpProxy(options);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  /** "host:port" to connect to. */
  get address(): string {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the proxy is closed');
    return `127.0.0.1:${address.port}`;
  }

  /** Cuts every connection. */
  cut(): void {
    for (const connection of this.connections) connection.cut();
  }

  stall(stalled: boolean, ...directions: Direction[]): void {
    for (const connection of this.connections) connection.stall(stalled, ...directions);
  }

  async close(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(client: Socket): void {
    const colon = this.#target.lastIndexOf(':');
    const server = createConnection({
      host: this.#target.slice(0, colon),
      port: Number(this.#target.slice(colon + 1)),
      noDelay: true,
      allowHalfOpen: true,
    });
    const connection = new ProxiedConnection({
      client,
      server,
      proxy: this,
      onClose: () => this.connections.delete(connection),
    });
    this.connections.add(connection);
  }
}
