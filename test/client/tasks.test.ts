import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  type GetTaskRequest,
  Task_State as State,
  type SubmitTaskRequest,
  TaskSchema,
  type WatchTasksRequest,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { AgentError, Code } from '../../src/client/errors.ts';
import type { AgentTask } from '../../src/client/task.ts';
import type { TaskNews } from '../../src/client/tasks.ts';
import { useAgent } from './agent-fixture.ts';

const fixture = useAgent();
const task = (state: State, more: MessageInitShape<typeof TaskSchema> = {}) => ({
  task: create(TaskSchema, { id: 't-1', state, ...more }),
});
const calls = (method: string) => fixture.network.calls.filter((call) => call.method === method);
const refused = (code: number, reason: string) => new AgentError({ code, reason, message: reason });

describe('submit', () => {
  it('carries the session, and over a lost answer it is the same request', async () => {
    const agent = await fixture.connected();
    let tries = 0;
    fixture.network.onCall = async () => {
      tries += 1;
      if (tries === 1) throw new AgentError({ code: Code.UNAVAILABLE, message: 'gone' });
      return task(State.PENDING);
    };
    const submitted = agent.tasks.submit({ capability: 'resize', id: 't-1' }, { mustFit: true });
    await fixture.pass(2_000);
    expect(await submitted).toMatchObject({ id: 't-1', state: 'pending' });
    const requests = calls('SubmitTask').map(({ request }) => request as SubmitTaskRequest);
    expect(requests).toHaveLength(2);
    expect(requests[0]).toMatchObject({ taskId: 't-1', sessionEpoch: 1n, mustFit: true });
    expect(requests[1]?.requestId).toBe(requests[0]?.requestId);
  });

  it('that is refused says why', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => {
      throw refused(Code.FAILED_PRECONDITION, 'UNPLACEABLE');
    };
    const submitted = agent.tasks.submit({ capability: 'resize' }, { mustFit: true });
    await expect(submitted).rejects.toMatchObject({ reason: 'UNPLACEABLE' });
  });

  it('of a part comes from the task itself, and ends with it', async () => {
    const handed: AgentTask[] = [];
    await fixture.connected({
      onTask: (given) => {
        handed.push(given);
        return new Promise(() => {});
      },
    });
    const work = { deliveryId: 'd', attempt: 1n };
    const value = { id: 'whole', capability: 'resize' };
    fixture.network.stream.down({ case: 'delivery', value: { work, item: { case: 'task', value } } });
    fixture.network.onCall = async () => task(State.PENDING);
    await handed[0]?.submit({ capability: 'part', budgets: { tokens: 5 } });
    expect(calls('SubmitTask')[0]?.request).toMatchObject({
      sessionEpoch: 1n,
      spec: { capability: 'part', parentTaskId: 'whole', budgets: { tokens: 5n } },
    });
    fixture.network.onCall = () => new Promise(() => {});
    const late = handed[0]?.submit({ capability: 'part' }).catch((error: unknown) => error);
    await fixture.pass(0);
    fixture.network.stream.down({ case: 'revoke', value: { work, reason: 'cancelled' } });
    expect(await late).toMatchObject({ reason: 'work_revoked' });
  });
});

describe('wait', () => {
  it('resolves with the output when it has ended, however many calls that takes', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async (_, request) => {
      const { wait } = request as unknown as GetTaskRequest;
      await new Promise((resolve) => setTimeout(resolve, Number(wait?.seconds) * 1_000));
      if (calls('GetTask').length < 3) return task(State.RUNNING);
      return task(State.SUCCEEDED, { output: { data: { case: 'text', value: 'done' } } });
    };
    const waiting = agent.tasks.wait('t-1');
    for (let pings = 0; pings < 6; pings++) {
      await fixture.pass(15_000);
      fixture.network.stream.down({ case: 'ping', value: { echo: 1n } });
    }
    expect(await waiting).toMatchObject({ state: 'succeeded', output: 'done', ended: true });
    expect(calls('GetTask')).toHaveLength(3);
  });

  it('is over in its time', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => {
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      return task(State.RUNNING);
    };
    const waiting = agent.tasks.wait('t-1', { timeoutMs: 2_000 }).catch((error: unknown) => error);
    await fixture.pass(2_000);
    expect(await waiting).toMatchObject({ code: Code.DEADLINE_EXCEEDED, reason: 'not_ended' });
    expect(calls('GetTask')[0]?.request).toMatchObject({ wait: { seconds: 2n } });
  });

  it('for a task that is not there is told so', async () => {
    const agent = await fixture.connected();
    fixture.network.onCall = async () => {
      throw refused(Code.NOT_FOUND, 'TASK_NOT_FOUND');
    };
    await expect(agent.tasks.wait('t-1')).rejects.toMatchObject({ reason: 'TASK_NOT_FOUND' });
  });
});

it('watch tells a snapshot and changes, goes on from its cursor, and begins anew where that is too old', async () => {
  const agent = await fixture.connected();
  const cursors: string[] = [];
  const stop = new AbortController();
  fixture.network.onStream = async function* (given) {
    const { cursor } = given as unknown as WatchTasksRequest;
    cursors.push(cursor);
    if (cursors.length === 1) {
      yield { changes: [{ ...task(State.PENDING), progressOnly: false }] };
      yield { changes: [], cursor: 'c1', synced: true };
      throw new AgentError({ code: Code.UNAVAILABLE, message: 'gone' });
    }
    if (cursors.length === 2) {
      yield { changes: [{ ...task(State.RUNNING), progressOnly: true }], cursor: 'c2' };
      throw new AgentError({ code: Code.OUT_OF_RANGE, message: 'too old' });
    }
    yield { changes: [{ ...task(State.SUCCEEDED), progressOnly: false }], cursor: 'c3', synced: true };
    stop.abort();
  };
  const seen: TaskNews[] = [];
  const watching = (async () => {
    for await (const news of agent.tasks.watch({ signal: stop.signal, id: 't-1' })) seen.push(news);
  })();
  await fixture.pass(1_000);
  await watching;
  expect(cursors).toEqual(['', 'c1', '']);
  expect(
    seen.map((news) => (news.kind === 'task' ? `${news.task.state} ${news.progressOnly}` : news.kind)),
  ).toEqual(['pending false', 'synced', 'running true', 'restart', 'succeeded false', 'synced']);
});

it('cancel says why, and how the task stands then', async () => {
  const agent = await fixture.connected();
  fixture.network.onCall = async () => task(State.CANCELLED);
  expect(await agent.tasks.cancel('t-1', 'not needed')).toMatchObject({ state: 'cancelled', ended: true });
  expect(calls('CancelTask')[0]?.request).toMatchObject({ taskId: 't-1', reason: 'not needed' });
});
