import { expect, test, vi } from 'vitest';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import { useAgent } from './agent-fixture.ts';

const it = useAgent();

test('resumes with the same process and token, without registering again', async () => {
  await it.connected();
  it.lost();
  await it.pass(500);
  expect(it.network.streams).toHaveLength(2);
  expect(it.network.registrations).toHaveLength(1);
  const [first, second] = it.network.streams.map((stream) => stream.frames('hello')[0]?.instanceId);
  expect(second).toBe(first);
  it.network.stream.welcome(2n);
  expect(it.agent).toMatchObject({ state: 'connected', epoch: 2n });
});

test('gives up a silent stream after two thirds of the lease, before it counts as lost', async () => {
  await it.connected();
  await it.pass(15_000);
  it.network.stream.down({ case: 'ping', value: { echo: 1n } });
  await it.pass(19_999);
  expect(it.network.stream.cancelled).toBe(false);
  await it.pass(1);
  expect(it.network.streams[0]?.cancelled).toBe(true);
  expect(it.agent.leaseSignal.aborted).toBe(false);
  expect(it.changes.at(-1)).toMatchObject({ state: 'waiting', error: { reason: 'silent_stream' } });
});

test('follows a lease that a ping lengthens', async () => {
  await it.connected();
  it.network.stream.down({ case: 'ping', value: { echo: 1n, lease: { seconds: 300n } } });
  await it.pass(199_999);
  expect(it.network.stream.cancelled).toBe(false);
  await it.pass(1);
  expect(it.network.stream.cancelled).toBe(true);
});

test('fires the lease signal once the whole lease was silent, and has a fresh one after coming back', async () => {
  await it.connected();
  const before = it.agent.leaseSignal;
  await it.pass(29_999);
  expect(before.aborted).toBe(false);
  await it.pass(1);
  expect(before.aborted).toBe(true);
  expect(before.reason).toMatchObject({ reason: 'lease_expired' });
  it.network.stream.welcome(2n);
  expect(it.agent.leaseSignal.aborted).toBe(false);
});

test('a process that was frozen for the whole lease knows before it works on what waited for it', async () => {
  await it.connected();
  const before = it.agent.leaseSignal;
  const frozenFor = 40_000;
  const now = performance.now.bind(performance);
  vi.spyOn(performance, 'now').mockImplementation(() => now() + frozenFor); // its timers have not fired yet
  it.network.stream.down({ case: 'ping', value: { echo: 1n } });
  expect(before.aborted).toBe(true);
  expect(it.agent.leaseSignal.aborted, 'the session is open after all').toBe(false);
  vi.restoreAllMocks();
});

test('believes a go_away that says it was lost', async () => {
  await it.connected();
  const value = { reason: GoAway_Reason.LOST, reconnectAfter: { seconds: 1n } };
  it.network.stream.down({ case: 'goAway', value });
  await it.pass(0);
  expect(it.agent.leaseSignal.aborted).toBe(true);
  await it.pass(1_500);
  it.network.stream.welcome(2n);
  expect(it.agent.leaseSignal.aborted).toBe(false);
});

test('comes back no sooner than go_away says', async () => {
  await it.connected();
  const value = { reason: GoAway_Reason.SHUTDOWN, reconnectAfter: { seconds: 4n } };
  it.network.stream.down({ case: 'goAway', value });
  await it.pass(3_999);
  expect(it.network.streams).toHaveLength(1);
  await it.pass(501);
  expect(it.network.streams).toHaveLength(2);
});

test('stays away after a go_away without a time', async () => {
  await it.connected();
  it.network.stream.down({ case: 'goAway', value: { reason: GoAway_Reason.SUPERSEDED, detail: 'a twin' } });
  const end = await it.agent.closed;
  expect(end).toMatchObject({ reason: 'go_away_superseded' });
  expect(end?.message).toContain('a twin');
  await it.pass(600_000);
  expect(it.network.streams).toHaveLength(1);
});

test('registers anew once when its token is refused, and ends when that one is refused too', async () => {
  await it.connected();
  const refused = () => new AgentError({ code: Code.UNAUTHENTICATED, message: 'bad token' });
  it.network.onRegister = () => 'token-2';
  it.network.stream.ended(refused());
  await it.pass(1_000);
  expect(it.network.registrations[1]?.token).toBeUndefined();
  expect(it.network.stream.token).toBe('token-2');
  it.network.stream.ended(refused());
  expect(await it.agent.closed).toMatchObject({ code: Code.UNAUTHENTICATED });
  expect(it.network.registrations).toHaveLength(2);
});

test('registers anew when it was deregistered while away', async () => {
  await it.connected();
  it.lost();
  await it.pass(500);
  it.network.stream.ended(new AgentError({ code: Code.NOT_FOUND, message: 'no such agent' }));
  await it.pass(1_000);
  expect(it.network.registrations).toHaveLength(2);
  expect(it.network.streams).toHaveLength(3);
});

test('a short session does not reset the backoff, a long one does', async () => {
  await it.connected({ backoffBaseMs: 1_000, backoffCapMs: 16_000 });
  it.lost();
  await it.pass(500);
  it.network.stream.welcome(2n);
  it.lost();
  await it.pass(0);
  expect(it.changes.at(-1)).toMatchObject({ state: 'waiting', retryInMs: 1_000 });
  await it.pass(1_000);
  it.network.stream.welcome(3n);
  await it.pass(10_001);
  it.lost();
  await it.pass(0);
  expect(it.changes.at(-1)).toMatchObject({ state: 'waiting', retryInMs: 500 });
});
