import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import { createServer as createHttpsServer } from 'node:https';
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server as NetServer,
  type Socket,
} from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { ProbeOutcome, ServiceConfig } from '../../../src/domain/monitoring/services/ports.ts';
import { createProbes } from '../../../src/integrations/probes/probes.ts';
import { selfSigned } from '../../rpc/self-signed.ts';

const closers: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** Listens on loopback, and is gone with all its connections when the test ends. */
async function listen(server: Server | NetServer): Promise<number> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => {
    for (const socket of sockets) socket.destroy();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

const http = (listener: RequestListener) => listen(createHttpServer(listener));

function probe(
  kind: ServiceConfig['probe'],
  target: string,
  more: Partial<ServiceConfig> & { ca?: string; signal?: AbortSignal } = {},
): Promise<ProbeOutcome> {
  const { ca, signal, ...fields } = more;
  const service: ServiceConfig = {
    ...{ name: 's', probe: kind, target, intervalMs: 1_000, timeoutMs: 1_000, slowMs: 500, failures: 2 },
    ...{ expectStatus: [200, 399] as const, description: '' },
    ...fields,
  };
  return createProbes({ ca })[kind](service, signal ?? AbortSignal.timeout(2_000));
}

const well = { ok: true, latencyMs: expect.any(Number) };
const bad = (detail: string | RegExp) => ({
  ok: false,
  detail: typeof detail === 'string' ? detail : expect.stringMatching(detail),
});

/** A port where nobody listens. */
async function freePort(): Promise<number> {
  const server = createNetServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

describe('a probe by HTTP', () => {
  it('finds a page well by its status, and says which it was otherwise', async () => {
    const port = await http((request, response) => {
      response.statusCode = request.url === '/bad' ? 500 : request.url === '/gone' ? 204 : 200;
      response.end('x');
    });
    expect(await probe('http', `http://127.0.0.1:${port}/`)).toEqual(well);
    expect(await probe('http', `http://127.0.0.1:${port}/bad`)).toEqual(
      bad('answered with status 500, not 200 to 399'),
    );
    const only = { expectStatus: [204, 204] as const };
    expect(await probe('http', `http://127.0.0.1:${port}/gone`, only)).toEqual(well);
    expect(await probe('http', `http://127.0.0.1:${port}/`, only)).toEqual(
      bad('answered with status 200, not 204'),
    );
  });

  it('is over when its time is, with a server that says nothing', async () => {
    const port = await http(() => {});
    const signal = AbortSignal.timeout(50);
    expect(await probe('http', `http://127.0.0.1:${port}/`, { signal })).toEqual(
      bad('did not answer in time'),
    );
  });

  it('does not read a body that never ends', async () => {
    let sent = 0;
    const gone = later();
    const port = await http((_, response) => {
      const piece = Buffer.alloc(65_536);
      const more = (): void => {
        while (!response.destroyed && response.write(piece)) sent += piece.length;
      };
      response.on('drain', more);
      response.on('close', gone.resolve);
      more();
    });
    expect(await probe('http', `http://127.0.0.1:${port}/`)).toEqual(well);
    await gone.promise;
    expect(sent).toBeLessThan(32 * 1_048_576);
  });

  it('follows three redirects, not four, and no loop', async () => {
    const port = await http((request, response) => {
      const left = Number(request.url?.slice(1));
      response.writeHead(
        left === 0 ? 200 : 302,
        left === 0 ? {} : { location: `/${left > 8 ? 9 : left - 1}` },
      );
      response.end();
    });
    expect(await probe('http', `http://127.0.0.1:${port}/3`)).toEqual(well);
    expect(await probe('http', `http://127.0.0.1:${port}/4`)).toEqual(bad('redirects more than 3 times'));
    expect(await probe('http', `http://127.0.0.1:${port}/9`)).toEqual(bad('redirects more than 3 times'));
    const expectStatus = [302, 302] as const;
    expect(await probe('http', `http://127.0.0.1:${port}/9`, { expectStatus })).toEqual(well);
  });

  it('sends its headers and login to the first origin, and to no other', async () => {
    const seen: unknown[] = [];
    const other = await http((request, response) => {
      seen.push([request.headers.authorization, request.headers['x-key']]);
      response.end();
    });
    const port = await http((request, response) => {
      seen.push([request.headers.authorization, request.headers['x-key']]);
      response.writeHead(307, { location: `http://127.0.0.1:${other}/` }).end();
    });
    const headers = { 'X-Key': 'hunter2' };
    expect(await probe('http', `http://me:hunter%402@127.0.0.1:${port}/`, { headers })).toEqual(well);
    expect(seen).toEqual([
      [`Basic ${Buffer.from('me:hunter@2').toString('base64')}`, 'hunter2'],
      [undefined, undefined],
    ]);
  });

  it('refuses a certificate that is not valid, and one that leads to the clear', async () => {
    const { cert, key } = selfSigned('test');
    const port = await listen(
      createHttpsServer({ cert, key }, (request, response) => {
        if (request.url === '/clear') response.writeHead(301, { location: 'http://127.0.0.1:1/' });
        response.end();
      }),
    );
    expect(await probe('http', `https://127.0.0.1:${port}/`)).toEqual(bad(/certificate that is not valid/));
    expect(await probe('http', `https://127.0.0.1:${port}/`, { ca: cert })).toEqual(well);
    expect(await probe('http', `https://127.0.0.1:${port}/clear`, { ca: cert })).toEqual(
      bad('redirects from TLS to the clear'),
    );
    expect(await probe('http', `https://127.0.0.2:${port}/`, { ca: cert })).toMatchObject({ ok: false });
  });

  it('says what it met that is no HTTP, and that nobody is there', async () => {
    const port = await listen(createNetServer((socket) => socket.end('hello\r\n\r\n')));
    expect(await probe('http', `http://127.0.0.1:${port}/`)).toEqual(bad(/did not answer in the protocol/));
    const silent = await listen(createNetServer((socket) => socket.destroy()));
    expect(await probe('http', `http://127.0.0.1:${silent}/`)).toEqual(bad('closed the connection'));
    expect(await probe('http', `http://127.0.0.1:${await freePort()}/`)).toEqual(bad('refuses connections'));
    expect(await probe('http', 'http://nobody.invalid/')).toEqual(bad(/has a name that/));
  });
});

describe('a probe by TCP', () => {
  it('finds who accepts a connection well, and who refuses it not', async () => {
    const port = await listen(createNetServer());
    expect(await probe('tcp', `127.0.0.1:${port}`)).toEqual(well);
    expect(await probe('tcp', `127.0.0.1:${await freePort()}`)).toEqual(bad('refuses connections'));
  });

  it('ends with its signal', async () => {
    const port = await listen(createNetServer());
    expect(await probe('tcp', `127.0.0.1:${port}`, { signal: AbortSignal.abort() })).toEqual(
      bad('did not answer in time'),
    );
  });
});

describe('a probe by gRPC', () => {
  /** A health service that answers so. */
  async function grpc(answer: (stream: ServerHttp2Stream, service: string) => void): Promise<number> {
    const server = createHttp2Server();
    server.on('stream', (stream) => {
      stream.on('error', () => {});
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      // Field 1 of HealthCheckRequest, after five bytes of gRPC.
      stream.on('end', () => answer(stream, Buffer.concat(chunks).subarray(7).toString()));
    });
    return listen(server as unknown as Server);
  }
  const says = (stream: ServerHttp2Stream, status: number, grpcStatus = '0'): void => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': grpcStatus }));
    stream.end(grpcStatus === '0' ? Buffer.from([0, 0, 0, 0, 2, 0x08, status]) : undefined);
  };

  it.each([
    [1, well],
    [2, bad('says that it is not serving')],
    [3, bad('does not know the service that was asked for')],
  ])('takes status %d for what it means', async (status, expected) => {
    const port = await grpc((stream) => says(stream, status));
    expect(await probe('grpc', `127.0.0.1:${port}`)).toEqual(expected);
  });

  it('asks for the service that the target names', async () => {
    const asked: string[] = [];
    const port = await grpc((stream, service) => {
      asked.push(service);
      says(stream, 1);
    });
    expect(await probe('grpc', `grpc://127.0.0.1:${port}/my.Embedder`)).toEqual(well);
    expect(await probe('grpc', `127.0.0.1:${port}`)).toEqual(well);
    expect(asked).toEqual(['my.Embedder', '']);
  });

  it('says when there is no health service, or no gRPC at all', async () => {
    const port = await grpc((stream) => says(stream, 0, '12'));
    expect(await probe('grpc', `127.0.0.1:${port}`)).toEqual(bad('has no health service'));
    const unknown = await grpc((stream) => says(stream, 0, '5'));
    expect(await probe('grpc', `127.0.0.1:${unknown}`)).toEqual(bad(/does not know the service/));
    const page = await grpc((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'text/html' });
      stream.end('<html>');
    });
    expect(await probe('grpc', `127.0.0.1:${page}`)).toEqual(bad('does not speak gRPC'));
    const endless = await grpc((stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      stream.end(Buffer.alloc(1_048_576));
    });
    expect(await probe('grpc', `127.0.0.1:${endless}`)).toEqual(bad('does not speak gRPC'));
    const one = await http((_, response) => response.end('hello'));
    expect(await probe('grpc', `127.0.0.1:${one}`)).toMatchObject({ ok: false });
    expect(await probe('grpc', `127.0.0.1:${await freePort()}`)).toEqual(bad('refuses connections'));
  });

  it('is over when its time is', async () => {
    const port = await grpc(() => {});
    const signal = AbortSignal.timeout(50);
    expect(await probe('grpc', `127.0.0.1:${port}`, { signal })).toEqual(bad('did not answer in time'));
  });
});

