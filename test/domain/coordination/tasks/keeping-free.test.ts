import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { startTasks, type TaskFleet } from './task-fixture.ts';

let fleet: TaskFleet;
beforeEach(async () => {
  fleet = await startTasks({ flags: { 'tasks.reserve-after': '1s' } });
  await fleet.submit('first', { capability: 'nobody' });
  await fleet.cancel('first');
});
afterEach(() => fleet.stop());

const labels = (owner: string) => ({ labels: { owner } });
const kept = (): [string, string][] => [...fleet.tasks.scheduling.scheduler('default').keptFree];

/** Time passes until an agent is kept free. */
const waitLong = async (): Promise<void> => {
  fleet.clock.advance(1500);
  await fleet.tick();
};

describe('an agent that is kept free', () => {
  it('is had by the one that it is kept for, whosever turn it is, and the others go on after it', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.submit('taker', labels('bob'));
    await fleet.submit('bob-1', labels('bob'));
    await fleet.submit('bob-2', labels('bob'));
    for (const id of ['ann-1', 'ann-2']) await fleet.submit(id, labels('ann'));
    await waitLong();
    expect(kept()).toEqual([['a1', 'task/bob-1']]);
    // It is ann's turn.
    await a1.finish('taker');
    expect(a1.tasks()).toEqual(['taker', 'bob-1']);
    for (let round = 0; round < 3; round += 1) {
      await waitLong();
      await a1.finish(a1.tasks().at(-1) ?? '');
    }
    expect(a1.tasks().toSorted()).toEqual(['ann-1', 'ann-2', 'bob-1', 'bob-2', 'taker']);
  });

  it('is had by what is larger before what is smaller, and that gets what is left', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 3n } });
    for (const id of ['s1', 's2', 's3']) await fleet.submit(id);
    await fleet.submit('large', { resources: { slots: 2n } });
    await waitLong();
    await fleet.submit('s4');
    await a1.finish('s1');
    expect(a1.tasks()).toEqual(['s1', 's2', 's3']);
    expect((await fleet.task('s4')).pending?.reason).toBe(PendingReason.NO_ROOM);
    await a1.finish('s2');
    expect(a1.tasks().at(-1)).toBe('large');
    await a1.finish('s3');
    expect(a1.tasks().at(-1)).toBe('s4');
  });

  it('is kept for whoever comes before the one that it was kept for in its line', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.submit('taker');
    await fleet.submit('k');
    await waitLong();
    expect(kept()).toEqual([['a1', 'task/k']]);
    await fleet.submit('urgent', { priority: 1000 });
    await a1.finish('taker');
    await a1.finish('urgent');
    expect(a1.tasks()).toEqual(['taker', 'urgent', 'k']);
  });

  it('is kept no more once a quota stands in the way', async () => {
    const a1 = await fleet.worker('a1');
    await fleet.worker('a2');
    await fleet.submit('taker', labels('bob'));
    await fleet.submit('taker2', labels('ann'));
    await fleet.submit('k', labels('ann'));
    await waitLong();
    expect(kept()).toHaveLength(1);
    await fleet.quota('ann', { hard: { tasks: 1n } });
    await a1.finish('taker');
    await fleet.submit('other', labels('bob'));
    await fleet.tick();
    expect((await fleet.task('other')).agentId).toBe('a1');
    expect((await fleet.task('k')).pending?.reason).toBe(PendingReason.QUOTA);
  });

  it('is found although something that waits for longer could be had by none', async () => {
    await fleet.worker('a1');
    await fleet.submit('fly', { capability: 'fly' });
    await fleet.submit('huge', { resources: { slots: 9n } });
    await fleet.submit('taker');
    await fleet.submit('k');
    await waitLong();
    expect(kept()).toEqual([['a1', 'task/k']]);
  });

  it.each(['is placed elsewhere', 'is cancelled'])(
    'is had by others once what it was kept for %s',
    async (how) => {
      const a1 = await fleet.worker('a1', { capacity: { slots: 2n } });
      await fleet.submit('s1');
      await fleet.submit('s2');
      await fleet.submit('large', { resources: { slots: 2n } });
      await waitLong();
      expect(kept()).toEqual([['a1', 'task/large']]);
      await fleet.submit('s3');
      await a1.finish('s1');
      expect(a1.tasks()).toEqual(['s1', 's2']);
      if (how === 'is cancelled') await fleet.cancel('large');
      else await fleet.worker('a2', { capacity: { slots: 2n } });
      await fleet.settled();
      expect((await fleet.task('s3')).agentId).toBe('a1');
    },
  );
});

describe('what waits', () => {
  it('for a budget does not stand before what needs none', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 9n } });
    await fleet.quota('ann', { budgets: [{ name: 'tokens', limit: 10n }] });
    await fleet.submit('spends', { ...labels('ann'), budgets: { tokens: 10n } });
    await fleet.submit('lacks', { ...labels('ann'), budgets: { tokens: 9n } });
    expect((await fleet.task('lacks')).pending?.reason).toBe(PendingReason.BUDGET);
    await fleet.submit('needs-none', labels('ann'));
    expect(a1.tasks()).toEqual(['spends', 'needs-none']);
  });

  it('of 300 owners is served to all of them alike', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 1n } });
    await fleet.submit('taker');
    const specs = Array.from(
      { length: 600 },
      (_, at) => [`t${at}`, labels(`o${Math.floor(at / 2)}`)] as const,
    );
    await fleet.batch(Object.fromEntries(specs));
    await a1.finish('taker');
    for (let round = 0; round < 299; round += 1) await a1.finish(a1.tasks().at(-1) ?? '');
    const owners = new Set(
      a1
        .tasks()
        .slice(1)
        .map((id) => Math.floor(Number(id.slice(1)) / 2)),
    );
    expect(owners.size).toBe(300);
  });

  it('and cannot be placed for a reason that nobody thought of does not stop the others', async () => {
    const a1 = await fleet.worker('a1', { capacity: { slots: 1n } });
    await fleet.submit('taker');
    await fleet.submit('broken');
    await fleet.submit('sound');
    const { view } = fleet.tasks;
    const get = view.get.bind(view);
    let breaks = true;
    Object.assign(view, {
      get: (namespace: string, id: string) => {
        if (breaks && id === 'broken' && new Error().stack?.includes('placeTask')) throw new Error('broken');
        return get(namespace, id);
      },
    });
    await a1.finish('taker');
    expect(a1.tasks()).toEqual(['taker', 'sound']);
    expect(fleet.warnings.join()).toContain('could not be placed');
    breaks = false;
    await a1.finish('sound');
    fleet.clock.advance(6000);
    await fleet.tick();
    expect(a1.tasks()).toEqual(['taker', 'sound', 'broken']);
  });
});
