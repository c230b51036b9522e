import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Task_State,
  TaskAttempt_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { StoreUnavailableError } from '../../../../src/state/store.ts';
import { rejection } from '../../agent/fleet-fixture.ts';
import { ACCEPTED, DECLINED, SUCCEEDED, startTasks, type TaskFleet } from './task-fixture.ts';

const { PENDING, ASSIGNED, RUNNING, SUCCEEDED: DONE } = Task_State;

let fleet: TaskFleet;
beforeEach(async () => {
  fleet = await startTasks();
  // The first task makes this replica the scheduler.
  await fleet.submit('first', { capability: 'nobody' });
  await fleet.cancel('first');
});
afterEach(() => fleet.stop());

describe('a task', () => {
  it('is placed in the commit that submits it when there is room, and handed out at once', async () => {
    const a1 = await fleet.worker('a1');
    const before = fleet.store.commits.length;
    const task = await fleet.submit('t1');
    expect(task).toMatchObject({ state: ASSIGNED, agentId: 'a1', attemptCount: 1 });
    const [commit] = fleet.store.commits.slice(before);
    expect(commit?.puts?.map(({ key }) => key)).toEqual(['task/t1', 'mail/a1/task-t1-1']);
    expect(a1.tasks()).toEqual(['t1']);
    expect(fleet.reserved('a1')).toEqual({ slots: 1 });
    expect(await a1.say('t1', ACCEPTED)).toBe('');
    expect((await fleet.task('t1')).state).toBe(RUNNING);
    expect(await a1.say('t1', SUCCEEDED)).toBe('');
    expect(await fleet.task('t1')).toMatchObject({ state: DONE, agentId: 'a1' });
    expect(fleet.reserved('a1')).toEqual({});
  });

  it.each<[string, PendingReason, Parameters<TaskFleet['submit']>[1]]>([
    ['nobody has the capability', PendingReason.NO_CAPABILITY, { capability: 'fly' }],
    ['a constraint excludes all', PendingReason.CONSTRAINTS, { placement: { notAgentIds: ['a1'] } }],
    ['it is larger than any agent', PendingReason.TOO_LARGE, { resources: { slots: 2n } }],
    ['all are full', PendingReason.NO_ROOM, {}],
  ])('waits because %s, and says so', async (_, reason, spec) => {
    await fleet.worker('a1');
    await fleet.submit('taker');
    const task = await fleet.submit('t1', spec);
    expect(task.state).toBe(PENDING);
    expect(task.pending?.reason).toBe(reason);
    expect((await fleet.task('t1')).pending?.reason).toBe(reason);
    expect((await fleet.explain('t1')).placement?.reason).toBe(reason);
  });

  it('that waits is placed when an agent comes that can have it', async () => {
    await fleet.submit('t1');
    await fleet.worker('other', { capability: 'fly' });
    expect((await fleet.task('t1')).state).toBe(PENDING);
    const a1 = await fleet.worker('a1');
    expect(a1.tasks()).toEqual(['t1']);
  });

  it('that waits is placed when another one ends', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.submit('t1');
    await fleet.submit('t2');
    expect(a1.tasks()).toEqual(['t1']);
    await a1.finish('t1');
    expect(a1.tasks()).toEqual(['t1', 't2']);
  });

  it('waits for a quota of its owner, and is placed when that is raised', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 5n } });
    await fleet.quota('ann', { hard: { tasks: 1n } });
    await fleet.submit('t1', { labels: { owner: 'ann' } });
    const waiting = await fleet.submit('t2', { labels: { owner: 'ann' } });
    expect(waiting.pending?.reason).toBe(PendingReason.QUOTA);
    await fleet.submit('t3', { labels: { owner: 'bob' } });
    expect(a1.tasks()).toEqual(['t1', 't3']);
    await fleet.quota('ann', { hard: { tasks: 2n } });
    expect(a1.tasks()).toEqual(['t1', 't3', 't2']);
  });

  it('with the id of one that is there is that one, or refused when it wants something else', async () => {
    await fleet.submit('t1', { priority: 3 });
    expect((await fleet.submit('t1', { priority: 3 })).id).toBe('t1');
    expect(await rejection(fleet.submit('t1', { priority: 4 }))).toMatchObject({
      message: 'task t1 is there already, with another spec',
    });
  });

  it('that no known agent could ever do is refused when it must fit', async () => {
    await fleet.worker('a1');
    const refused = await rejection(fleet.submit('t1', { resources: { slots: 9n } }, { mustFit: true }));
    expect(refused).toMatchObject({ message: expect.stringContaining('no agent that is known could ever') });
    // One that is full now could.
    await fleet.submit('t2', {});
    expect((await fleet.submit('t3', {}, { mustFit: true })).state).toBe(PENDING);
  });
});

