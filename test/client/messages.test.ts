import { describe, expect, it } from 'vitest';
import type { CallAgentRequest } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import type { Agent } from '../../src/client/agent.ts';
import { AgentError, CallFailedError, Code } from '../../src/client/errors.ts';
import type { ConnectAgentOptions } from '../../src/client/options.ts';
import { useAgent } from './agent-fixture.ts';

const fixture = useAgent();

/** Attached to a service that takes messages up the session. */
async function attached(options: Partial<ConnectAgentOptions> = {}, maxFrameBytes = 100_000): Promise<Agent> {
  fixture.start(options);
  await fixture.pass(0);
  welcome(1n, ['messages/1'], maxFrameBytes);
  await fixture.agent.attached;
  return fixture.agent;
}
function welcome(epoch: bigint, features: string[] = ['messages/1'], maxFrameBytes = 100_000): void {
  const lease = { seconds: 30n };
  fixture.network.stream.down({ case: 'welcome', value: { epoch, lease, features, maxFrameBytes } });
}
const sent = () => fixture.network.stream.frames('send');
const frameId = () => fixture.network.stream.up.findLast(({ frame }) => frame.case === 'send')?.frameId ?? '';
function answer(result: { code?: number; reason?: string; retryAfter?: { seconds: bigint } } = {}): void {
  fixture.network.stream.down({ case: 'result', value: { frameId: frameId(), ...result } });
}
const note = { type: 'note', data: 'hello' };

describe('send', () => {
  it('goes up the session with an id, and resolves when it is stored', async () => {
    const agent = await attached();
    const storing = agent.send(
      'b',
      { ...note, subject: 's', extensions: { partitionkey: 'p' } },
      {
        expireAfterMs: 1_500,
        orderingKey: 'k',
      },
    );
    await fixture.pass(0);
    expect(sent()).toMatchObject([
      {
        to: { case: 'agentId', value: 'b' },
        orderingKey: 'k',
        expireAfter: { seconds: 1n, nanos: 500_000_000 },
        message: { type: 'note', subject: 's', source: '', extensions: { partitionkey: 'p' } },
      },
    ]);
    answer();
    expect(await storing).toEqual({ messageId: sent()[0]?.message?.id });
    expect(sent()[0]?.message?.id).toMatch(/^[0-9a-f-]{36}$/);
  });

  it.each([
    [{ capability: 'c' }, 'capability', 'c'],
    [{ topic: 't' }, 'topic', 't'],
    [{ selector: 'a=b' }, 'selector', 'a=b'],
    [{ agentId: 'x' }, 'agentId', 'x'],
  ] as const)('is for whom it says: %o', async (target, kind, value) => {
    const agent = await attached();
    agent.send(target, note).catch(() => {});
    await fixture.pass(0);
    expect(sent()[0]?.to).toEqual({ case: kind, value });
    answer();
  });

  it('is sent again with the same id after a reconnect', async () => {
    const agent = await attached();
    const storing = agent.send('b', note);
    await fixture.pass(0);
    const id = sent()[0]?.message?.id;
    fixture.lost();
    await fixture.pass(1_500);
    welcome(2n);
    expect(sent()[0]?.message?.id).toBe(id);
    answer();
    expect(await storing).toEqual({ messageId: id });
  });

  it('waits for a connection, and is given up in its time or when its signal fires', async () => {
    fixture.start();
    const late = fixture.agent.send('b', note, { timeoutMs: 100 }).catch((error: unknown) => error);
    const giveUp = new AbortController();
    const given = fixture.agent.send('b', note, { signal: giveUp.signal }).catch((error: unknown) => error);
    await fixture.pass(100);
    expect(await late).toMatchObject({ code: Code.DEADLINE_EXCEEDED, reason: 'not_acknowledged' });
    giveUp.abort();
    expect(await given).toMatchObject({ code: Code.CANCELLED });
    welcome(1n);
    await fixture.pass(0);
    expect(sent()).toEqual([]);
  });

  it('that is refused for now is tried again where the service failed, and told where the mailbox is full', async () => {
    const agent = await attached();
    const retried = agent.send('b', note);
    await fixture.pass(0);
    answer({ code: Code.UNAVAILABLE, reason: 'STORE_UNAVAILABLE', retryAfter: { seconds: 1n } });
    await fixture.pass(1_000);
    expect(sent()).toHaveLength(2);
    answer();
    await retried;
    const full = agent.send('b', note).catch((error: unknown) => error);
    await fixture.pass(0);
    answer({ code: Code.RESOURCE_EXHAUSTED, reason: 'MAILBOX_FULL', retryAfter: { seconds: 5n } });
    expect(await full).toMatchObject({ reason: 'MAILBOX_FULL', retryAfterMs: 5_000 });
    const gone = agent.send({ capability: 'c' }, note).catch((error: unknown) => error);
    await fixture.pass(0);
    answer({ code: Code.UNAVAILABLE, reason: 'RECEIVER_GONE', retryAfter: { seconds: 1n } });
    expect(await gone).toMatchObject({ code: Code.UNAVAILABLE, reason: 'RECEIVER_GONE' });
  });

  it('travels by a call of its own where the session does not take it: not agreed on, or too large', async () => {
    const agent = await attached({}, 1_000);
    fixture.network.onCall = async () => ({ receivers: 1 });
    const { messageId } = await agent.send('b', { type: 'big', data: 'x'.repeat(900) });
    fixture.lost();
    await fixture.pass(1_500);
    welcome(2n, []);
    await agent.send('b', note);
    expect(sent()).toEqual([]);
    expect(fixture.network.calls.map(({ request }) => request)).toMatchObject([
      { sessionEpoch: 1n, send: { message: { type: 'big', id: messageId } } },
      { sessionEpoch: 2n, send: { message: { type: 'note' } } },
    ]);
  });

  it('travels by a call of its own when a later session does not know the frame', async () => {
    const agent = await attached();
    fixture.network.onCall = async () => ({ receivers: 1 });
    const storing = agent.send('b', note);
    await fixture.pass(0);
    const id = sent()[0]?.message?.id;
    answer({ code: Code.INVALID_ARGUMENT, reason: 'UNKNOWN_FRAME' });
    expect(await storing).toEqual({ messageId: id });
    expect(fixture.network.calls).toMatchObject([{ request: { send: { message: { id } } } }]);
  });
});

