import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { Agent } from '../../src/client/agent.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import type { ConnectAgentOptions, StateChange } from '../../src/client/options.ts';
import { FakeNetwork } from './fake-transport.ts';

let network: FakeNetwork;
let agent: Agent;
let changes: StateChange[];

beforeEach(() => {
  vi.useFakeTimers();
  network = new FakeNetwork();
  changes = [];
});

afterEach(async () => {
  await agent.close();
  expect(vi.getTimerCount(), 'timers left behind').toBe(0);
  expect(network.openTransports, 'connections left open').toBe(0);
  vi.useRealTimers();
});

function start(options: Partial<ConnectAgentOptions> = {}, random = () => 0.5): Agent {
  const onState = (change: StateChange) => changes.push(change);
  agent = new Agent(
    { server: 'unused', id: 'a-1', spec: { kind: 'test' }, onState, ...options },
    { createTransport: network.createTransport, random },
  );
  return agent;
}

async function connected(options: Partial<ConnectAgentOptions> = {}): Promise<Agent> {
  start(options);
  await vi.advanceTimersByTimeAsync(0);
  network.stream.welcome(1n);
  await agent.attached;
  return agent;
}

const pass = (ms: number) => vi.advanceTimersByTimeAsync(ms);
const lost = () =>
  network.stream.ended(new AgentError({ code: Code.UNAVAILABLE, message: 'connection reset' }));

describe('attaching', () => {
  test('registers, says hello with its process and its report, and is attached at welcome', async () => {
    await connected({
      features: ['messages/1'],
      maxInFlight: 3,
      report: () => ({ activity: 'idle', load: 0.2 }),
    });
    const [hello] = network.stream.frames('hello');
    expect(network.registrations[0]?.request).toMatchObject({ namespace: 'default', agentId: 'a-1' });
    expect(network.stream.token).toBe('token-1');
    expect(hello).toMatchObject({ maxInFlight: 3, features: ['messages/1'], instanceId: agent.instanceId });
    expect(hello?.report).toMatchObject({ activity: 'idle', load: 0.2 });
    expect(agent).toMatchObject({ state: 'connected', epoch: 1n, id: 'a-1', token: 'token-1' });
  });

  test('waits for a service that is not there yet, with growing full-jitter waits up to the cap', async () => {
    network.onRegister = () => {
      throw new AgentError({ code: Code.UNAVAILABLE, message: 'refused' });
    };
    start({ backoffBaseMs: 1_000, backoffCapMs: 4_000 }, () => 0.5);
    await pass(60_000);
    const waits = changes.filter(({ state }) => state === 'waiting').map(({ retryInMs }) => retryInMs);
    expect(waits.slice(0, 5)).toEqual([500, 1_000, 2_000, 2_000, 2_000]);
    const requestIds = new Set(network.registrations.map(({ request }) => request.requestId));
    expect(requestIds.size, 'repeats of one registration share a request id').toBe(1);
  });

  test('waits as long as the service asks before the jitter', async () => {
    network.onRegister = () => {
      throw new AgentError({ code: Code.UNAVAILABLE, message: 'no store', retryAfterMs: 7_000 });
    };
    start();
    await pass(0);
    expect(changes.at(-1)).toMatchObject({ state: 'waiting', retryInMs: 7_500 });
  });

  test.each([
    ['another process is live', Code.ALREADY_EXISTS],
    ['a bad spec', Code.INVALID_ARGUMENT],
    ['stopped by an operator', Code.FAILED_PRECONDITION],
  ])('gives up at once on %s', async (message, code) => {
    network.onRegister = () => {
      throw new AgentError({ code, message });
    };
    start();
    await expect(agent.attached).rejects.toMatchObject({ code, message });
    expect(await agent.closed).toMatchObject({ code });
    expect(network.registrations).toHaveLength(1);
  });

  test('stops trying when its signal fires', async () => {
    const controller = new AbortController();
    start({ signal: controller.signal });
    await pass(0);
    controller.abort();
    await expect(agent.attached).rejects.toMatchObject({ code: Code.CANCELLED });
    expect(agent.state).toBe('closed');
  });

  test('takes a connection for dead that never brings a welcome', async () => {
    start({ timeoutMs: 5_000 });
    await pass(5_500);
    expect(network.streams).toHaveLength(2);
    expect(network.streams[0]?.cancelled).toBe(true);
  });
});

