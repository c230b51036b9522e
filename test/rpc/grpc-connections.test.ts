import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { credentials } from '@grpc/grpc-js';
import { afterEach, expect, test } from 'vitest';
import { AgentService } from '../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { SessionService } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { fakeAgentService, fakeSessionService, until } from './fakes.ts';
import { detailsOf, framed, grpcClient, rawGrpcStream, startGrpc } from './grpc-support.ts';
import { selfSigned } from './self-signed.ts';

const { getAgent, watchAgents } = AgentService.method;
const { openSession } = SessionService.method;
const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(options: Parameters<typeof startGrpc>[1] = {}) {
  const agents = fakeAgentService();
  const sessions = fakeSessionService();
  const server = await startGrpc([agents.binding, sessions.binding], options);
  cleanups.push(() => server.listener.close({ graceMs: 0 }));
  return { ...server, agents, sessions };
}

/** A bare connection, and a promise for its end. */
function dial(port: number): { socket: Socket; closed: Promise<void>; connected: Promise<void> } {
  const socket = createConnection(port, '127.0.0.1');
  socket.on('error', () => {});
  cleanups.push(() => void socket.destroy());
  socket.resume();
  return {
    socket,
    closed: new Promise((resolve) => socket.once('close', () => resolve())),
    connected: new Promise((resolve) => socket.once('connect', () => resolve())),
  };
}

function certificateIn(directory: string, name: string): { certFile: string; keyFile: string } {
  const files = { certFile: join(directory, 'tls.crt'), keyFile: join(directory, 'tls.key') };
  const { cert, key } = selfSigned(name);
  writeFileSync(files.keyFile, key);
  writeFileSync(files.certFile, cert);
  return files;
}

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'orchestrator-tls-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function nameShownBy(port: number): Promise<string> {
  const socket: TLSSocket = tlsConnect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('secureConnect', resolve));
  const name = socket.getPeerCertificate().subject.CN;
  expect(socket.alpnProtocol).toBe('h2');
  socket.destroy();
  return String(name);
}

test('connections beyond the limit are turned away and counted; a place that becomes free is given again', async () => {
  const { port, rejected, listener, target } = await setUp({ maxConnections: 3 });
  const first = [dial(port), dial(port), dial(port)];
  await until(() => listener.connections() === 3, 'three connections');
  const fourth = dial(port);
  await fourth.closed;
  expect(rejected).toEqual(['connection_limit']);
  first[0]?.socket.destroy();
  await until(() => listener.connections() === 2, 'one to be gone');
  const client = grpcClient(target);
  cleanups.push(() => client.close());
  await client.unary(getAgent, { agentId: 'a' });
});

test('one address cannot take all connections', async () => {
  const { port, rejected, listener } = await setUp({ maxConnectionsPerAddress: 2 });
  dial(port);
  dial(port);
  await until(() => listener.connections() === 2, 'two connections');
  await dial(port).closed;
  expect(rejected).toEqual(['address_limit']);
});

test('connections that say nothing, or half a preface, are cut off and counted; one that spoke stays', async () => {
  const { port, rejected, listener, target } = await setUp({ helloTimeoutMs: 150 });
  const silent = Array.from({ length: 50 }, () => dial(port));
  const half = dial(port);
  half.socket.write('PRI * HTTP/2.0\r\n');
  const client = grpcClient(target);
  cleanups.push(() => client.close());
  await client.unary(getAgent, { agentId: 'a' });
  await Promise.all([...silent, half].map(({ closed }) => closed));
  expect(rejected).toEqual(Array(51).fill('hello_timeout'));
  await until(() => listener.connections() === 1, 'all but one to be gone');
  await client.unary(getAgent, { agentId: 'a' });
});

test('what is not HTTP/2 is disconnected at once', async () => {
  const { port } = await setUp();
  const { socket, closed } = dial(port);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await closed;
});

test('a request that never arrives does not hold its stream open', async () => {
  const { target, outcomes, pipeline } = await setUp({ helloTimeoutMs: 100 });
  const stream = rawGrpcStream(target, getAgent);
  cleanups.push(() => stream.close());
  stream.request.write(framed(Buffer.alloc(100)).subarray(0, 50));
  stream.request.resume();
  await new Promise((resolve) => stream.request.once('end', resolve));
  expect(outcomes).toMatchObject([{ reason: 'PROTOCOL_VIOLATION' }]);
  expect(pipeline.active).toBe(0);
});

test('a port in use is told in one line', async () => {
  const { port } = await setUp();
  const again = startGrpc([fakeAgentService().binding], { listen: `127.0.0.1:${port}` });
  await expect(again).rejects.toThrow(
    `grpc.listen: cannot listen on 127.0.0.1:${port}: another process listens there already`,
  );
  await expect(startGrpc([], { listen: 'nonsense' })).rejects.toThrow(
    'grpc.listen: "nonsense" is not host:port',
  );
});