describe('call', () => {
  const output = { data: { case: 'text' as const, value: '6' } };
  const requests = () => fixture.network.calls.map(({ request }) => request as CallAgentRequest);

  it('is bound to the session, says how long it waits, and resolves to the answer', async () => {
    const agent = await attached();
    fixture.network.onCall = async () => ({
      output,
      agentId: 'b',
      deliveryId: 'd',
      elapsed: { seconds: 1n },
    });
    const answered = await agent.call({ capability: 'sum' }, note, { timeoutMs: 5_000, idempotent: true });
    expect(answered).toEqual({
      data: '6',
      contentType: 'text/plain',
      agentId: 'b',
      deliveryId: 'd',
      elapsedMs: 1_000,
    });
    expect(requests()).toMatchObject([
      { sessionEpoch: 1n, idempotent: true, send: { to: { case: 'capability', value: 'sum' } } },
    ]);
    expect(requests()[0]?.timeout).toMatchObject({ seconds: 5n });
  });

  it('that failed says who, how and what', async () => {
    const agent = await attached();
    fixture.network.onCall = async () => {
      const metadata = { agent_id: 'b', state: 'declined', error: 'busy' };
      throw new AgentError({ code: Code.FAILED_PRECONDITION, reason: 'CALL_FAILED', message: 'm', metadata });
    };
    const error = await agent.call('b', note).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(CallFailedError);
    expect(error).toMatchObject({
      agentId: 'b',
      state: 'declined',
      agentError: 'busy',
      reason: 'CALL_FAILED',
    });
  });

  it('is made anew in the next session where the old one refused it, without having done anything', async () => {
    const agent = await attached();
    fixture.network.onCall = async () => {
      if (requests().length > 1) return { output, agentId: 'b' };
      throw new AgentError({ code: Code.ABORTED, reason: 'EPOCH_STALE', message: 'old' });
    };
    const answered = agent.call('b', note);
    await fixture.pass(500);
    expect((await answered).data).toBe('6');
    expect(requests()[1]?.timeout?.nanos).toBeGreaterThan(0); // less is left
  });

  it('over a connection that breaks is told, and made again only where it may run twice', async () => {
    const agent = await attached();
    fixture.network.onCall = () => new Promise(() => {});
    const once = agent.call('b', note).catch((error: unknown) => error);
    const twice = agent.call('b', note, { idempotent: true });
    await fixture.pass(0);
    fixture.lost();
    expect(await once).toMatchObject({ code: Code.UNAVAILABLE, reason: 'connection_lost' });
    fixture.network.onCall = async () => ({ output, agentId: 'b' });
    await fixture.pass(1_500);
    welcome(2n);
    await fixture.pass(2_000);
    expect((await twice).data).toBe('6');
    expect(requests().map(({ sessionEpoch }) => sessionEpoch)).toEqual([1n, 1n, 2n]);
  });

  it('of an agent that is gone is not made again, idempotent or not', async () => {
    const agent = await attached();
    fixture.network.onCall = async () => {
      throw new AgentError({ code: Code.UNAVAILABLE, reason: 'RECEIVER_GONE', message: 'lost' });
    };
    await expect(agent.call('b', note, { idempotent: true })).rejects.toMatchObject({
      reason: 'RECEIVER_GONE',
    });
    expect(requests()).toHaveLength(1);
  });

  it('without a connection ends with its time, and so does one without time', async () => {
    fixture.start();
    const late = fixture.agent.call('b', note, { timeoutMs: 500 }).catch((error: unknown) => error);
    await fixture.pass(500);
    expect(await late).toMatchObject({ code: Code.DEADLINE_EXCEEDED, reason: 'not_attached' });
    await expect(fixture.agent.call('b', note, { timeoutMs: 0 })).rejects.toMatchObject({
      reason: 'deadline_passed',
    });
    expect(requests()).toEqual([]);
  });

  it('is taken back when its signal fires', async () => {
    const agent = await attached();
    fixture.network.onCall = () => new Promise(() => {});
    const giveUp = new AbortController();
    const call = agent.call('b', note, { signal: giveUp.signal }).catch((error: unknown) => error);
    await fixture.pass(0);
    giveUp.abort();
    expect(await call).toMatchObject({ code: Code.CANCELLED, message: 'the caller gave up' });
  });
});

