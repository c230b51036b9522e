import { createConnection, createServer, type Server, type Socket } from 'node:net';

/** A TCP link to the service that can be slow or go silent without closing. */
export interface Link {
  /** "host:port" to connect to. */
  address: string;
  /** While true, no byte passes and nobody is told. */
  freeze(frozen: boolean): void;
  close(): void;
}

export interface LinkOptions {
  /** "host:port" of the service. */
  target: string;
  /** Added to each way, milliseconds; asked for every chunk. Order is kept. */
  delayMs?: () => number;
}

export async function openLink(options: LinkOptions): Promise<Link> {
  const sockets = new Set<Socket>();
  let frozen = false;
  const delayMs = options.delayMs ?? (() => 0);
  const server = createServer({ noDelay: true }, (near) => {
    const colon = options.target.lastIndexOf(':');
    const far = createConnection(Number(options.target.slice(colon + 1)), options.target.slice(0, colon));
    far.setNoDelay(true);
    join(near, far, delayMs);
    for (const socket of [near, far]) {
      sockets.add(socket);
      if (frozen) socket.pause();
      socket.on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
  });
  const address = await listen(server);
  return {
    address,
    freeze(now) {
      frozen = now;
      for (const socket of sockets) frozen ? socket.pause() : socket.resume();
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

function join(near: Socket, far: Socket, delayMs: () => number): void {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    let due = 0;
    from.on('data', (bytes) => {
      due = Math.max(due, performance.now() + delayMs());
      setTimeout(() => to.destroyed || to.write(bytes), due - performance.now());
    });
  }
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? `127.0.0.1:${address.port}` : '');
    });
  });
}
