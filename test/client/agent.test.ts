import { describe, expect, test } from 'vitest';
import { AgentError, Code } from '../../src/client/errors.ts';
import { useAgent } from './agent-fixture.ts';

const it = useAgent();

describe('attaching', () => {
  test('registers, says hello with its process and its report, and is attached at welcome', async () => {
    await it.connected({
      features: ['messages/1'],
      maxInFlight: 3,
      report: () => ({ activity: 'idle', load: 0.2 }),
    });
    const [hello] = it.network.stream.frames('hello');
    expect(it.network.registrations[0]?.request).toMatchObject({ namespace: 'default', agentId: 'a-1' });
    expect(it.network.stream.token).toBe('token-1');
    expect(hello).toMatchObject({
      maxInFlight: 3,
      features: ['messages/1'],
      instanceId: it.agent.instanceId,
    });
    expect(hello?.report).toMatchObject({ activity: 'idle', load: 0.2 });
    expect(it.agent).toMatchObject({ state: 'connected', epoch: 1n, id: 'a-1', token: 'token-1' });
  });

  test('waits for a service that is not there yet, with growing waits with jitter up to the cap', async () => {
    it.network.onRegister = () => {
      throw new AgentError({ code: Code.UNAVAILABLE, message: 'refused' });
    };
    it.start({ backoffBaseMs: 1_000, backoffCapMs: 4_000 }, () => 0.5);
    await it.pass(60_000);
    const waits = it.changes.filter(({ state }) => state === 'waiting').map(({ retryInMs }) => retryInMs);
    expect(waits.slice(0, 5)).toEqual([750, 1_500, 3_000, 3_000, 3_000]);
    const requestIds = new Set(it.network.registrations.map(({ request }) => request.requestId));
    expect(requestIds.size, 'repeats of one registration share a request id').toBe(1);
  });

  test('waits as long as the service asks before the jitter', async () => {
    it.network.onRegister = () => {
      throw new AgentError({ code: Code.UNAVAILABLE, message: 'no store', retryAfterMs: 7_000 });
    };
    it.start();
    await it.pass(0);
    expect(it.changes.at(-1)).toMatchObject({ state: 'waiting', retryInMs: 7_500 });
  });

  test.each([
    ['another process is live', Code.ALREADY_EXISTS],
    ['a bad spec', Code.INVALID_ARGUMENT],
    ['stopped by an operator', Code.FAILED_PRECONDITION],
  ])('gives up at once on %s', async (message, code) => {
    it.network.onRegister = () => {
      throw new AgentError({ code, message });
    };
    it.start();
    await expect(it.agent.attached).rejects.toMatchObject({ code, message });
    expect(await it.agent.closed).toMatchObject({ code });
    expect(it.network.registrations).toHaveLength(1);
  });

  test('registers without its kept token when that one is refused', async () => {
    it.network.onRegister = (_, token) => {
      if (token !== undefined) throw new AgentError({ code: Code.UNAUTHENTICATED, message: 'not yours' });
      return 'fresh';
    };
    it.start({ token: 'kept' });
    await it.pass(1_000);
    it.network.stream.welcome(1n);
    await it.agent.attached;
    expect(it.agent.token).toBe('fresh');
  });

  test('says what the last try failed with when it is told to give up', async () => {
    it.network.onRegister = () => {
      throw new AgentError({ code: Code.UNAVAILABLE, message: 'connection refused' });
    };
    const controller = new AbortController();
    it.start({ signal: controller.signal });
    await it.pass(10_000);
    controller.abort();
    await expect(it.agent.attached).rejects.toThrow('connection refused');
  });

  test('stops trying when its signal fires', async () => {
    const controller = new AbortController();
    it.start({ signal: controller.signal });
    await it.pass(0);
    controller.abort();
    await expect(it.agent.attached).rejects.toMatchObject({ code: Code.CANCELLED });
    expect(it.agent.state).toBe('closed');
  });

  test('takes a connection for dead that never brings a welcome', async () => {
    it.start({ timeoutMs: 5_000 });
    await it.pass(5_500);
    expect(it.network.streams).toHaveLength(2);
    expect(it.network.streams[0]?.cancelled).toBe(true);
  });
});