describe('subscribe', () => {
  const topics = () => fixture.network.calls.map(({ method, request }) => [method, request] as const);

  it('creates a subscription under an id that stays the same, and ends it with the last who has it', async () => {
    const agent = await attached();
    fixture.network.onCall = async (_, { subscription }) => ({ subscription });
    const one = await agent.subscribe('news.*');
    const other = await agent.subscribe('news.*', () => {});
    expect(other.id).toBe(one.id);
    await one.unsubscribe();
    await one.unsubscribe();
    expect(topics().map(([method]) => method)).toEqual(['CreateSubscription', 'CreateSubscription']);
    await other.unsubscribe();
    expect(topics().at(-1)).toMatchObject(['DeleteSubscription', { subscriptionId: one.id }]);
  });

  it('is made anew when the agent had to register anew, and takes its handler out when it is refused', async () => {
    const agent = await attached();
    fixture.network.onCall = async (_, { subscription }) => ({ subscription });
    await agent.subscribe('news');
    fixture.network.stream.ended(
      new AgentError({ code: Code.NOT_FOUND, reason: 'AGENT_NOT_FOUND', message: 'gone' }),
    );
    await fixture.pass(1_500);
    welcome(1n);
    await fixture.pass(0);
    expect(topics().map(([method]) => method)).toEqual(['CreateSubscription', 'CreateSubscription']);
    fixture.network.onCall = async () => {
      throw new AgentError({ code: Code.RESOURCE_EXHAUSTED, reason: 'LIMIT_REACHED', message: 'too many' });
    };
    await expect(agent.subscribe('more', () => {})).rejects.toMatchObject({ reason: 'LIMIT_REACHED' });
  });
});