describe('answering', () => {
  test('answers a ping at once with its echo, clock and own delay', async () => {
    await connected();
    network.stream.down({ case: 'ping', value: { echo: 42n } });
    const [beat] = network.stream.frames('heartbeat');
    expect(beat?.echo).toBe(42n);
    expect(Number(beat?.agentTime?.seconds)).toBe(Math.floor(Date.now() / 1000));
    expect(beat?.held).toMatchObject({ seconds: 0n });
    expect(beat?.report, 'unchanged since hello').toBeUndefined();
  });

  test('sends the whole report again when asked for it', async () => {
    await connected({ report: () => ({ load: 0.3 }) });
    network.stream.down({ case: 'ping', value: { echo: 1n, fullReport: true } });
    expect(network.stream.frames('heartbeat')[0]?.report?.load).toBe(0.3);
  });

  test('answers only the latest ping when the transport held back, and tells how long it held it', async () => {
    await connected();
    network.stream.room = false;
    network.stream.down({ case: 'ping', value: { echo: 1n } });
    network.stream.down({ case: 'ping', value: { echo: 2n } });
    await pass(1_500);
    network.stream.down({ case: 'ping', value: { echo: 3n } });
    await pass(250);
    network.stream.drain();
    const beats = network.stream.frames('heartbeat');
    expect(beats.map(({ echo }) => echo)).toEqual([1n, 3n]);
    expect(beats[1]?.held).toMatchObject({ seconds: 0n, nanos: 250_000_000 });
  });
});

describe('reporting', () => {
  test('sends changes of one moment in one frame, and later ones no sooner than the interval', async () => {
    await connected({ reportIntervalMs: 1_000 });
    await pass(5_000);
    agent.report({ activity: 'reading', load: 0.5 });
    agent.report({ usage: { slots: 2 } });
    agent.progress('pages', 1, 10);
    await pass(0);
    agent.progress('pages', 2, 10);
    agent.progress('pages', 3, 10);
    await pass(999);
    expect(network.stream.frames('heartbeat')).toHaveLength(1);
    await pass(1);
    const [first, second] = network.stream.frames('heartbeat').map(({ report }) => report);
    expect(first).toMatchObject({ activity: 'reading', load: 0.5, usage: { slots: 2n } });
    expect(second?.progress).toMatchObject([{ name: 'pages', done: 3n, total: 10n }]);
    expect(second).toMatchObject({ activity: 'reading', load: 0.5 });
  });

  test('sends nothing when a change changes nothing', async () => {
    await connected({ report: () => ({ load: 0.5 }) });
    agent.report({ load: 0.5 });
    await pass(10_000);
    expect(network.stream.frames('heartbeat')).toHaveLength(0);
  });

  test('refuses values that the service would refuse, where the caller sees it', async () => {
    await connected();
    expect(() => agent.report({ load: Number.NaN })).toThrow(RangeError);
    expect(() => agent.report({ load: -0.1 })).toThrow(RangeError);
    expect(() => agent.report({ usage: { slots: 1.5 } })).toThrow(RangeError);
    expect(() => agent.progress('pages', -1)).toThrow(RangeError);
    expect(() => {
      for (let i = 0; i <= 256; i++) agent.progress(`counter-${i}`, 1);
    }).toThrow(RangeError);
  });

  test('keeps answering pings when the report callback throws', async () => {
    let broken = false;
    await connected({
      report: () => {
        if (broken) throw new Error('no sensor');
        return { load: 0.1 };
      },
    });
    broken = true;
    network.stream.down({ case: 'ping', value: { echo: 9n } });
    expect(network.stream.frames('heartbeat')[0]?.echo).toBe(9n);
  });
});

