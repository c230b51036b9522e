import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  type AgentHandle,
  CallFailedError,
  Code,
  type ConnectAgentOptions,
  connectAgent,
  type MessageContext,
  PermanentError,
} from '../../src/client/index.ts';
import { Stack } from '../support/stack.ts';
import { until, within } from '../support/until.ts';

let stack: Stack;
let agents: AgentHandle[] = [];
beforeAll(async () => {
  stack = await Stack.start('lmdb');
}, 60_000);
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  agents = [];
});
afterAll(() => stack?.dispose());

async function attach(id: string, options: Partial<ConnectAgentOptions> = {}): Promise<AgentHandle> {
  const agent = await connectAgent({
    server: stack.service.grpc,
    id,
    takeover: true,
    spec: { kind: 'test' },
    backoffBaseMs: 100,
    backoffCapMs: 500,
    ...options,
  });
  agents.push(agent);
  return agent;
}

const many = { maxInFlight: 8 };
const deadLetter = (agentId: string) =>
  until(async () => (await stack.clients.messages.listDeadLetters({ agentId })).deadLetters[0], Boolean, {
    what: `a dead letter of ${agentId}`,
  });

describe('agents that talk to each other, through the SDK', () => {
  it('a message, a topic and a call, each with its kind of data', async () => {
    const heard: unknown[] = [];
    const a = await attach('a', many);
    const b = await attach('b', {
      ...many,
      onMessage: { 'note.*': ({ type, data }) => void heard.push([type, data]) },
      onCall: { sum: ({ data }) => ({ total: (data as number[]).reduce((x, y) => x + y, 0) }) },
    });
    await b.subscribe('news.*', ({ topic, data }) => void heard.push([topic, data]));
    await a.send('b', { type: 'note.text', data: 'hello' });
    await a.send('b', { type: 'note.json', data: { n: 1 } });
    await a.send({ agentId: 'b' }, { type: 'note.bytes', data: Uint8Array.of(1, 2) });
    await a.publish('news.today', { type: 'story', data: ['x'] });
    const answer = await a.call('b', { type: 'sum', data: [1, 2, 3] });
    expect(answer).toMatchObject({ data: { total: 6 }, agentId: 'b', contentType: 'application/json' });
    await until(
      () => heard.length,
      (count) => count === 4,
      { what: 'the messages to come' },
    );
    expect(heard).toEqual([
      ['note.text', 'hello'],
      ['note.json', { n: 1 }],
      ['note.bytes', Buffer.of(1, 2)],
      ['news.today', ['x']],
    ]);
  });

  it('two that call each other within their handlers', async () => {
    const down = (agent: () => AgentHandle, other: string) => ({
      countdown: async ({ data }: { data?: unknown }): Promise<string> => {
        const left = Number(data);
        if (left === 0) return 'lift-off';
        return `${left} ${(await agent().call(other, { type: 'countdown', data: left - 1 })).data}`;
      },
    });
    const ping: AgentHandle = await attach('ping', { ...many, onCall: down(() => ping, 'pong') });
    const pong: AgentHandle = await attach('pong', { ...many, onCall: down(() => pong, 'ping') });
    expect(await ping.call('pong', { type: 'countdown', data: 5 })).toMatchObject({
      data: '5 4 3 2 1 lift-off',
    });
  });

  it('the same id is stored once, an unsubscribed topic reaches nobody', async () => {
    const heard: unknown[] = [];
    const a = await attach('a1');
    const b = await attach('b1', { onMessage: { '*': ({ id }) => void heard.push(id) } });
    await a.send('b1', { type: 'x', id: 'once' });
    await a.send('b1', { type: 'x', id: 'once' });
    const first = await b.subscribe('t1');
    const second = await b.subscribe('t1');
    expect(second.id).toBe(first.id);
    await first.unsubscribe();
    await a.publish('t1', { type: 'x', id: 'still' });
    await second.unsubscribe();
    await expect(a.publish('t1', { type: 'x' })).rejects.toMatchObject({ reason: 'NO_RECEIVER' });
    await until(
      () => heard.length,
      (count) => count === 2,
      { what: 'both' },
    );
    expect(heard).toEqual(['once', 'still']);
  });
});