describe('a batch', () => {
  it('is stored as a whole or not at all, and its error tells the place', async () => {
    await fleet.worker('a1', { capacity: { slots: 9n } });
    const refused = await rejection(fleet.batch({ t1: {}, t2: { parentTaskId: 'nobody' } }));
    expect(refused).toMatchObject({ message: expect.stringContaining('tasks[1]: there is no task nobody') });
    expect(await rejection(fleet.task('t1'))).toBeDefined();
    await fleet.batch({ t1: {}, t2: { priority: 5 } });
    expect((await fleet.task('t1')).state).toBe(ASSIGNED);
    const again = await fleet.batch({ t1: {}, t3: {} });
    expect(again.taskIds).toEqual(['t1', 't3']);
    expect((await fleet.task('t1')).attemptCount).toBe(1);
  });
});

describe('tasks that wait', () => {
  it('go by priority, and by age beside it', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.submit('taker');
    await fleet.submit('old', { priority: 0 });
    // tasks.aging is a minute: ten of them count as much as ten more in priority.
    fleet.clock.advance(600_000);
    await fleet.submit('low', { priority: 1 });
    await fleet.submit('nine', { priority: 9 });
    await fleet.submit('eleven', { priority: 11 });
    for (const id of ['taker', 'eleven', 'old', 'nine', 'low']) await a1.finish(id);
    expect(a1.tasks()).toEqual(['taker', 'eleven', 'old', 'nine', 'low']);
  });

  it('of two owners with weights 3 and 1 get places 3 to 1', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.quota('ann', { weight: 3 });
    await fleet.submit('taker');
    const specs = Object.fromEntries(
      Array.from({ length: 80 }, (_, at) => [`${at % 2 === 0 ? 'ann' : 'bob'}-${at}`, at] as const).map(
        ([id]) => [id, { labels: { owner: id.slice(0, 3) } }],
      ),
    );
    await fleet.batch(specs);
    await a1.finish('taker');
    for (let round = 0; round < 40; round += 1) await a1.finish(a1.tasks().at(-1) ?? '');
    const served = a1.tasks().slice(1, 41);
    expect(served.filter((id) => id.startsWith('ann')).length).toBeGreaterThanOrEqual(29);
    expect(served.filter((id) => id.startsWith('ann')).length).toBeLessThanOrEqual(31);
  });

  it('of one ordering key run one at a time, in the order of submission, whatever their priorities', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 9n } });
    const orderingKey = 'k';
    for (const [index, id] of ['o1', 'o2', 'o3'].entries())
      await fleet.submit(id, { orderingKey, priority: index });
    await fleet.submit('free');
    expect(a1.tasks()).toEqual(['o1', 'free']);
    const second = await fleet.task('o2');
    expect(second.pending).toMatchObject({ reason: PendingReason.ORDERING_KEY });
    expect(second.pending?.detail).toContain('o1');
    await a1.finish('o1');
    await a1.finish('o2');
    expect(a1.tasks()).toEqual(['o1', 'free', 'o2', 'o3']);
  });

  it('of one ordering key do not overtake while the first is being stored', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 9n } });
    let more = 1;
    fleet.store.faults.before = async ({ puts }) => {
      // The next is submitted while the first gets its place.
      if (more === 0 || puts?.some(({ key }) => key.startsWith('mail/')) !== true) return;
      more -= 1;
      await fleet.put('o2', { orderingKey: 'k' });
    };
    await fleet.submit('o1', { orderingKey: 'k' });
    fleet.store.faults.before = undefined;
    await fleet.settled();
    expect(a1.tasks()).toEqual(['o1']);
    await a1.finish('o1');
    expect(a1.tasks()).toEqual(['o1', 'o2']);
  });

  it('are rebuilt, with the ledger, when the namespace is read anew', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 2n } });
    await fleet.quota('ann', { hard: { tasks: 1n } });
    await fleet.submit('t1', { labels: { owner: 'ann' } });
    await fleet.submit('t2', { labels: { owner: 'ann' } });
    for (const id of ['o1', 'o2', 'o3']) await fleet.submit(id, { orderingKey: 'k' });
    await fleet.readAnew();
    expect(fleet.reserved('a1')).toEqual({ slots: 2 });
    expect(fleet.tasks.scheduling.scheduler('default').waiting.size).toBe(3);
    expect((await fleet.task('t2')).pending?.reason).toBe(PendingReason.QUOTA);
    expect((await fleet.task('o2')).pending?.reason).toBe(PendingReason.ORDERING_KEY);
    await a1.finish('o1');
    expect(a1.tasks()).toEqual(['t1', 'o1', 'o2']);
    await a1.finish('t1');
    expect(a1.tasks()).toEqual(['t1', 'o1', 'o2', 't2']);
  });
});

