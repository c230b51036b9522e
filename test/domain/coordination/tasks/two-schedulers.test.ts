import { afterEach, describe, expect, it } from 'vitest';
import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { ACCEPTED, SUCCEEDED, startTasks, type TaskFleet } from './task-fixture.ts';

const fleets: TaskFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets.splice(0)) await fleet.stop();
});

/** Two replicas on one store; the first schedules. */
async function pair(): Promise<[TaskFleet, TaskFleet]> {
  const clock = new FakeClock();
  const one = await startTasks({ clock, replicaId: 'r1', replicaAlive: () => true });
  await one.submit('first', { capability: 'nobody' });
  await one.cancel('first');
  const two = await startTasks({
    clock,
    store: one.store,
    replicaId: 'r2',
    replicaAlive: () => true,
    seed: 2,
  });
  fleets.push(one, two);
  return [one, two];
}

describe('of two replicas', () => {
  it('the one without the lease takes tasks in, and the other one places them', async () => {
    const [one, two] = await pair();
    const a1 = await two.worker('a1');
    await one.settled();
    const task = await two.submit('t1');
    expect(task.state).toBe(Task_State.PENDING);
    await one.settled();
    await two.settled();
    expect(a1.tasks()).toEqual(['t1']);
    expect(two.reserved('a1')).toEqual({ slots: 1 });
    await a1.finish('t1');
    await one.settled();
    expect(one.reserved('a1')).toEqual({});
    expect((await one.task('t1')).state).toBe(Task_State.SUCCEEDED);
  });

  it('the one without the lease tells as well that a child waits for its parent’s budget, and since when', async () => {
    const [one, two] = await pair();
    const a1 = await two.worker('a1', { capacity: { slots: 9n } });
    await one.quota('', { budgets: [{ name: 'tokens', limit: 100n }] });
    await one.submit('top', { budgets: { tokens: 10n } });
    await two.settled();
    await a1.say('top', ACCEPTED);
    await one.submit('c1', { parentTaskId: 'top', budgets: { tokens: 8n } });
    const { createTime } = await one.submit('c2', { parentTaskId: 'top', budgets: { tokens: 8n } });
    await one.settled();
    await two.settled();
    one.clock.advance(5000);
    for (const fleet of [two, one]) {
      const { pending } = await fleet.task('c2');
      expect(pending?.reason).toBe(PendingReason.BUDGET);
      expect(pending?.sinceTime).toEqual(createTime);
    }
  });

  it('the other one takes over from one that leaves, with all that waits and all that is held', async () => {
    const [one, two] = await pair();
    const a1 = await two.worker('a1', { capacity: { slots: 2n } });
    await one.settled();
    for (const id of ['t1', 't2', 't3']) await one.submit(id, { orderingKey: id === 't1' ? '' : 'k' });
    await two.settled();
    expect(a1.tasks()).toEqual(['t1', 't2']);
    await one.tasks.scheduling.leave();
    await two.settled();
    two.clock.advance(600);
    await two.tick();
    expect(two.reserved('a1')).toEqual({ slots: 2 });
    await two.submit('t4');
    await a1.finish('t1');
    // There is room for one; t3 waits for its key.
    expect(a1.tasks()).toEqual(['t1', 't2', 't4']);
    await a1.finish('t2');
    expect(a1.tasks()).toEqual(['t1', 't2', 't4', 't3']);
  });

  it('one that was replaced without noticing has every placement refused, and no room is given twice', async () => {
    const [one, two] = await pair();
    const a1 = await two.worker('a1');
    await one.settled();
    const lease = await one.store.get('default', 'lease/schedule');
    if (lease === undefined) throw new Error('no lease');
    // The second has the lease written anew, as it does when it takes the first for gone.
    one.store.faults.lagging = true;
    await one.store.commit({ namespace: 'default', puts: [lease] });
    await one.submit('t1');
    await one.batch({ t2: {}, t3: {} });
    expect(one.reserved('a1')).toEqual({});
    one.store.faults.lagging = false;
    one.store.catchUp();
    for (const fleet of [one, two, one]) await fleet.settled();
    const on = one.store.commits.filter(({ puts }) => puts?.some(({ key }) => key.startsWith('mail/a1/')));
    const first = on.filter(({ puts }) => puts?.some(({ key }) => /^task\//.test(key)));
    expect(first.length).toBeLessThanOrEqual(1);
    expect(a1.tasks().length).toBeLessThanOrEqual(1);
  });

  it('each answers with what the other one stored', async () => {
    const [one, two] = await pair();
    const a1 = await one.worker('a1');
    await two.settled();
    await one.submit('t1');
    const explained = await two.explain('t1');
    expect(explained.delivery).toContain('attempt 1 on a1');
    expect(explained.summary).toBe('It is offered to a1, as attempt 1.');
    await a1.say('t1', ACCEPTED);
    await a1.say('t1', SUCCEEDED);
    expect((await two.explain('t1')).summary).toBe('It succeeded on a1, in attempt 1.');
    expect((await two.list({ states: [Task_State.SUCCEEDED] })).tasks.map(({ id }) => id)).toEqual(['t1']);
  });
});
