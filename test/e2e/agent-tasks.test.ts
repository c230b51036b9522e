import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import {
  type AgentHandle,
  type AgentTask,
  BudgetSpentError,
  type Client,
  type ConnectAgentOptions,
  connectAgent,
  createClient,
} from '../../src/client/index.ts';
import { fastTimes, Stack } from '../support/stack.ts';
import { TcpProxy } from '../support/tcp-proxy.ts';
import { until } from '../support/until.ts';

let stack: Stack;
let proxy: TcpProxy;
let client: Client;
/** Of each test its own. */
let capability: string;
let made = 0;
const agents: AgentHandle[] = [];

beforeAll(async () => {
  stack = await Stack.start('lmdb', { env: fastTimes });
  proxy = await TcpProxy.start({ target: stack.service.grpc });
  client = createClient({ server: stack.service.grpc });
  await stack.clients.resources.updateQuota({ quota: { budgets: [{ name: 'tokens', limit: 100n }] } });
});
beforeEach(() => {
  capability = `sum-${++made}`;
});
afterEach(async () => {
  await Promise.all(agents.splice(0).map((agent) => agent.leave()));
});
afterAll(async () => {
  client?.close();
  await proxy?.close();
  await stack?.dispose();
});

async function join(options: Partial<ConnectAgentOptions>): Promise<AgentHandle> {
  const agent = await connectAgent({
    server: proxy.address,
    id: `w-${made}`,
    spec: { capabilities: [{ name: capability }] },
    backoffBaseMs: 100,
    backoffCapMs: 300,
    timeoutMs: 2_000,
    reportIntervalMs: 100,
    ...options,
  });
  agents.push(agent);
  return agent;
}
const ends = (id: string) => client.tasks.wait(id, { timeoutMs: 10_000 });

test('a task goes to its agent with its parts, which spend of its budget, and comes back as a result', async () => {
  const agent = await join({
    concurrency: 2,
    onTask: async (task) => {
      const numbers = task.input as number[];
      if (numbers.length === 1) {
        await task.spend({ tokens: 2 });
        return numbers[0];
      }
      const parts = [];
      for (const number of numbers) {
        const part = await task.submit({ capability, input: [number], budgets: { tokens: 3 } });
        parts.push(await agent.tasks.wait(part.id, { signal: task.signal }));
      }
      task.progress(parts.length, numbers.length);
      return { sum: parts.reduce((sum, { output }) => sum + Number(output), 0) };
    },
  });
  const whole = await client.tasks.submit({ capability, input: [1, 2, 3], budgets: { tokens: 9 } });
  const { state, output, task } = await ends(whole.id);
  expect({ state, output }).toEqual({ state: 'succeeded', output: { sum: 6 } });
  expect(task.treeSpent).toEqual({ tokens: 6n });
});

test('one who may not spend so much is told so, and goes on where the task allows it', async () => {
  await join({
    onTask: async (task) => {
      const asked = [3, 5, 2].map((tokens) => task.spend({ tokens }));
      const told = await Promise.allSettled(asked);
      return told.map((each) => {
        if (each.status === 'fulfilled') return each.value;
        return each.reason instanceof BudgetSpentError ? 'not so much' : 'something else';
      });
    },
  });
  const request = { capability, budgets: { tokens: 5 } };
  const { id } = await client.tasks.submit({ ...request, onBudgetSpent: 'degrade' });
  const { output, task } = await ends(id);
  expect(output).toEqual([{ tokens: 2 }, 'not so much', { tokens: 0 }]);
  expect(task.spent).toEqual({ tokens: 5n });
  const stopped = await client.tasks.submit(request);
  expect(await ends(stopped.id)).toMatchObject({ state: 'failed' });
});

test('a cancel reaches the handler at once, and a result over a broken connection is told once', async () => {
  const running: AgentTask[] = [];
  let finish = (_: string): void => {};
  const agent = await join({
    onTask: (task) => {
      running.push(task);
      return new Promise<string>((resolve, reject) => {
        finish = resolve;
        task.signal.addEventListener('abort', () => reject(task.signal.reason));
      });
    },
  });
  const begins = (count: number) =>
    until(
      () => running[count - 1],
      (task) => task !== undefined,
      { what: `task ${count}` },
    );
  const first = await client.tasks.submit({ capability });
  const task = await begins(1);
  await client.tasks.cancel(first.id, 'not needed');
  await until(
    () => task?.signal.aborted,
    (aborted) => aborted === true,
    { what: 'the signal', timeoutMs: 1_000 },
  );
  expect(String(task?.signal.reason)).toMatch(/cancelled it: not needed/);
  const second = await client.tasks.submit({ capability });
  await begins(2);
  const { epoch } = agent;
  proxy.cut();
  finish('done meanwhile');
  expect(await ends(second.id)).toMatchObject({ state: 'succeeded', output: 'done meanwhile' });
  expect(agent.epoch).toBeGreaterThan(epoch);
  expect((await client.tasks.get(second.id)).task.attemptCount).toBe(1);
});

test('a result that is too large is refused, and the task has failed for good with the reason', async () => {
  await join({ onTask: () => Promise.resolve('x'.repeat(70_000)) });
  const { id } = await client.tasks.submit({ capability });
  const { state, task } = await ends(id);
  expect(state).toBe('failed');
  expect(task.error).toMatch(/70\d\d\d bytes; the result of a task may have 65536/);
  expect(task.attemptCount).toBe(1);
});

test('a watch tells what becomes of a task, its progress too; an agent that is drained takes no more', async () => {
  const seen: string[] = [];
  const stop = new AbortController();
  await join({
    onTask: async (task) => {
      task.progress(1, 2, 'halves');
      await until(
        () => seen,
        (all) => all.includes('running 1'),
        { what: 'its progress to be seen' },
      );
      return 'ok';
    },
  });
  const { id } = await client.tasks.submit({ capability, id: 'watched' });
  for await (const news of client.tasks.watch({ signal: stop.signal, id, progressIntervalMs: 200 })) {
    if (news.kind !== 'task') continue;
    seen.push(`${news.task.state} ${news.task.progress?.done ?? ''}`.trim());
    if (news.task.ended) break;
  }
  expect(seen.at(-1)).toBe('succeeded');
  await stack.clients.agents.drainAgent({ agentId: `w-${made}`, reason: 'maintenance' });
  const waiting = await client.tasks.submit({ capability });
  expect(await client.tasks.get(waiting.id)).toMatchObject({ state: 'pending' });
});
