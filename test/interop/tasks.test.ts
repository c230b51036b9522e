import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Client, createClient, type TaskInfo } from '../../src/client/index.ts';
import { ServiceProcess } from '../support/service.ts';
import { until } from '../support/until.ts';
import { AgentProcess } from './agent-process.ts';
import { runTool, suiteWithAll, type Tool } from './tools.ts';

let service: ServiceProcess;
let client: Client;
const processes: AgentProcess[] = [];

function withService(env: Record<string, string>): void {
  beforeAll(async () => {
    service = await ServiceProcess.start({ env });
    client = createClient({ server: service.grpc, timeoutMs: 20_000 });
  });
  afterAll(async () => {
    client?.close();
    await service?.stop();
  });
}
/** Here an agent that is killed is lost soon. */
const shortLease = {
  ORCHESTRATOR_SESSION_PING_INTERVAL: '300ms',
  ORCHESTRATOR_SESSION_LEASE: '1200ms',
  ORCHESTRATOR_SESSION_RECONNECT_GRACE: '500ms',
  ORCHESTRATOR_SESSION_FLUSH_INTERVAL: '200ms',
  ORCHESTRATOR_SESSION_RECOVERY_GRACE: '0s',
};
afterEach(async () => {
  await Promise.all(processes.splice(0).map((one) => one.end()));
});

async function start(tool: Tool, id: string): Promise<AgentProcess> {
  const agent = new AgentProcess(tool, [service.grpc, id]);
  processes.push(agent);
  await agent.line(/^connected/);
  return agent;
}

/** Words that take so long each. */
const slowly = (words: number, seconds: number) => ({ words: Array(words).fill('a'), seconds });

function runsAt(id: string, agentId: string): Promise<TaskInfo> {
  return until(
    () => client.tasks.get(id),
    (task) => task.state === 'running' && task.agentId === agentId,
    { what: `task ${id} to run at ${agentId}` },
  );
}

