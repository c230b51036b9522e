import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type AgentHandle,
  CallFailedError,
  Code,
  type ConnectAgentOptions,
  connectAgent,
  PermanentError,
} from '../../src/client/index.ts';
import { Stack } from '../support/stack.ts';
import { until, within } from '../support/until.ts';

let stack: Stack;
let agents: AgentHandle[];
beforeEach(async () => {
  stack = await Stack.start('lmdb');
  agents = [];
});
afterEach(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  await stack.dispose();
});

async function attach(id: string, options: Partial<ConnectAgentOptions> = {}): Promise<AgentHandle> {
  const agent = await connectAgent({
    server: stack.service.grpc,
    id,
    spec: { kind: 'test' },
    backoffBaseMs: 100,
    backoffCapMs: 500,
    ...options,
  });
  agents.push(agent);
  return agent;
}

describe('agents that talk to each other, through the SDK', () => {
  it('a message, a topic and a call, each with its kind of data', async () => {
    const heard: unknown[] = [];
    const a = await attach('a', { maxInFlight: 4 });
    const b = await attach('b', {
      maxInFlight: 4,
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
});
