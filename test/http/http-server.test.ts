import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect as http2Connect } from 'node:http2';
import { request as httpsRequest } from 'node:https';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { fakeServer } from '../rpc/fake-server.ts';
import { fakePipeline, until } from '../rpc/fakes.ts';
import { selfSigned } from '../rpc/self-signed.ts';
import { postJson, startHttp } from './http-support.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(options: Parameters<typeof startHttp>[1] = {}) {
  const fake = fakeServer();
  const server = await startHttp(fake.services, options);
  cleanups.push(() => server.listener.close({ graceMs: 0 }));
  return { ...server, agents: fake.agents, health: fake.health };
}

const getAgent = 'mycosoft.orchestrator.agent.v1.AgentService/GetAgent';
const watchAgents = 'mycosoft.orchestrator.agent.v1.AgentService/WatchAgents';

/** A bare connection: what it received, and its end. */
function dial(port: number): { socket: Socket; text: () => string; closed: Promise<void> } {
  const socket = createConnection(port, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('error', () => {});
  socket.on('data', (chunk) => chunks.push(chunk as Buffer));
  cleanups.push(() => void socket.destroy());
  return {
    socket,
    text: () => Buffer.concat(chunks).toString('latin1'),
    closed: new Promise((resolve) => socket.once('close', () => resolve())),
  };
}

test('pages: process, readiness, metrics, landing, and nothing else', async () => {
  const { url, state } = await setUp();
  const get = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${url}${path}`, init);
    return {
      status: response.status,
      type: response.headers.get('content-type'),
      body: await response.text(),
    };
  };
  expect(await get('/healthz')).toMatchObject({ status: 200, body: 'ok\n' });
  expect(await get('/metrics?x=1')).toEqual({
    status: 200,
    type: 'text/plain; version=0.0.4',
    body: 'up 1\n',
  });
  const ready = await get('/readyz');
  expect([ready.status, JSON.parse(ready.body)]).toEqual([
    200,
    { ready: true, parts: { store: { available: true } } },
  ]);
  state.ready = false;
  expect((await get('/readyz')).status).toBe(503);
  expect((await get('/healthz', { method: 'HEAD' })).body).toBe('');
  expect((await get('/healthz', { method: 'POST' })).status).toBe(405);
  for (const path of ['/nowhere', '/constructor', '/..%2fetc', '//x']) {
    expect(await get(path)).toMatchObject({ status: 404, type: 'application/json' });
  }
});

test('the landing page asks nobody else for anything and runs no script', async () => {
  const { url } = await setUp();
  const response = await fetch(url);
  const body = await response.text();
  expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; style-src 'sha256-/);
  expect(body).toContain('Test &#60;orchestrator&#62;');
  expect(body).toContain('<li><code>mycosoft.orchestrator.agent.v1.AgentService</code></li>');
  expect(body).not.toMatch(/<script|src=|url\(|https:/);
});

test('a page of another origin gets no permission to read', async () => {
  const { url } = await setUp();
  const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' };
  const response = await fetch(`${url}/${getAgent}`, { method: 'OPTIONS', headers });
  expect(response.status).toBeGreaterThanOrEqual(400);
  expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
});

test('silent connections, half a preface and headers that never end are cut off', async () => {
  const { port, rejected, listener } = await setUp({ helloTimeoutMs: 150 });
  const silent = Array.from({ length: 20 }, () => dial(port));
  const half = dial(port);
  half.socket.write('PR');
  const slow = dial(port);
  slow.socket.write('GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ');
  const drip = setInterval(() => slow.socket.write('y'), 20);
  cleanups.push(() => clearInterval(drip));
  await Promise.all([...silent, half, slow].map(({ closed }) => closed));
  expect(rejected).toEqual(Array(21).fill('hello_timeout'));
  expect(slow.text()).toMatch(/^HTTP\/1\.1 408 /);
  await until(() => listener.connections() === 0, 'all to be gone');
});

test('a body that never ends is cut off, by HTTP/1.1 and HTTP/2', async () => {
  const { port, url, pipeline, listener } = await setUp({ requestTimeoutMs: 150, helloTimeoutMs: 100 });
  const slow = dial(port);
  slow.socket.write(
    `POST /${getAgent} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`,
  );
  await slow.closed;
  const session = http2Connect(url);
  session.on('error', () => {});
  const stream = session.request({
    ':method': 'POST',
    ':path': `/${getAgent}`,
    'content-type': 'application/json',
  });
  stream.on('error', () => {});
  stream.write('{');
  stream.resume();
  await new Promise((resolve) => stream.once('close', resolve));
  session.destroy();
  expect(pipeline.active).toBe(0);
  await until(() => listener.connections() === 0, 'all to be gone');
});

test('an idle connection is closed', async () => {
  const { port } = await setUp({ idleTimeoutMs: 100 });
  const idle = dial(port);
  idle.socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
  await idle.closed;
  expect(idle.text()).toContain('ok\n');
});

test('a watcher that reads nothing is cut off', async () => {
  const { port, agents, pipeline, outcomes } = await setUp({
    fake: fakePipeline({ drainTimeoutMs: 150 }),
    drainTimeoutMs: 150,
  });
  const { socket } = dial(port);
  socket.pause();
  const body = JSON.stringify({ cursor: '1000000' });
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), Buffer.from(body)]);
  const head = `POST /${watchAgents} HTTP/1.1\r\nHost: x\r\nContent-Type: application/connect+json\r\nContent-Length: ${frame.length}\r\n\r\n`;
  socket.write(Buffer.concat([Buffer.from(head), frame]));
  await until(() => agents.watch.opened === 1 && pipeline.active === 0, 'the watcher to be cut off');
  expect(agents.watch.pulled).toBeLessThan(100_000);
  expect(outcomes.at(-1)).toMatchObject({ reason: 'SLOW_CONSUMER' });
});

test('a half-closed client still gets its answer; nonsense gets 400; a request without a host too', async () => {
  const { port } = await setUp();
  const half = dial(port);
  half.socket.end('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
  await half.closed;
  expect(half.text()).toContain('ok\n');
  const nonsense = dial(port);
  nonsense.socket.write('\x16\x03\x01nonsense\r\n\r\n');
  await nonsense.closed;
  expect(nonsense.text()).toMatch(/^HTTP\/1\.1 400 /);
  const hostless = dial(port);
  hostless.socket.end(
    `POST /${getAgent} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
  );
  await hostless.closed;
  expect(hostless.text()).toMatch(/^HTTP\/1\.1 (200|400) /);
});