describe('coming back', () => {
  test('resumes with the same process and token, without registering again', async () => {
    await connected();
    lost();
    await pass(500);
    expect(network.streams).toHaveLength(2);
    expect(network.registrations).toHaveLength(1);
    const [first, second] = network.streams.map((stream) => stream.frames('hello')[0]?.instanceId);
    expect(second).toBe(first);
    network.stream.welcome(2n);
    expect(agent).toMatchObject({ state: 'connected', epoch: 2n });
  });

  test('gives up a silent stream after two thirds of the lease, before it counts as lost', async () => {
    await connected();
    await pass(15_000);
    network.stream.down({ case: 'ping', value: { echo: 1n } });
    await pass(19_999);
    expect(network.stream.cancelled).toBe(false);
    await pass(1);
    expect(network.streams[0]?.cancelled).toBe(true);
    expect(agent.leaseSignal.aborted).toBe(false);
    expect(changes.at(-1)).toMatchObject({ state: 'waiting', error: { reason: 'silent_stream' } });
  });

  test('follows a lease that a ping lengthens', async () => {
    await connected();
    network.stream.down({ case: 'ping', value: { echo: 1n, lease: { seconds: 300n } } });
    await pass(199_999);
    expect(network.stream.cancelled).toBe(false);
    await pass(1);
    expect(network.stream.cancelled).toBe(true);
  });

  test('fires the lease signal once the whole lease was silent, and has a fresh one after coming back', async () => {
    await connected();
    const before = agent.leaseSignal;
    await pass(29_999);
    expect(before.aborted).toBe(false);
    await pass(1);
    expect(before.aborted).toBe(true);
    expect(before.reason).toMatchObject({ reason: 'lease_expired' });
    network.stream.welcome(2n);
    expect(agent.leaseSignal.aborted).toBe(false);
  });

  test('comes back no sooner than go_away says', async () => {
    await connected();
    const value = { reason: GoAway_Reason.SHUTDOWN, reconnectAfter: { seconds: 4n } };
    network.stream.down({ case: 'goAway', value });
    await pass(3_999);
    expect(network.streams).toHaveLength(1);
    await pass(501);
    expect(network.streams).toHaveLength(2);
  });

  test('stays away after a go_away without a time', async () => {
    await connected();
    network.stream.down({ case: 'goAway', value: { reason: GoAway_Reason.SUPERSEDED, detail: 'a twin' } });
    const end = await agent.closed;
    expect(end).toMatchObject({ reason: 'go_away_superseded' });
    expect(end?.message).toContain('a twin');
    await pass(600_000);
    expect(network.streams).toHaveLength(1);
  });

  test('registers anew once when its token is refused, and ends when that one is refused too', async () => {
    await connected();
    const refused = () => new AgentError({ code: Code.UNAUTHENTICATED, message: 'bad token' });
    network.onRegister = () => 'token-2';
    network.stream.ended(refused());
    await pass(1_000);
    expect(network.registrations[1]?.token).toBeUndefined();
    expect(network.stream.token).toBe('token-2');
    network.stream.ended(refused());
    expect(await agent.closed).toMatchObject({ code: Code.UNAUTHENTICATED });
    expect(network.registrations).toHaveLength(2);
  });

  test('registers anew when it was deregistered while away', async () => {
    await connected();
    lost();
    await pass(500);
    network.stream.ended(new AgentError({ code: Code.NOT_FOUND, message: 'no such agent' }));
    await pass(1_000);
    expect(network.registrations).toHaveLength(2);
    expect(network.streams).toHaveLength(3);
  });

  test('a short session does not reset the backoff, a long one does', async () => {
    await connected({ backoffBaseMs: 1_000, backoffCapMs: 16_000 });
    lost();
    await pass(500);
    network.stream.welcome(2n);
    lost();
    await pass(0);
    expect(changes.at(-1)).toMatchObject({ state: 'waiting', retryInMs: 1_000 });
    await pass(1_000);
    network.stream.welcome(3n);
    await pass(10_001);
    lost();
    await pass(0);
    expect(changes.at(-1)).toMatchObject({ state: 'waiting', retryInMs: 500 });
  });
});