describe('an offer', () => {
  it('that is declined goes to another agent, and comes back when its pause is over', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.submit('t1');
    await a1.say('t1', DECLINED, { error: 'not now' });
    const waiting = await fleet.task('t1');
    expect(waiting).toMatchObject({ state: PENDING, failures: 0 });
    expect(waiting.pending?.reason).toBe(PendingReason.DECLINED);
    expect(waiting.attempts[0]).toMatchObject({ state: TaskAttempt_State.DECLINED, error: 'not now' });
    const a2 = await fleet.worker('a2');
    expect(a2.tasks()).toEqual(['t1']);
    await a2.say('t1', DECLINED);
    fleet.clock.advance(900);
    await fleet.tick();
    expect(a1.tasks()).toEqual(['t1']);
    fleet.clock.advance(200);
    await fleet.tick();
    expect(a1.tasks()).toEqual(['t1', 't1']);
    expect((await fleet.task('t1')).attemptCount).toBe(3);
  });

  it('that nobody answers goes to another agent', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.submit('t1', { acceptWithin: durationFromMs(200) });
    await fleet.pass(1000);
    await fleet.settled();
    expect(a1.tasks()).toEqual(['t1']);
    const waiting = await fleet.task('t1');
    expect(waiting).toMatchObject({ state: PENDING, failures: 0 });
    expect(waiting.attempts[0]?.state).toBe(TaskAttempt_State.UNANSWERED);
    const a2 = await fleet.worker('a2');
    expect(a2.tasks()).toEqual(['t1']);
  });
});

describe('a placement', () => {
  it('is tried again when its agent was changed meanwhile', async () => {
    const a1 = await fleet.worker('a1');
    let more = 2;
    fleet.store.faults.before = async ({ puts }) => {
      if (more === 0 || puts?.some(({ key }) => key.startsWith('mail/')) !== true) return;
      more -= 1;
      const entry = await fleet.store.get('default', 'agent/a1');
      if (entry !== undefined) await fleet.store.commit({ namespace: 'default', puts: [entry] });
    };
    await fleet.submit('t1');
    await fleet.settled();
    expect(more).toBe(0);
    expect(a1.tasks()).toEqual(['t1']);
    expect(fleet.reserved('a1')).toEqual({ slots: 1 });
  });

  it('of a scheduler that has lost its lease is refused, and nothing stays reserved', async () => {
    const a1 = await fleet.worker('a1');
    const entry = await fleet.store.get('default', 'lease/schedule');
    if (entry === undefined) throw new Error('no lease');
    fleet.store.faults.lagging = true;
    // Somebody else writes it; this replica has not heard of it.
    await fleet.store.commit({ namespace: 'default', puts: [entry] });
    const task = await fleet.submit('t1');
    expect(task.state).toBe(PENDING);
    expect(fleet.reserved('a1')).toEqual({});
    expect(a1.tasks()).toEqual([]);
    fleet.store.faults.lagging = false;
  });

  it.each([1, 0])('whose answer was lost is found out about (applied: %d)', async (applied) => {
    const a1 = await fleet.worker('a1');
    if (applied === 1) fleet.store.faults.loseAnswers = 1;
    else fleet.store.faults.away = true;
    expect(await rejection(fleet.submit('t1'))).toBeInstanceOf(StoreUnavailableError);
    fleet.store.faults.away = false;
    await fleet.settled();
    expect(fleet.reserved('a1')).toEqual(applied === 1 ? { slots: 1 } : {});
    expect(a1.tasks()).toEqual(applied === 1 ? ['t1'] : []);
    // Said again, it is the same task.
    await fleet.submit('t1');
    await a1.finish('t1');
    expect(a1.tasks()).toEqual(['t1']);
    expect(fleet.reserved('a1')).toEqual({});
  });
});