test('connections are capped', async () => {
  const { port, rejected, listener } = await setUp({ maxConnections: 2 });
  dial(port);
  dial(port);
  await until(() => listener.connections() === 2, 'two connections');
  await dial(port).closed;
  expect(rejected).toEqual(['connection_limit']);
});

test('a port in use is told in one line', async () => {
  const { port } = await setUp();
  await expect(startHttp([], { listen: `127.0.0.1:${port}` })).rejects.toThrow(
    /^http\.listen: cannot listen on /,
  );
});

test('TLS: HTTP/1.1 and HTTP/2 by ALPN', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'orchestrator-tls-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const tls = { certFile: join(directory, 'tls.crt'), keyFile: join(directory, 'tls.key') };
  const { cert, key } = selfSigned('localhost');
  writeFileSync(tls.certFile, cert);
  writeFileSync(tls.keyFile, key);
  const { port } = await setUp({ tls });
  const body = await new Promise<string>((resolve, reject) => {
    const request = httpsRequest(
      { port, host: '127.0.0.1', path: '/healthz', ca: cert, agent: false },
      (response) => {
        response.setEncoding('utf8');
        response.on('data', resolve);
      },
    );
    request.on('error', reject);
    request.end();
  });
  expect(body).toBe('ok\n');
  const session = http2Connect(`https://127.0.0.1:${port}`, { ca: cert });
  const status = await new Promise((resolve, reject) => {
    session.on('error', reject);
    const stream = session.request({ ':path': '/healthz' });
    stream.on('response', (headers) => resolve(headers[':status']));
    stream.resume();
  });
  session.destroy();
  expect(status).toBe(200);
});

test('closing lets calls finish, ends watches, and is bounded', async () => {
  const { url, listener, agents, pipeline, port } = await setUp();
  const slow = postJson(url, getAgent, '{"agent_id":"slow"}');
  const stuck = dial(port);
  stuck.socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n');
  const session = http2Connect(url);
  session.on('error', () => {});
  const watch = session.request({
    ':method': 'POST',
    ':path': `/${watchAgents}`,
    'content-type': 'application/connect+json',
  });
  const body = '{"namespace":"forever"}';
  watch.end(Buffer.concat([Buffer.from([0, 0, 0, 0, body.length]), Buffer.from(body)]));
  let watched = '';
  watch.on('data', (chunk: Buffer) => {
    watched += chunk.toString('latin1');
  });
  await until(() => agents.contexts.length === 2, 'both calls');
  const closed = listener.close({ graceMs: 500 });
  agents.release();
  expect((await slow).status).toBe(200);
  const started = performance.now();
  await closed;
  expect(performance.now() - started).toBeLessThan(2_500);
  expect(watched).toContain('SHUTTING_DOWN');
  expect(pipeline.active).toBe(0);
  expect(listener.connections()).toBe(0);
  session.destroy();
});