describe('what cannot be sent', () => {
  it('to nobody, with too much data, in the past: an error by its reason', async () => {
    const a = await attach('a2');
    const x = { type: 'x' };
    const missing = { code: Code.NOT_FOUND, reason: 'AGENT_NOT_FOUND' };
    const nobody = { code: Code.NOT_FOUND, reason: 'NO_RECEIVER' };
    await expect(a.send('nowhere', x)).rejects.toMatchObject(missing);
    await expect(a.call('nowhere', x)).rejects.toMatchObject(missing);
    await expect(a.send({ capability: 'fly' }, x)).rejects.toMatchObject(nobody);
    await expect(a.call({ capability: 'fly' }, x)).rejects.toMatchObject(nobody);
    await expect(a.publish('no.one', x)).rejects.toMatchObject(nobody);
    await expect(a.send({ selector: 'no=one' }, x)).rejects.toMatchObject(nobody);
    const bad = { code: Code.INVALID_ARGUMENT, reason: 'INVALID_FIELDS' };
    await expect(a.publish('no topic', x)).rejects.toMatchObject(bad);
    await expect(a.subscribe('a..b')).rejects.toMatchObject(bad);
    await expect(a.send('a2', { ...x, data: 'x'.repeat(65_537) })).rejects.toMatchObject(bad);
    await expect(a.send('a2', { ...x, data: 'x'.repeat(300_000) })).rejects.toMatchObject({
      message: expect.stringContaining('300000 bytes'),
    });
    const extensions = { expirytime: '2020-01-01T00:00:00Z' };
    await expect(a.send('a2', { ...x, extensions })).rejects.toMatchObject(bad);
    await expect(a.send('a2', { ...x, data: () => {} })).rejects.toThrow(TypeError);
    await expect(a.call('a2', x, { timeoutMs: 0 })).rejects.toMatchObject({ reason: 'deadline_passed' });
    await expect(a.call('a2', x, { timeoutMs: 50 })).rejects.toMatchObject({ reason: 'deadline_passed' });
  });
});