describe('answering', () => {
  test('answers a ping at once with its echo, clock and own delay', async () => {
    await it.connected();
    it.network.stream.down({ case: 'ping', value: { echo: 42n } });
    const [beat] = it.network.stream.frames('heartbeat');
    expect(beat?.echo).toBe(42n);
    expect(Number(beat?.agentTime?.seconds)).toBe(Math.floor(Date.now() / 1000));
    expect(beat?.held).toMatchObject({ seconds: 0n });
    expect(beat?.report, 'unchanged since hello').toBeUndefined();
  });

  test('sends the whole report again when asked for it', async () => {
    await it.connected({ report: () => ({ load: 0.3 }) });
    it.network.stream.down({ case: 'ping', value: { echo: 1n, fullReport: true } });
    expect(it.network.stream.frames('heartbeat')[0]?.report?.load).toBe(0.3);
  });

  test('answers only the latest ping when the transport held back, and tells how long it held it', async () => {
    await it.connected();
    it.network.stream.room = false;
    it.network.stream.down({ case: 'ping', value: { echo: 1n } });
    it.network.stream.down({ case: 'ping', value: { echo: 2n } });
    await it.pass(1_500);
    it.network.stream.down({ case: 'ping', value: { echo: 3n } });
    await it.pass(250);
    it.network.stream.drain();
    const beats = it.network.stream.frames('heartbeat');
    expect(beats.map(({ echo }) => echo)).toEqual([1n, 3n]);
    expect(beats[1]?.held).toMatchObject({ seconds: 0n, nanos: 250_000_000 });
  });
});

describe('reporting', () => {
  test('sends changes of one moment in one frame, and later ones no sooner than the interval', async () => {
    await it.connected({ reportIntervalMs: 1_000 });
    await it.pass(5_000);
    it.agent.report({ activity: 'reading', load: 0.5 });
    it.agent.report({ usage: { slots: 2 } });
    it.agent.progress('pages', 1, 10);
    await it.pass(0);
    it.agent.progress('pages', 2, 10);
    it.agent.progress('pages', 3, 10);
    await it.pass(999);
    expect(it.network.stream.frames('heartbeat')).toHaveLength(1);
    await it.pass(1);
    const [first, second] = it.network.stream.frames('heartbeat').map(({ report }) => report);
    expect(first).toMatchObject({ activity: 'reading', load: 0.5, usage: { slots: 2n } });
    expect(second?.progress).toMatchObject([{ name: 'pages', done: 3n, total: 10n }]);
    expect(second).toMatchObject({ activity: 'reading', load: 0.5 });
  });

  test('sends nothing when a change changes nothing', async () => {
    await it.connected({ report: () => ({ load: 0.5 }) });
    it.agent.report({ load: 0.5 });
    await it.pass(10_000);
    expect(it.network.stream.frames('heartbeat')).toHaveLength(0);
  });

  test('refuses values that the service would refuse, where the caller sees it', async () => {
    await it.connected();
    expect(() => it.agent.report({ load: Number.NaN })).toThrow(RangeError);
    expect(() => it.agent.report({ load: -0.1 })).toThrow(RangeError);
    expect(() => it.agent.report({ usage: { slots: 1.5 } })).toThrow(RangeError);
    expect(() => it.agent.progress('pages', -1)).toThrow(RangeError);
    expect(() => {
      for (let i = 0; i <= 256; i++) it.agent.progress(`counter-${i}`, 1);
    }).toThrow(RangeError);
  });

  test('keeps answering pings when the report callback throws', async () => {
    let broken = false;
    await it.connected({
      report: () => {
        if (broken) throw new Error('no sensor');
        return { load: 0.1 };
      },
    });
    broken = true;
    it.network.stream.down({ case: 'ping', value: { echo: 9n } });
    expect(it.network.stream.frames('heartbeat')[0]?.echo).toBe(9n);
  });
});

