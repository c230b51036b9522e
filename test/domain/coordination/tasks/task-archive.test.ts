import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  ARCHIVE_PREFIX,
  archiveKey,
  ENDED_PREFIX,
  taskKey,
} from '../../../../src/domain/coordination/tasks/task-record.ts';
import { rejection } from '../../agent/fleet-fixture.ts';
import { ACCEPTED, SUCCEEDED, startTasks, type TaskFleet } from './task-fixture.ts';

let fleet: TaskFleet;
beforeEach(async () => {
  fleet = await startTasks({ flags: { 'tasks.retention': '1m' } });
});
afterEach(() => fleet.stop());

const keys = (prefix: string): string[] =>
  [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith(prefix),
  );
/** Time passes, and the chores of a namespace are done. */
const later = async (ms: number): Promise<void> => {
  fleet.clock.advance(ms);
  await fleet.tick();
  await fleet.tend();
  await fleet.settled();
};
const cancelled = async (count: number): Promise<void> => {
  const specs = Object.fromEntries(Array.from({ length: count }, (_, at) => [`t${at}`, {}]));
  await fleet.batch(specs);
  for (const id of Object.keys(specs)) await fleet.cancel(id);
};

describe('a task that has ended', () => {
  it('leaves memory after half a minute and is found and listed all the same', async () => {
    await fleet.register('a0');
    const a1 = await fleet.worker('a1');
    const input = { data: { case: 'text' as const, value: 'x'.repeat(5000) } };
    await fleet.submit('t1', { input, labels: { owner: 'ann' } });
    await a1.say('t1', ACCEPTED);
    await a1.say('t1', SUCCEEDED, { output: { data: { case: 'text', value: 'done' } } });
    await fleet.submit('t2', { capability: 'nobody' });
    await later(29_000);
    expect(fleet.tasks.view.get('default', 't1')).toBeDefined();
    const before = await fleet.task('t1');
    await later(2000);
    expect(fleet.tasks.view.get('default', 't1')).toBeUndefined();
    expect(keys(taskKey('t1'))).toEqual([]);
    const after = await fleet.task('t1');
    expect({ ...after, revision: 0n }).toEqual({ ...before, revision: 0n });
    const states = [Task_State.SUCCEEDED, Task_State.PENDING];
    expect((await fleet.list({ states })).tasks.map(({ id }) => id)).toEqual(['t1', 't2']);
    expect((await fleet.list({ states, owner: 'ann' })).tasks.map(({ id }) => id)).toEqual(['t1']);
    expect((await fleet.list()).tasks.map(({ id }) => id)).toEqual(['t2']);
    // The same task asked for again is that one; an agent that says its end again hears that it is known.
    expect((await fleet.submit('t1', { input, labels: { owner: 'ann' } })).state).toBe(Task_State.SUCCEEDED);
    expect(await a1.agent.say(a1.of('t1'), SUCCEEDED)).toBe('');
    expect((await fleet.cancel('t1')).cancelled).toBe(false);
  });

  it('is removed with all that belongs to it when its retention is over', async () => {
    await fleet.register('a0');
    const a1 = await fleet.worker('a1');
    const large = { data: { case: 'binary' as const, value: new Uint8Array(5000) } };
    await fleet.submit('t1', { input: large });
    await a1.say('t1', ACCEPTED);
    await a1.say('t1', SUCCEEDED, { output: large });
    await later(35_000);
    expect(keys('~task').length).toBe(4);
    await later(20_000);
    expect(keys('~task').length).toBe(4);
    await later(10_000);
    expect(keys('~task')).toEqual([]);
    expect(await rejection(fleet.task('t1'))).toMatchObject({
      message: expect.stringContaining('there is no task t1'),
    });
  });

  it('stays in memory as long as a task below it does, or what it spent is not taken over', async () => {
    await fleet.register('a0');
    await fleet.submit('top');
    await fleet.submit('child', { parentTaskId: 'top' });
    await fleet.cancel('top');
    await later(31_000);
    expect(fleet.tasks.view.get('default', 'child')).toBeUndefined();
    expect(fleet.tasks.view.get('default', 'top')).toBeDefined();
    await later(1000);
    expect(fleet.tasks.view.get('default', 'top')).toBeUndefined();
  });
});

describe('the archive', () => {
  it('moves many in commits of at most 128, with a fence and a check on each', async () => {
    await fleet.register('a0');
    await cancelled(300);
    const before = fleet.store.commits.length;
    await later(31_000);
    expect(fleet.tasks.view.count('default')).toBe(0);
    const moves = fleet.store.commits
      .slice(before)
      .filter(({ deletes }) => deletes?.some((key) => key.startsWith('task/')));
    expect(moves.map(({ deletes }) => deletes?.length)).toEqual([128, 128, 44]);
    for (const { checks, deletes, puts } of moves) {
      expect(checks?.[0]?.key).toMatch(/^lease\//);
      expect(checks?.length).toBe(1 + (deletes?.length ?? 0));
      expect(puts?.length).toBe(2 * (deletes?.length ?? 0));
    }
    expect(keys(ARCHIVE_PREFIX).length).toBe(300);
    expect(keys(ENDED_PREFIX).length).toBe(300);
    await later(60_000);
    expect(keys('~task')).toEqual([]);
  });

  it('moves nothing that has changed meanwhile, and nothing for a replica that has lost its lease', async () => {
    await fleet.register('a0');
    await cancelled(3);
    await fleet.tend();
    const entry = await fleet.store.get('default', 'lease/care');
    if (entry === undefined) throw new Error('no lease of care');
    fleet.store.faults.lagging = true;
    await fleet.store.commit({ namespace: 'default', puts: [entry] });
    await later(31_000);
    expect(keys(ARCHIVE_PREFIX)).toEqual([]);
    expect(keys('task/').length).toBe(3);
    fleet.store.faults.lagging = false;
  });

  it('is looked through also where there are no agents and no tasks left', async () => {
    await cancelled(2);
    await later(31_000);
    expect(keys(ARCHIVE_PREFIX)).toEqual([archiveKey('t0'), archiveKey('t1')]);
    await later(70_000);
    expect(keys('~task')).toEqual([]);
  });

  it('pages through what has ended and what has not in the order of ids', async () => {
    await fleet.register('a0');
    await cancelled(5);
    await later(31_000);
    await fleet.submit('t05');
    await fleet.submit('t9');
    const states = [Task_State.CANCELLED, Task_State.PENDING];
    const seen: string[] = [];
    let pageToken = '';
    do {
      const page = await fleet.list({ states }, { pageSize: 2, pageToken });
      seen.push(...page.tasks.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    expect(seen).toEqual(['t0', 't05', 't1', 't2', 't3', 't4', 't9']);
  });
});