describe('a receiver that does not do its work', () => {
  it('declines, fails or has no handler: the caller is told what it said', async () => {
    const a = await attach('a3');
    await attach('b3', {
      ...many,
      onCall: {
        refused: (_, context) => context.decline('not today'),
        broken: () => {
          throw new Error('no numbers');
        },
      },
    });
    const failure = (type: string) => a.call('b3', { type }).catch((error: unknown) => error);
    const refused = await failure('refused');
    expect(refused).toBeInstanceOf(CallFailedError);
    expect(refused).toMatchObject({ agentId: 'b3', state: 'declined', agentError: 'not today' });
    expect(await failure('broken')).toMatchObject({ state: 'failed', agentError: 'no numbers' });
    expect(await failure('other')).toMatchObject({
      code: Code.FAILED_PRECONDITION,
      agentError: 'this agent has no handler for calls of type other',
    });
  });

  it('fails for now: it is tried again; for good: a dead letter with what it said', async () => {
    const a = await attach('a4');
    const attempts: bigint[] = [];
    await attach('b4', {
      onMessage: {
        flaky: (_, { attempt }) => {
          attempts.push(attempt);
          if (attempts.length === 1) throw new Error('try again');
        },
        hopeless: () => {
          throw new PermanentError('never');
        },
      },
    });
    await a.send('b4', { type: 'flaky' });
    await until(
      () => attempts.length,
      (count) => count === 2,
      { what: 'another try' },
    );
    expect(attempts[1]).toBeGreaterThan(attempts[0] ?? 0n);
    await a.send('b4', { type: 'hopeless' });
    expect(await deadLetter('b4')).toMatchObject({ reason: 'declined', error: 'never' });
  });

  it('never answers: the call ends at its deadline, and its handler is told', async () => {
    const a = await attach('a5');
    let context: MessageContext | undefined;
    await attach('b5', {
      onCall: {
        slow: async (_, given) => {
          context = given;
          await sleep(60_000, undefined, { signal: given.signal });
        },
      },
    });
    await expect(a.call('b5', { type: 'slow' }, { timeoutMs: 600 })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
      reason: 'DEADLINE_EXCEEDED',
    });
    await until(() => context?.signal.aborted, Boolean, { what: 'the handler to be told' });
    expect(context?.deadline?.getTime()).toBeLessThan(Date.now() + 600);
    // One that says nothing at all is no different.
    await attach('mute', { onDelivery: () => {} });
    await expect(a.call('mute', { type: 'x' }, { timeoutMs: 300 })).rejects.toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
    });
    // A caller that gives up takes the call back too.
    context = undefined;
    const givesUp = new AbortController();
    const call = a.call('b5', { type: 'slow' }, { signal: givesUp.signal });
    await until(() => context, Boolean, { what: 'the call to come' });
    givesUp.abort();
    await expect(call).rejects.toMatchObject({ code: Code.CANCELLED });
    await until(() => context?.signal.aborted, Boolean, { what: 'the handler to be told' });
  });

  it('dies with a call: the caller is told once it is lost; with a message: it comes again, as a newer attempt', async () => {
    const a = await attach('a6');
    const begun: bigint[] = [];
    const hang = {
      '*': async (_: unknown, { attempt, signal }: MessageContext) => {
        begun.push(attempt);
        await sleep(60_000, undefined, { signal });
      },
    };
    const dying = await attach('b6', { ...many, onMessage: hang });
    const call = a.call('b6', { type: 'c' });
    await a.send('b6', { type: 'm' }, { orderingKey: 'k' });
    await until(
      () => begun.length,
      (count) => count === 2,
      { what: 'both to begin' },
    );
    await dying.close();
    await expect(within(call, 15_000, 'the caller to be told')).rejects.toMatchObject({
      code: Code.UNAVAILABLE,
      reason: 'RECEIVER_GONE',
    });
    const again: bigint[] = [];
    await attach('b6', { onMessage: { m: (_, { attempt }) => void again.push(attempt) } });
    await until(
      () => again.length,
      (count) => count === 1,
      { what: 'the message to come again', timeoutMs: 15_000 },
    );
    expect(again[0]).toBeGreaterThan(begun[1] ?? 0n);
  });
});

describe('without a connection', () => {
  it('a call ends with its time; what was sent arrives once, in its order, when the service is back', async () => {
    const heard: unknown[] = [];
    const a = await attach('a7', { timeoutMs: 20_000 });
    await attach('b7', { ...many, onMessage: { n: ({ data }) => void heard.push(data) } });
    await stack.service.kill('SIGKILL');
    await until(
      () => a.state,
      (state) => state !== 'connected',
      { what: 'the agent to notice' },
    );
    await expect(a.call('b7', { type: 'n' }, { timeoutMs: 300 })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
      reason: 'not_attached',
    });
    await expect(a.send('b7', { type: 'n' }, { timeoutMs: 200 })).rejects.toMatchObject({
      code: Code.DEADLINE_EXCEEDED,
      reason: 'not_acknowledged',
    });
    const sent = Promise.all([1, 2, 3].map((n) => a.send('b7', { type: 'n', data: n })));
    await stack.service.restart();
    await within(sent, 20_000, 'the messages to be stored');
    await until(
      () => heard.length,
      (count) => count >= 3,
      { what: 'the messages', timeoutMs: 15_000 },
    );
    expect(heard).toEqual([1, 2, 3]);
  }, 40_000);
});
