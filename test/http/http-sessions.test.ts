import { createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import { afterEach, describe, expect, test } from 'vitest';
import { SessionService } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { fakeAgentService, fakeSessionService, until } from '../rpc/fakes.ts';
import { framed, rawGrpcStream } from '../rpc/grpc-support.ts';
import { startHttp } from './http-support.ts';

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(options: Parameters<typeof startHttp>[1] = {}) {
  const agents = fakeAgentService();
  const sessions = fakeSessionService({ echo: true });
  const server = await startHttp([agents.binding, sessions.binding], options);
  cleanups.push(() => server.listener.close({ graceMs: 0 }));
  return { ...server, agents, sessions };
}

describe.each([
  ['Connect', (url: string) => createConnectTransport({ baseUrl: url, httpVersion: '2' })],
  ['gRPC', (url: string) => createGrpcTransport({ baseUrl: url })],
])('a session by %s over HTTP/2 on the HTTP port', (_, transport) => {
  test('carries frames both ways and ends well', async () => {
    const { url, sessions, pipeline, outcomes } = await setUp();
    const client = createClient(SessionService, transport(url));
    const done = new AbortController();
    async function* frames() {
      yield { frame: { case: 'hello' as const, value: { client: 'test' } } };
      yield { frame: { case: 'heartbeat' as const, value: { echo: 7n } } };
      await new Promise((resolve) => done.signal.addEventListener('abort', resolve));
    }
    const pings: bigint[] = [];
    for await (const { frame } of client.openSession(frames())) {
      if (frame.case === 'ping') pings.push(frame.value.echo);
      if (pings.length === 2) {
        sessions.sessions[0]?.channel.end();
        done.abort();
      }
    }
    expect(pings).toEqual([7n, 7n]);
    await sessions.sessions[0]?.closed.promise;
    await until(() => pipeline.active === 0, 'the session to be over');
    expect(outcomes).toMatchObject([{ method: 'OpenSession', code: 0 }]);
  });

  test('a client that leaves closes its session', async () => {
    const { url, sessions, pipeline } = await setUp();
    const client = createClient(SessionService, transport(url));
    const leaving = new AbortController();
    async function* frames() {
      yield { frame: { case: 'hello' as const, value: {} } };
      await new Promise(() => {});
    }
    const run = (async () => {
      for await (const _message of client.openSession(frames(), { signal: leaving.signal })) leaving.abort();
    })();
    await expect(run).rejects.toThrow();
    await sessions.sessions[0]?.closed.promise;
    await until(() => pipeline.active === 0, 'the session to be over');
  });
});

test('a session whose client does not read is seen in pendingBytes, and aborting frees it', async () => {
  const { port, sessions, pipeline } = await setUp();
  const stream = rawGrpcStream(`127.0.0.1:${port}`, SessionService.method.openSession);
  cleanups.push(() => stream.close());
  stream.request.write(framed(Buffer.alloc(0)));
  const session = await sessions.opened;
  const ping = Buffer.from(session.received[0] ?? []);
  expect(ping).toHaveLength(0);
  const frame = Buffer.concat([Buffer.from([0x2a, 0x82, 0x08, 0x22, 0xff, 0x07]), Buffer.alloc(1_023, 'x')]);
  for (let i = 0; i < 500; i += 1) session.channel.send(frame);
  await until(() => session.channel.pendingBytes() < 500 * frame.length, 'the window to fill');
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(session.channel.pendingBytes()).toBeGreaterThan(350_000);
  session.channel.end(undefined, { abort: true });
  await session.closed.promise;
  await until(() => pipeline.active === 0, 'the session to be over');
});