test('more streams than the limit on one connection wait for a free one', async () => {
  const { target, sessions } = await setUp({ maxStreamsPerConnection: 2 });
  const client = grpcClient(target);
  cleanups.push(() => client.close());
  const streams = [1, 2, 3].map(() => {
    const stream = client.bidi(openSession);
    stream.on('error', () => {});
    stream.write(Buffer.from('x'));
    return stream;
  });
  await until(() => sessions.sessions.length === 2, 'two sessions');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(sessions.sessions).toHaveLength(2);
  streams[0]?.cancel();
  await until(() => sessions.sessions.length === 3, 'the third session');
});

test('TLS: calls work, the peer is known, silent and plain connections are cut off', async () => {
  const tls = certificateIn(scratch(), 'first');
  const { port, target, agents, rejected } = await setUp({ tls, helloTimeoutMs: 200 });
  const creds = credentials.createSsl(Buffer.from(selfSigned('other').cert), null, null, {
    rejectUnauthorized: false,
  });
  const client = grpcClient(target, creds);
  cleanups.push(() => client.close());
  await client.unary(getAgent, { agentId: 'a' });
  expect(agents.contexts[0]?.peer).toMatch(/^127\.0\.0\.1:\d+$/);
  const plain = dial(port);
  plain.socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
  const silent = dial(port);
  await Promise.all([plain.closed, silent.closed]);
  expect(rejected.toSorted()).toEqual(['hello_timeout', 'tls_failed']);
  const shookHands = tlsConnect({
    port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['h2'],
  });
  shookHands.on('error', () => {});
  shookHands.resume();
  await new Promise((resolve) => shookHands.once('close', resolve));
  expect(rejected.filter((reason) => reason === 'hello_timeout')).toHaveLength(2);
});

test('TLS: a changed certificate is used for new connections; a broken one is not, and the old stays', async () => {
  const directory = scratch();
  const tls = certificateIn(directory, 'first');
  const { port } = await setUp({ tls, certificatePollMs: 20 });
  expect(await nameShownBy(port)).toBe('first');
  writeFileSync(tls.certFile, 'half a certificate');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(await nameShownBy(port)).toBe('first');
  certificateIn(directory, 'second');
  let name = '';
  const deadline = performance.now() + 5_000;
  while (name !== 'second' && performance.now() < deadline) name = await nameShownBy(port);
  expect(name).toBe('second');
});

test('TLS: an unusable certificate is told in one line', async () => {
  const directory = scratch();
  const files = certificateIn(directory, 'first');
  writeFileSync(files.keyFile, selfSigned('x').key);
  await expect(startGrpc([], { tls: files })).rejects.toThrow(
    /^grpc\.listen: TLS certificate or key unusable: /,
  );
  await expect(startGrpc([], { tls: { ...files, certFile: '/nowhere' } })).rejects.toThrow(/ENOENT/);
});

test('closing lets a call finish, ends watches at once and refuses connections', async () => {
  const { listener, target, port, agents, pipeline } = await setUp();
  const client = grpcClient(target);
  cleanups.push(() => client.close());
  const slow = client.unary(getAgent, { agentId: 'slow' });
  const watch = client.serverStream(watchAgents, Buffer.from('\x0a\x07forever'));
  const ended = new Promise<Error>((resolve) => watch.on('error', resolve));
  watch.resume();
  await until(() => agents.contexts.length === 2, 'both calls');
  const closed = listener.close({ graceMs: 5_000 });
  expect(detailsOf(await ended).reason).toBe('SHUTTING_DOWN');
  await dial(port).closed;
  agents.release();
  expect((await slow).agent?.id).toBe('slow');
  await closed;
  expect(pipeline.active).toBe(0);
  expect(listener.connections()).toBe(0);
});

test('closing is bounded: what does not end in time is ended', async () => {
  const { listener, target, agents, sessions, pipeline } = await setUp();
  const client = grpcClient(target);
  cleanups.push(() => client.close());
  const slow = client.unary(getAgent, { agentId: 'slow' }).catch((error: unknown) => error);
  const stuck = rawGrpcStream(target, openSession);
  cleanups.push(() => stuck.close());
  stuck.request.write(framed(Buffer.from('hello')));
  const session = await sessions.opened;
  for (let i = 0; i < 500; i += 1) session.channel.send(Buffer.alloc(1_000));
  await until(() => agents.contexts.length === 1, 'the call');
  const started = performance.now();
  await listener.close({ graceMs: 100 });
  expect(performance.now() - started).toBeLessThan(2_000);
  expect(detailsOf(await slow).reason).toBe('SHUTTING_DOWN');
  await session.closed.promise;
  expect(pipeline.active).toBe(0);
  expect(listener.connections()).toBe(0);
});

test('a closed listener leaves nothing running', async () => {
  const before = process.getActiveResourcesInfo().filter((kind) => /TCP|TLS/.test(kind)).length;
  const { listener, target } = await startGrpc([fakeAgentService().binding]);
  const client = grpcClient(target);
  await client.unary(getAgent, { agentId: 'a' });
  client.close();
  await listener.close({ graceMs: 1_000 });
  await until(
    () => process.getActiveResourcesInfo().filter((kind) => /TCP|TLS/.test(kind)).length <= before,
    'all sockets to be gone',
  );
});
