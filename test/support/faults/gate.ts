import { once } from 'node:events';
import { createConnection, createServer, type Server, type Socket } from 'node:net';

/**
 * What a gate does to traffic. "refuse" resets what is connected and what comes; in "blackhole" nothing arrives and
 * nobody is told.
 */
export type Barrier = 'open' | 'refuse' | 'blackhole';

interface Pair {
  client: Socket;
  server: Socket | undefined;
}

/** A TCP proxy on loopback that can be shut in both ways for all connections, also new ones, and led elsewhere. */
export class Gate {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #port: number;
  #barrier: Barrier = 'open';

  private constructor(port: number) {
    this.#port = port;
    this.#server = createServer({ noDelay: true }, (client) => this.#accept(client));
  }

  /** @param port of the server on loopback; 0 if that is told later */
  static async start(port: number): Promise<Gate> {
    const gate = new Gate(port);
    gate.#server.listen(0, '127.0.0.1');
    await once(gate.#server, 'listening');
    return gate;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the gate is closed');
    return address.port;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Where new connections go from now on. */
  lead(port: number): void {
    this.#port = port;
  }

  shut(barrier: 'refuse' | 'blackhole'): void {
    this.#barrier = barrier;
    if (barrier === 'refuse') this.reset();
    else for (const pair of this.#pairs) hold(pair);
  }

  /** @param late what waited in a black hole arrives now; else its connections are reset */
  open(late: boolean): void {
    if (this.#barrier === 'blackhole' && !late) this.reset();
    this.#barrier = 'open';
    for (const pair of this.#pairs) this.#join(pair);
  }

  /** Resets every connection. */
  reset(): void {
    for (const { client, server } of this.#pairs) {
      client.resetAndDestroy();
      server?.resetAndDestroy();
    }
    this.#pairs.clear();
  }

  async close(): Promise<void> {
    this.reset();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    client.on('error', () => {});
    if (this.#barrier === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const pair: Pair = { client, server: undefined };
    this.#pairs.add(pair);
    client.on('close', () => this.#ended(pair));
    if (this.#barrier === 'blackhole') client.pause();
    else this.#join(pair);
  }

  #join(pair: Pair): void {
    const { client } = pair;
    if (pair.server === undefined) {
      const server = createConnection({ host: '127.0.0.1', port: this.#port, noDelay: true });
      server.on('error', () => {});
      server.on('close', () => this.#ended(pair));
      pair.server = server;
    }
    // Whichever end is gone, the other learns of it now.
    if (client.destroyed || pair.server.destroyed) {
      this.#ended(pair);
      return;
    }
    client.pipe(pair.server);
    pair.server.pipe(client);
  }

  #ended(pair: Pair): void {
    if (this.#barrier === 'blackhole') return;
    this.#pairs.delete(pair);
    pair.client.destroy();
    pair.server?.destroy();
  }
}

function hold({ client, server }: Pair): void {
  if (server === undefined) return;
  client.unpipe(server).pause();
  server.unpipe(client).pause();
}
