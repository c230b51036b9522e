import { constants } from 'node:http2';
import { type AddressInfo, createConnection, createServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { SessionService } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../../src/lib/errors.ts';
import { fakePipeline, fakeSessionService, until } from './fakes.ts';
import { detailsOf, framed, grpcClient, rawGrpcStream, startGrpc } from './grpc-support.ts';

const { openSession } = SessionService.method;
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(
  options: Parameters<typeof startGrpc>[1] & { sessions?: ReturnType<typeof fakeSessionService> } = {},
) {
  const { sessions = fakeSessionService(), ...rest } = options;
  const server = await startGrpc([sessions.binding], rest);
  cleanups.push(() => server.listener.close({ graceMs: 0 }));
  const connect = () => {
    const client = grpcClient(server.target);
    cleanups.push(() => client.close());
    return client;
  };
  const raw = () => {
    const stream = rawGrpcStream(server.target, openSession);
    cleanups.push(() => stream.close());
    return stream;
  };
  return { ...server, sessions, connect, raw };
}

/** The error that ends a stream, undefined when it ended well. */
function endOf(stream: NodeJS.ReadableStream): Promise<Error | undefined> {
  stream.resume();
  return new Promise((resolve) => {
    stream.on('error', resolve);
    stream.on('end', () => setImmediate(() => resolve(undefined)));
  });
}

test('frames go both ways, and both ends close in order', async () => {
  const { connect, sessions, pipeline, outcomes } = await setUp({
    sessions: fakeSessionService({ echo: true }),
  });
  const stream = connect().bidi(openSession);
  let pings = 0;
  stream.on('data', () => {
    pings += 1;
  });
  for (let i = 0; i < 10; i += 1) stream.write(Buffer.from([0x0a, 0x01, 0x61 + i]));
  const session = await sessions.opened;
  await until(() => pings === 10, 'ten pings');
  expect(session.received.map((bytes) => Buffer.from(bytes).toString('latin1').slice(2)).join('')).toBe(
    'abcdefghij',
  );
  expect(session.channel.pendingBytes()).toBe(0);
  const ended = endOf(stream);
  stream.end();
  await session.halfClosed.promise;
  session.channel.end();
  expect(await ended).toBeUndefined();
  await session.closed.promise;
  expect(pipeline.active).toBe(0);
  expect(outcomes).toMatchObject([{ method: 'OpenSession', code: 0 }]);
});

test('an end that retires the connection lets calls on it go on and makes the client open another one', async () => {
  const { connect, sessions } = await setUp();
  const opened = sessions.sessions;
  const client = connect();
  const open = async (count: number) => {
    const stream = client.bidi(openSession);
    const heard: Buffer[] = [];
    stream.on('data', (bytes: Buffer) => heard.push(bytes));
    stream.write(Buffer.from([0x0a, 0x01, 0x61]));
    await until(() => opened.length === count, 'the session');
    return { stream, heard, ended: endOf(stream) };
  };
  const first = await open(1);
  const second = await open(2);
  expect(opened[1]?.channel.peer).toBe(opened[0]?.channel.peer);
  opened[0]?.channel.end(undefined, { retire: true });
  expect(await first.ended).toBeUndefined();
  const third = await open(3);
  expect(opened[2]?.channel.peer).not.toBe(opened[0]?.channel.peer);
  opened[1]?.channel.send(Buffer.from([0x0a, 0x00]));
  await until(() => second.heard.length === 1, 'a frame on the older connection');
  opened[1]?.channel.end();
  opened[2]?.channel.end();
  expect([await second.ended, await third.ended]).toEqual([undefined, undefined]);
});

test('many frames in one packet arrive one by one and in order', async () => {
  const { raw, sessions } = await setUp();
  const stream = raw();
  const count = 20_000;
  const frames = Array.from({ length: count }, (_, i) => framed(Buffer.from(String(i))));
  stream.request.write(Buffer.concat(frames));
  const session = await sessions.opened;
  await until(() => session.received.length === count, 'all frames');
  expect(session.received.every((bytes, i) => Buffer.from(bytes).toString() === String(i))).toBe(true);
});

test('a client that does not read its stream is seen in pendingBytes, and a drain is told when it reads', async () => {
  const { raw, sessions } = await setUp();
  const stream = raw();
  stream.request.write(framed(Buffer.from('hello')));
  const { channel } = await sessions.opened;
  const size = 1_000;
  for (let i = 0; i < 1_000; i += 1) channel.send(Buffer.alloc(size));
  let settled = -1;
  await until(() => {
    const stable = channel.pendingBytes() === settled;
    settled = channel.pendingBytes();
    return stable && settled < 1_000 * size;
  }, 'the window to fill');
  // The client's stream window is 64 KiB less a byte; all else is pending.
  expect(channel.pendingBytes()).toBeGreaterThan(1_000 * size - 70_000);
  const drained = new Promise<void>((resolve) => {
    channel.onDrain = resolve;
  });
  let bytes = 0;
  stream.request.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
  });
  await drained;
  expect(channel.pendingBytes()).toBe(0);
  await until(() => bytes === 1_000 * (size + 5), 'every byte');
});

