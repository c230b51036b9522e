import { status } from '@grpc/grpc-js';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connectAgent } from '../../src/client/index.ts';
import { FakeSessionServer, refusal } from '../support/fake-session-server.ts';

let server: FakeSessionServer;

beforeEach(async () => {
  server = await FakeSessionServer.start();
});
afterEach(() => server.stop());

const options = () => ({
  server: server.address,
  spec: { kind: 'test' },
  backoffBaseMs: 20,
  backoffCapMs: 50,
});

test('over a real connection: registers, attaches, answers pings, reports, has effects stored, leaves', async () => {
  const connecting = connectAgent({ ...options(), report: () => ({ load: 0.5 }), reportIntervalMs: 10 });
  const session = await server.session();
  const hello = await session.next('hello');
  session.welcome(7n);
  const agent = await connecting;
  expect(server.registrations[0]?.request.spec?.kind).toBe('test');
  expect(session.token).toBe('token-1');
  expect(agent).toMatchObject({ id: 'made-1', epoch: 7n, instanceId: hello.instanceId });

  session.send({ case: 'ping', value: { echo: 2n ** 63n } });
  expect((await session.next('heartbeat')).echo).toBe(2n ** 63n);
  agent.report({ activity: 'work' });
  expect((await session.next('heartbeat')).report).toMatchObject({ activity: 'work', load: 0.5 });

  const left = agent.leave('done');
  const goodbye = await session.nextFrame('leave');
  session.stored(goodbye.frameId);
  await left;
  await session.over;
});

test('comes back on a fresh connection after the server cut the call, as the same process', async () => {
  const connecting = connectAgent(options());
  const first = await server.session();
  first.welcome(1n);
  const agent = await connecting;
  first.end(refusal(status.UNAVAILABLE, 'SHUTTING_DOWN'));
  const second = await server.session();
  expect((await second.next('hello')).instanceId).toBe(agent.instanceId);
  expect(server.registrations).toHaveLength(1);
  await agent.close();
  await second.over;
  expect(second.frames.map(({ frame }) => frame.case)).not.toContain('leave');
});

test('reads reason and retry delay from the trailing metadata', async () => {
  server.onRegister = () => {
    throw refusal(status.ALREADY_EXISTS, 'AGENT_LIVE', 1_500);
  };
  await expect(connectAgent(options())).rejects.toMatchObject({
    code: status.ALREADY_EXISTS,
    reason: 'AGENT_LIVE',
    retryAfterMs: 1_500,
    message: 'refused: AGENT_LIVE',
  });
});

test('brings the token it was given when it registers', async () => {
  const connecting = connectAgent({ ...options(), id: 'a-1', token: 'kept' });
  const session = await server.session();
  session.welcome(1n);
  const agent = await connecting;
  expect(server.registrations[0]?.token).toBe('kept');
  expect(session.token).toBe('kept');
  await agent.close();
});

test('refuses a server address that is none', async () => {
  await expect(connectAgent({ ...options(), server: 'ftp://x' })).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
});