describe('sending', () => {
  const message = { case: 'send', value: { $typeName: 'x' } } as never;

  test('resolves when the service says that the effect is stored', async () => {
    await it.connected();
    const sent = it.agent.sendFrame(message);
    const frame = it.network.stream.up.at(-1);
    it.network.stream.down({ case: 'result', value: { frameId: frame?.frameId ?? '' } });
    await sent;
  });

  test('rejects with what the service answers', async () => {
    await it.connected();
    const sent = it.agent.sendFrame(message);
    const frameId = it.network.stream.up.at(-1)?.frameId ?? '';
    const value = { frameId, code: Code.INVALID_ARGUMENT, reason: 'INVALID_FIELDS', detail: 'id is empty' };
    it.network.stream.down({ case: 'result', value });
    await expect(sent).rejects.toMatchObject({ reason: 'INVALID_FIELDS', message: 'id is empty' });
  });

  test('sends the same frame again after the delay that the service asks for', async () => {
    await it.connected();
    const sent = it.agent.sendFrame(message);
    const frameId = it.network.stream.up.at(-1)?.frameId ?? '';
    const value = { frameId, code: Code.UNAVAILABLE, retryAfter: { seconds: 2n } };
    it.network.stream.down({ case: 'result', value });
    await it.pass(2_000);
    expect(it.network.stream.up.filter((frame) => frame.frameId === frameId)).toHaveLength(2);
    it.network.stream.down({ case: 'result', value: { frameId } });
    await sent;
  });

  test('sends what was not answered again in the next session, in order', async () => {
    await it.connected();
    const first = it.agent.sendFrame(message);
    it.lost();
    const second = it.agent.sendFrame(message);
    await it.pass(500);
    expect(it.network.stream.frames('send'), 'not before welcome').toHaveLength(0);
    it.network.stream.welcome(2n);
    const ids = it.network.stream.up
      .filter(({ frame }) => frame.case === 'send')
      .map(({ frameId }) => frameId);
    expect(ids).toEqual([it.network.streams[0]?.up.at(-1)?.frameId, ids[1]]);
    for (const frameId of ids) it.network.stream.down({ case: 'result', value: { frameId } });
    await Promise.all([first, second]);
  });

  test('does not send again what was stored', async () => {
    await it.connected();
    const sent = it.agent.sendFrame(message);
    const frameId = it.network.stream.up.at(-1)?.frameId ?? '';
    it.network.stream.down({ case: 'result', value: { frameId } });
    await sent;
    it.lost();
    await it.pass(500);
    it.network.stream.welcome(2n);
    expect(it.network.stream.frames('send')).toHaveLength(0);
  });

  test('refuses more than a bounded number of unanswered frames', async () => {
    await it.connected();
    const waiting = Array.from({ length: 1_024 }, () => it.agent.sendFrame(message));
    for (const one of waiting) one.catch(() => {});
    await expect(it.agent.sendFrame(message)).rejects.toMatchObject({ code: Code.RESOURCE_EXHAUSTED });
  });

  test('rejects what waits when the agent is closed', async () => {
    await it.connected();
    const sent = it.agent.sendFrame(message);
    await Promise.all([expect(sent).rejects.toMatchObject({ code: Code.CANCELLED }), it.agent.close()]);
  });
});

describe('leaving', () => {
  test('says goodbye, waits until that is stored, half-closes and ends', async () => {
    await it.connected();
    const left = it.agent.leave('done');
    expect(it.network.stream.frames('leave')[0]?.reason).toBe('done');
    await it.pass(2_000);
    expect(it.agent.state).toBe('connected');
    it.network.stream.down({
      case: 'result',
      value: { frameId: it.network.stream.up.at(-1)?.frameId ?? '' },
    });
    await left;
    expect(it.network.stream.halfClosed).toBe(true);
    expect(await it.agent.closed).toBeUndefined();
    expect(it.changes.map(({ state }) => state)).toEqual(['connecting', 'connected', 'closed']);
  });

  test('does not plan to come back when the service ends the session before it answers the goodbye', async () => {
    await it.connected();
    const left = it.agent.leave();
    it.network.stream.ended();
    await left;
    expect(it.changes.map(({ state }) => state)).toEqual(['connecting', 'connected', 'closed']);
  });

  test('ends all the same when nobody answers the goodbye', async () => {
    await it.connected({ timeoutMs: 3_000 });
    const left = it.agent.leave();
    await it.pass(3_000);
    await left;
    expect(it.agent.state).toBe('closed');
  });

  test('close says nothing: the service sees a lost connection', async () => {
    await it.connected();
    await it.agent.close();
    expect(it.network.stream.frames('leave')).toHaveLength(0);
    expect(it.network.stream.cancelled).toBe(true);
  });
});