function tasksOfA(language: string, worker: Tool, grpcurl: Tool): void {
  withService({ ORCHESTRATOR_SESSION_PING_INTERVAL: '500ms' });
  // Of its own in each test: an agent that was ended is there for a moment longer.
  let agentId = '';
  let made = 0;
  beforeEach(() => {
    made += 1;
    agentId = `${language}-${made}`;
  });
  const here = () => ({ placement: { agentIds: [agentId] } });

  async function ask(method: string, body: unknown): Promise<Record<string, unknown>> {
    const args = ['-plaintext', '-d', JSON.stringify(body), service.grpc, `mycosoft.orchestrator.${method}`];
    const { stdout, stderr } = await runTool(grpcurl, args);
    expect(stderr).toBe('');
    return JSON.parse(stdout);
  }

  test('takes a task that was submitted by grpcurl, tells how far it is, and answers', async () => {
    await start(worker, agentId);
    const spec = {
      capability: 'count-words',
      input: { json: { words: ['red', 'blue', 'red', 'red'], seconds: 0.4 } },
      ...here(),
    };
    const { task } = await ask('coordination.v1.TaskService/SubmitTask', { spec });
    const { id } = task as { id: string };
    const half = await until(
      () => client.tasks.get(id),
      ({ progress, ended }) => ended || (progress?.done ?? 0) > 0,
      { what: 'progress' },
    );
    expect(half.progress).toMatchObject({ total: 4, name: 'words' });
    const done = await ask('coordination.v1.TaskService/GetTask', { taskId: id, wait: '10s' });
    expect(done.task).toMatchObject({
      state: 'STATE_SUCCEEDED',
      agentId,
      output: { json: { counts: { red: 3, blue: 1 } } },
      attemptCount: 1,
    });
  });

  test('a cancel stops it at once, and the next task has its place', async () => {
    const agent = await start(worker, agentId);
    const all = { capability: 'count-words', ...here() };
    const { id } = await client.tasks.submit({ ...all, input: slowly(1, 30), resources: { slots: 2 } });
    await agent.line(new RegExp(`^task ${id} attempt 1: 1 words$`));
    const next = await client.tasks.submit({ ...all, input: { words: ['a'] }, resources: { slots: 2 } });
    expect((await client.tasks.get(next.id)).state).toBe('pending');
    expect(await client.tasks.cancel(id, 'not needed')).toMatchObject({ state: 'cancelled' });
    const cancelledAt = performance.now();
    const { at } = await agent.line(new RegExp(`^task ${id} is not wanted any more$`));
    expect(at - cancelledAt).toBeLessThan(1_000);
    expect(await client.tasks.wait(next.id, { timeoutMs: 10_000 })).toMatchObject({ state: 'succeeded' });
  });

  test('what it may spend is counted, and it goes on without what is not left', async () => {
    await start(worker, agentId);
    await ask('resource.v1.ResourceService/UpdateQuota', {
      quota: { budgets: [{ name: 'tokens', limit: 1_000 }] },
    });
    const input = { words: ['a', 'b', 'c', 'd'] };
    const all = { capability: 'count-words', input, budgets: { tokens: 3 }, ...here() };
    const degraded = await client.tasks.submit({ ...all, onBudgetSpent: 'degrade' });
    const { output, task } = await client.tasks.wait(degraded.id, { timeoutMs: 10_000 });
    expect(output).toEqual({ counts: { a: 1, b: 1, c: 1 }, left_out: 1 });
    expect(task.spent).toEqual({ tokens: 3n });
    const stopped = await client.tasks.submit(all);
    const ended = await client.tasks.wait(stopped.id, { timeoutMs: 10_000 });
    expect(ended).toMatchObject({ state: 'failed' });
    expect(ended.reason).toContain('tokens');
  });

  test('what cannot be done has failed for good', async () => {
    await start(worker, agentId);
    const { id } = await client.tasks.submit({ capability: 'count-words', input: 'text', ...here() });
    const { state, reason, task } = await client.tasks.wait(id, { timeoutMs: 10_000 });
    expect({ state, attempts: task.attemptCount }).toEqual({ state: 'failed', attempts: 1 });
    expect(reason).toContain('the input must be');
  });

  test('keeps its task while the service is killed and started again', async () => {
    const agent = await start(worker, agentId);
    const { id } = await client.tasks.submit({
      capability: 'count-words',
      input: slowly(1, 3),
      ...here(),
    });
    await runsAt(id, agentId);
    await service.restart();
    await agent.line(/^connected/, 2);
    const { state, task } = await client.tasks.wait(id, { timeoutMs: 15_000 });
    expect({ state, attempts: task.attemptCount }).toEqual({ state: 'succeeded', attempts: 1 });
    expect(agent.lines.filter(({ text }) => text.includes('attempt'))).toHaveLength(1);
  });
}

suiteWithAll(['python-worker', 'grpcurl'], 'a Python worker', ([worker, grpcurl]) => {
  if (worker !== undefined && grpcurl !== undefined) tasksOfA('python', worker, grpcurl);
});
suiteWithAll(['go-worker', 'grpcurl'], 'a Go worker', ([worker, grpcurl]) => {
  if (worker !== undefined && grpcurl !== undefined) tasksOfA('go', worker, grpcurl);
});

suiteWithAll(['python-worker', 'go-worker'], 'a worker that is killed', (tools) => {
  withService(shortLease);

  test.each([
    ['Python', 'Go', 0],
    ['Go', 'Python', 1],
  ])('in %s: the one in %s takes its task over', async (first, second, index) => {
    const [one, other] = [tools[index], tools[1 - index]];
    if (one === undefined || other === undefined) throw new Error('no tools');
    const [from, to] = [`${first}-killed`, `${second}-heir`];
    const killed = await start(one, from);
    const placement = { agentIds: [from, to] };
    const retry = { minBackoffMs: 0 };
    const input = slowly(2, 0.5);
    const { id } = await client.tasks.submit({ capability: 'count-words', input, placement, retry });
    await runsAt(id, from);
    await start(other, to);
    killed.signal('SIGKILL');
    const { state, agentId, output, task } = await client.tasks.wait(id, { timeoutMs: 15_000 });
    expect({ state, agentId, output }).toEqual({
      state: 'succeeded',
      agentId: to,
      output: { counts: { a: 2 } },
    });
    expect(task.attempts.map(({ agentId: at }) => at)).toEqual([from, to]);
  });
});
