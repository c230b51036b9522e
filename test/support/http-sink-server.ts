import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo } from 'node:net';

export interface Received {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
}

/** An HTTP server that keeps what it got, and answers as a test says. */
export class HttpSinkServer {
  readonly received: Received[] = [];
  /** Set it to have another answer; 200 without a body by default. */
  answer: (request: Received, response: ServerResponse) => void = (_request, response) => response.end();
  readonly #server: Server;
  #waiting: (() => void)[] = [];

  private constructor(tls: { cert: string; key: string } | undefined) {
    const take = (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const { method = '', url = '', headers } = request;
        const received = { method, path: url, headers, body: Buffer.concat(chunks).toString('utf8') };
        this.received.push(received);
        this.answer(received, response);
        for (const wake of this.#waiting.splice(0)) wake();
      });
    };
    this.#server = tls === undefined ? createServer(take) : createSecureServer(tls, take);
  }

  static async start(tls?: { cert: string; key: string }): Promise<HttpSinkServer> {
    const server = new HttpSinkServer(tls);
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve));
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Resolves once so many requests have come. */
  async got(count: number): Promise<Received[]> {
    while (this.received.length < count) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    return this.received;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}
