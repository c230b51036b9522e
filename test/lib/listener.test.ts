import { createConnection } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Listener, type Rejection } from '../../src/lib/listener.ts';
import { silentLogger } from '../../src/lib/logger.ts';

describe('a listener', () => {
  let listener: Listener | undefined;
  afterEach(() => listener?.close(1_000));

  it.each([
    ['cuts off a client that says nothing in time', 0, ['hello_timeout']],
    ['cuts nobody off for the time in which this process stood still', 500, []],
  ])('%s', async (_, blockMs, expected) => {
    const rejected: Rejection[] = [];
    const accepted = new Promise<void>((resolve) => {
      void Listener.open({
        key: 'grpc.listen',
        listen: '127.0.0.1:0',
        tls: undefined,
        alpn: [],
        maxConnections: 10,
        maxConnectionsPerAddress: 10,
        helloTimeoutMs: 200,
        helloBytes: 4,
        allowHalfOpen: false,
        sweepMs: 20,
        log: silentLogger,
        onConnection: (socket) => {
          socket.resume();
          resolve();
        },
        onRejected: (reason) => rejected.push(reason),
      }).then((started) => {
        listener = started;
        const client = createConnection(started.address);
        client.on('error', () => {});
        // It says hello, which waits in the socket while this process stands still.
        if (blockMs > 0) client.write('hello');
      });
    });
    await accepted;
    const endMs = performance.now() + blockMs;
    while (performance.now() < endMs);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(rejected).toEqual(expected);
  });
});
