import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  GetTaskRequestSchema,
  Task_State,
  TaskFilterSchema,
  WatchTasksRequestSchema,
  type WatchTasksResponse,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { stateName } from '../../../../src/domain/coordination/tasks/task-events.ts';
import { watchTasks } from '../../../../src/domain/coordination/tasks/task-watch.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { startTasks, type TaskFleet, type Worker } from './task-fixture.ts';

let fleet: TaskFleet;
let a1: Worker;
beforeEach(async () => {
  fleet = await startTasks();
  a1 = await fleet.worker('a1', { capacity: { slots: 10n } });
});
afterEach(() => fleet.stop());

type How = { taskId?: string; cursor?: string; owner?: string };
/** What a watcher is told, until it is stopped. */
function watch({ taskId = '', cursor = '', owner }: How = {}) {
  const stop = new AbortController();
  const heard: WatchTasksResponse[] = [];
  const filter = owner === undefined ? create(TaskFilterSchema) : create(TaskFilterSchema, { owner });
  const request = create(WatchTasksRequestSchema, { taskId, cursor, filter });
  const { views, tasks } = fleet;
  const over = (async () => {
    for await (const news of watchTasks(request, stop.signal, {
      views,
      tasks: tasks.view,
      reader: tasks.reader,
    }))
      heard.push(news);
  })();
  return {
    heard,
    told: () =>
      heard.flatMap(({ changes }) => changes.map(({ task }) => `${task?.id} ${stateName(task?.state ?? 0)}`)),
    end: async () => {
      stop.abort();
      await over.catch(() => {});
    },
  };
}

describe('a watcher of tasks', () => {
  it('hears of those that have not ended, then of each change, and not of those that leave memory', async () => {
    await fleet.submit('ended', { capability: 'nobody' });
    await fleet.cancel('ended');
    await fleet.submit('open', { capability: 'nobody' });
    const watcher = watch();
    await fleet.settled();
    expect(watcher.told()).toEqual(['open pending']);
    expect(watcher.heard.at(-1)).toMatchObject({ synced: true, cursor: expect.stringMatching(/./) });
    await fleet.submit('t1', { labels: { owner: 'ann' } });
    await a1.finish('t1');
    fleet.clock.advance(31_000);
    await fleet.tend();
    await fleet.settled();
    expect(fleet.tasks.view.get('default', 't1')).toBeUndefined();
    const states = watcher.told().filter((each) => each.startsWith('t1'));
    expect(states.slice(-2)).toEqual(['t1 running', 't1 succeeded']);
    await watcher.end();
  });

  it('hears for what a task waits, as GetTask tells', async () => {
    const watcher = watch();
    await fleet.settled();
    await fleet.batch({ t1: { capability: 'nobody' } });
    const task = watcher.heard.flatMap(({ changes }) => changes).at(-1)?.task;
    expect(task?.id).toBe('t1');
    expect(task?.pending?.reason).toBe(PendingReason.NO_CAPABILITY);
    await watcher.end();
  });

  it('goes on after its cursor with all that came since, and nothing twice', async () => {
    const first = watch({ owner: 'ann' });
    await fleet.settled();
    const cursor = first.heard.at(-1)?.cursor ?? '';
    await first.end();
    await fleet.submit('t1', { labels: { owner: 'ann' } });
    await fleet.submit('other', { labels: { owner: 'bob' } });
    await a1.finish('t1');
    const second = watch({ cursor, owner: 'ann' });
    await fleet.settled();
    expect(second.told().at(-1)).toBe('t1 succeeded');
    expect(second.told().some((each) => each.startsWith('other'))).toBe(false);
    const revisions = second.heard.flatMap(({ changes }) => changes.map(({ task }) => task?.revision));
    expect(new Set(revisions).size).toBe(revisions.length);
    await second.end();
  });

  it('of one task hears of it also when it has ended', async () => {
    await fleet.submit('t1');
    await a1.finish('t1');
    const watcher = watch({ taskId: 't1' });
    await fleet.settled();
    expect(watcher.told()).toEqual(['t1 succeeded']);
    await watcher.end();
  });
});

describe('a caller that waits for a task', () => {
  const get = (ms: number, signal = new AbortController().signal) =>
    fleet.tasks.reader.get(create(GetTaskRequestSchema, { taskId: 't1', wait: durationFromMs(ms) }), signal);

  it('is answered when it ends, at once when it has ended, and with how it stands when its time is over', async () => {
    await fleet.submit('t1');
    expect((await get(30)).task?.state).toBe(Task_State.ASSIGNED);
    const waiting = get(60_000);
    await a1.finish('t1');
    expect((await waiting).task?.state).toBe(Task_State.SUCCEEDED);
    expect((await get(60_000)).task?.state).toBe(Task_State.SUCCEEDED);
  });

  it('hears of its own task alone, through one listener for all callers', async () => {
    await fleet.submit('t1');
    let listeners = 0;
    const listen = fleet.tasks.view.listen.bind(fleet.tasks.view);
    fleet.tasks.view.listen = (listener) => {
      listeners += 1;
      return listen(listener);
    };
    const waiting = [get(60_000), get(60_000), get(60_000)];
    await fleet.submit('t2', { labels: { owner: 'bob' } });
    await a1.finish('t1');
    const answers = await Promise.all(waiting);
    expect(answers.map(({ task }) => task?.state)).toEqual(answers.map(() => Task_State.SUCCEEDED));
    expect(listeners).toBe(0);
  });

  it('and has left holds nothing', async () => {
    await fleet.submit('t1');
    const caller = new AbortController();
    const waiting = get(60_000, caller.signal);
    await fleet.settled();
    caller.abort();
    expect((await waiting).task?.state).toBe(Task_State.ASSIGNED);
  });
});