describe('a probe of Redis', () => {
  it('says AUTH before PING where there is a password, and waits for the answer', async () => {
    const heard: string[] = [];
    const port = await listen(
      createNetServer((socket) =>
        socket.on('data', (chunk) => {
          heard.push(chunk.toString());
          socket.write(heard.length === 1 ? '+OK\r\n' : '+PONG\r\n');
        }),
      ),
    );
    expect(await probe('redis', `redis://me:p%20w@127.0.0.1:${port}`)).toEqual(well);
    expect(heard).toEqual(['*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$3\r\np w\r\n', '*1\r\n$4\r\nPING\r\n']);
  });

  it.each([
    ['-WRONGPASS invalid\r\n', 'refuses the user or password'],
    ['-NOAUTH Authentication required.\r\n', 'wants a password'],
    ['-LOADING Redis is loading the dataset in memory\r\n', 'is loading its data'],
    ['-MASTERDOWN Link with MASTER is down\r\n', 'has lost its primary'],
    ['-ERR hunter2 is not right\r\n', 'answered PING with the error ERR'],
    ['HTTP/1.1 400 Bad Request\r\n', 'does not speak as Redis does'],
    ['x'.repeat(5_000), 'does not speak as Redis does'],
  ])('takes %j for what it means', async (line, detail) => {
    const port = await listen(createNetServer((socket) => socket.once('data', () => socket.write(line))));
    expect(await probe('redis', `redis://127.0.0.1:${port}`)).toEqual(bad(detail));
  });

  it('is over when its time is, and when the connection is closed', async () => {
    const port = await listen(createNetServer());
    const signal = AbortSignal.timeout(50);
    expect(await probe('redis', `redis://127.0.0.1:${port}`, { signal })).toMatchObject({ ok: false });
    const closing = await listen(createNetServer((socket) => socket.once('data', () => socket.end())));
    expect(await probe('redis', `redis://127.0.0.1:${closing}`)).toEqual(bad('closed the connection'));
  });
});

function later(): { promise: Promise<unknown>; resolve: (value?: unknown) => void } {
  let resolve: (value?: unknown) => void = () => {};
  const promise = new Promise<unknown>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