test('a client that does not read its socket is seen in pendingBytes, however large its window', async () => {
  const { port, sessions } = await setUp();
  let upstream: Socket | undefined;
  const proxy = createServer((client) => {
    upstream = createConnection(port, '127.0.0.1');
    for (const socket of [client, upstream]) socket.on('error', () => {});
    client.pipe(upstream).pipe(client);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  cleanups.push(() => void proxy.close());
  const stream = rawGrpcStream(`127.0.0.1:${(proxy.address() as AddressInfo).port}`, openSession);
  cleanups.push(() => stream.close());
  stream.session.once('connect', () => {
    stream.session.settings({ initialWindowSize: 0x7fff_ffff });
    stream.session.setLocalWindowSize(0x7fff_ffff);
  });
  await new Promise((resolve) => stream.session.once('localSettings', resolve));
  stream.request.write(framed(Buffer.from('hello')));
  const { channel } = await sessions.opened;
  upstream?.unpipe();
  upstream?.pause();
  const total = 40 * 1_048_576;
  for (let sent = 0; sent < total; sent += 1_048_576) channel.send(Buffer.alloc(1_048_576));
  await new Promise((resolve) => setTimeout(resolve, 300));
  // What the kernel buffers on loopback (some MiB) counts as taken.
  expect(channel.pendingBytes()).toBeGreaterThan(total / 2);
  channel.end(undefined, { abort: true });
});

test('aborting a session whose client does not read frees it at once', async () => {
  const { raw, sessions, pipeline, outcomes } = await setUp();
  const stream = raw();
  stream.request.write(framed(Buffer.from('hello')));
  const session = await sessions.opened;
  for (let i = 0; i < 500; i += 1) session.channel.send(Buffer.alloc(1_000));
  const slow = new DomainError({ reason: ErrorReason.SLOW_CONSUMER, message: 'reads nothing' });
  session.channel.end(slow, { abort: true });
  await session.closed.promise;
  expect(pipeline.active).toBe(0);
  expect(outcomes).toMatchObject([{ reason: 'SLOW_CONSUMER' }]);
});

test('ending a session whose client does not read is bounded too', async () => {
  const { raw, sessions } = await setUp({ drainTimeoutMs: 100 });
  const stream = raw();
  stream.request.write(framed(Buffer.from('hello')));
  const session = await sessions.opened;
  for (let i = 0; i < 500; i += 1) session.channel.send(Buffer.alloc(1_000));
  session.channel.end();
  await session.closed.promise;
});

test('sessions that end while their clients are silent take no places of unary calls', async () => {
  const { raw, sessions, pipeline } = await setUp({ drainTimeoutMs: 300 });
  const streams = [raw(), raw(), raw()];
  await until(() => sessions.sessions.length === 3, 'three sessions');
  for (const { channel } of sessions.sessions) channel.end();
  expect(pipeline.limits.unread).toBe(0);
  await Promise.all(streams.map(({ request }) => new Promise((resolve) => request.once('close', resolve))));
  expect(pipeline.limits.unread).toBe(0);
});

test('an error that ends a session reaches the client after what was sent before it', async () => {
  const { connect, sessions } = await setUp();
  const stream = connect().bidi(openSession);
  let messages = 0;
  stream.on('data', () => {
    messages += 1;
  });
  stream.write(Buffer.from('x'));
  const { channel } = await sessions.opened;
  channel.send(Buffer.alloc(10));
  channel.send(Buffer.alloc(10));
  const ended = endOf(stream);
  channel.end(
    new DomainError({ reason: ErrorReason.SESSION_SUPERSEDED, message: 'superseded', retryAfterMs: 5 }),
  );
  channel.send(Buffer.alloc(10));
  channel.end();
  const error = await ended;
  expect(messages).toBe(2);
  expect(detailsOf(error).reason).toBe('SESSION_SUPERSEDED');
  expect(
    (error as unknown as { metadata: { get(k: string): unknown[] } }).metadata.get('retry-after-ms'),
  ).toEqual(['5']);
});

test('a receiver that throws ends its own session only, as INTERNAL', async () => {
  const bad = fakeSessionService({
    onMessage: () => {
      throw new Error('secret');
    },
  });
  const { connect, logged } = await setUp({ sessions: bad });
  const stream = connect().bidi(openSession);
  stream.write(Buffer.from('x'));
  const error = await endOf(stream);
  expect(detailsOf(error).reason).toBe('INTERNAL');
  expect(logged.some(({ level }) => level === 'error')).toBe(true);
  await (await bad.opened).closed.promise;
});

test('a frame over the limit ends the session with its reason', async () => {
  const { connect, sessions } = await setUp({ maxMessageBytes: 1_000 });
  const stream = connect().bidi(openSession);
  stream.write(Buffer.alloc(1_000));
  const session = await sessions.opened;
  await until(() => session.received.length === 1, 'the first frame');
  session.channel.send(Buffer.alloc(3));
  const ended = endOf(stream);
  stream.write(Buffer.alloc(1_001));
  expect(detailsOf(await ended).reason).toBe('MESSAGE_TOO_LARGE');
  await session.closed.promise;
  expect(session.received).toHaveLength(1);
});

test('a connection that breaks ends the session, once, and fires its signal', async () => {
  const { raw, sessions, pipeline } = await setUp();
  const stream = raw();
  stream.request.write(framed(Buffer.from('hello')));
  const session = await sessions.opened;
  const { signal } = session.context;
  stream.session.destroy();
  await session.closed.promise;
  expect(signal.aborted).toBe(true);
  expect(pipeline.active).toBe(0);
  session.channel.send(Buffer.alloc(10));
  session.channel.end();
});

test('a client’s deadline ends its session', async () => {
  const { connect, sessions, outcomes } = await setUp();
  const stream = connect().client.makeBidiStreamRequest(
    `/${SessionService.typeName}/OpenSession`,
    (b: Buffer) => b,
    (b: Buffer) => b,
    { deadline: Date.now() + 60 },
  );
  stream.on('error', () => {});
  stream.resume();
  const session = await sessions.opened;
  await session.closed.promise;
  expect(outcomes[0]?.reason).toMatch(/DEADLINE_EXCEEDED|CANCELLED/);
});

test('a replica that is leaving refuses new sessions', async () => {
  const fake = fakePipeline();
  const { connect } = await setUp({ fake });
  fake.pipeline.leave();
  const stream = connect().bidi(openSession);
  expect(detailsOf(await endOf(stream)).reason).toBe('SHUTTING_DOWN');
});

test('a client that keeps its side open after the end is reset, so that nothing of the session stays', async () => {
  const { raw, sessions } = await setUp({ drainTimeoutMs: 100 });
  const stream = raw();
  stream.request.resume();
  stream.request.write(framed(Buffer.from('hello')));
  const { channel } = await sessions.opened;
  const closed = new Promise<number>((resolve) =>
    stream.request.once('close', () => resolve(stream.request.rstCode ?? -1)),
  );
  channel.end();
  expect(await closed).toBe(constants.NGHTTP2_NO_ERROR);
});