describe('sending', () => {
  const message = { case: 'message', value: { $typeName: 'x', id: 'm-1' } } as never;

  test('resolves when the service says that the effect is stored', async () => {
    await connected();
    const sent = agent.send(message);
    const frame = network.stream.up.at(-1);
    network.stream.down({ case: 'result', value: { frameId: frame?.frameId ?? '' } });
    await sent;
  });

  test('rejects with what the service answers', async () => {
    await connected();
    const sent = agent.send(message);
    const frameId = network.stream.up.at(-1)?.frameId ?? '';
    const value = { frameId, code: Code.INVALID_ARGUMENT, reason: 'INVALID_FIELDS', detail: 'id is empty' };
    network.stream.down({ case: 'result', value });
    await expect(sent).rejects.toMatchObject({ reason: 'INVALID_FIELDS', message: 'id is empty' });
  });

  test('sends the same frame again after the delay that the service asks for', async () => {
    await connected();
    const sent = agent.send(message);
    const frameId = network.stream.up.at(-1)?.frameId ?? '';
    const value = { frameId, code: Code.UNAVAILABLE, retryAfter: { seconds: 2n } };
    network.stream.down({ case: 'result', value });
    await pass(2_000);
    expect(network.stream.up.filter((frame) => frame.frameId === frameId)).toHaveLength(2);
    network.stream.down({ case: 'result', value: { frameId } });
    await sent;
  });

  test('sends what was not answered again in the next session, in order', async () => {
    await connected();
    const first = agent.send(message);
    lost();
    const second = agent.send(message);
    await pass(500);
    expect(network.stream.frames('message'), 'not before welcome').toHaveLength(0);
    network.stream.welcome(2n);
    const ids = network.stream.up
      .filter(({ frame }) => frame.case === 'message')
      .map(({ frameId }) => frameId);
    expect(ids).toEqual([network.streams[0]?.up.at(-1)?.frameId, ids[1]]);
    for (const frameId of ids) network.stream.down({ case: 'result', value: { frameId } });
    await Promise.all([first, second]);
  });

  test('refuses more than a bounded number of unanswered frames', async () => {
    await connected();
    const waiting = Array.from({ length: 1_024 }, () => agent.send(message));
    for (const one of waiting) one.catch(() => {});
    await expect(agent.send(message)).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  });

  test('rejects what waits when the agent is closed', async () => {
    await connected();
    const sent = agent.send(message);
    await Promise.all([expect(sent).rejects.toMatchObject({ code: Code.CANCELLED }), agent.close()]);
  });
});

describe('leaving', () => {
  test('says goodbye, half-closes and ends once that is stored', async () => {
    await connected();
    const left = agent.leave('done');
    expect(network.stream.frames('leave')[0]?.reason).toBe('done');
    expect(network.stream.halfClosed).toBe(true);
    network.stream.down({ case: 'result', value: { frameId: network.stream.up.at(-1)?.frameId ?? '' } });
    await left;
    expect(await agent.closed).toBeUndefined();
    expect(changes.map(({ state }) => state)).toEqual(['connecting', 'connected', 'closed']);
  });

  test('ends all the same when nobody answers the goodbye', async () => {
    await connected({ timeoutMs: 3_000 });
    const left = agent.leave();
    await pass(3_000);
    await left;
    expect(agent.state).toBe('closed');
  });

  test('close says nothing: the service sees a lost connection', async () => {
    await connected();
    await agent.close();
    expect(network.stream.frames('leave')).toHaveLength(0);
    expect(network.stream.cancelled).toBe(true);
  });
});
