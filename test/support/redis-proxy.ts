import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

/** A TCP proxy in front of a server on loopback, for the faults that a network has. */
export interface FaultProxy {
  readonly port: number;
  /** Where new connections go. */
  target(port: number): void;
  /** From now on what the server sends is thrown away, on all connections. */
  swallowAnswers(on: boolean): void;
  /** From now on what clients send waits, in order, until it is released or dropped. */
  holdRequests(on: boolean): void;
  /** Resolves when something was swallowed or is held since the last switch. */
  caught(): Promise<void>;
  /** Ends every connection to clients; what they had sent still reaches the server if it was held and is released. */
  cut(options?: { keepUpstream?: boolean }): void;
  /** Hands what is held of cut connections to the server after all. */
  releaseOrphans(): void;
  close(): Promise<void>;
}

interface Pair {
  client: Socket;
  upstream: Socket;
  held: Buffer[];
}

export async function startProxy(targetPort: number): Promise<FaultProxy> {
  const pairs = new Set<Pair>();
  const orphans = new Set<Pair>();
  let upstreamPort = targetPort;
  let swallow = false;
  let hold = false;
  let onCaught: (() => void)[] = [];
  const noteCatch = (): void => {
    for (const wake of onCaught) wake();
    onCaught = [];
  };
  const server = createServer((client) => {
    const upstream = connect(upstreamPort, '127.0.0.1');
    const pair: Pair = { client, upstream, held: [] };
    pairs.add(pair);
    client.on('data', (chunk) => {
      if (hold) {
        pair.held.push(chunk);
        noteCatch();
      } else upstream.write(chunk);
    });
    upstream.on('data', (chunk) => {
      if (swallow) noteCatch();
      else client.write(chunk);
    });
    const end = (): void => {
      pairs.delete(pair);
      client.destroy();
      if (!orphans.has(pair)) upstream.destroy();
    };
    for (const socket of [client, upstream]) socket.on('error', () => {}).on('close', end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    target: (port) => {
      upstreamPort = port;
    },
    swallowAnswers: (on) => {
      swallow = on;
    },
    holdRequests: (on) => {
      hold = on;
      if (on) return;
      for (const pair of pairs) for (const chunk of pair.held.splice(0)) pair.upstream.write(chunk);
    },
    caught: () =>
      new Promise((resolve) => {
        onCaught.push(resolve);
      }),
    cut: ({ keepUpstream = false } = {}) => {
      for (const pair of [...pairs]) {
        pairs.delete(pair);
        if (keepUpstream) orphans.add(pair);
        pair.client.destroy();
        if (!keepUpstream) pair.upstream.destroy();
      }
    },
    releaseOrphans: () => {
      for (const pair of orphans) for (const chunk of pair.held.splice(0)) pair.upstream.write(chunk);
    },
    close: async () => {
      for (const pair of [...pairs, ...orphans]) {
        pair.client.destroy();
        pair.upstream.destroy();
      }
      server.close();
      await once(server, 'close');
    },
  };
}
