import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { Duties } from '../../../../src/domain/coordination/tasks/duties.ts';
import { StoreUnavailableError } from '../../../../src/state/store.ts';
import { turns } from '../../agent/fleet-fixture.ts';
import { startTasks, type TaskFleet } from './task-fixture.ts';

let fleet: TaskFleet;
beforeEach(async () => {
  fleet = await startTasks();
  for (const namespace of ['default', 'other']) await fleet.submit('t1', {}, { namespace });
  await fleet.tick();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fleet.stop();
});

describe('the duties of scheduling', () => {
  it('that one namespace is slow with delay no other, and are done once at a time in each', async () => {
    const ends: (() => void)[] = [];
    const run = vi.spyOn(Duties.prototype, 'run');
    run.mockImplementationOnce(() => new Promise<void>((resolve) => ends.push(resolve)));
    fleet.tasks.scheduling.tick();
    await turns();
    const [slow, quick] = run.mock.contexts;
    expect(run.mock.contexts).toEqual([slow, quick]);
    expect(quick).not.toBe(slow);
    fleet.tasks.scheduling.tick();
    await turns();
    expect(run.mock.contexts.map((each) => each === slow)).toEqual([true, false, false]);
    for (const end of ends) end();
    await turns();
    await fleet.tick();
    expect(run.mock.contexts.map((each) => each === slow)).toEqual([true, false, false, true, false]);
  });

  it('that fail are done again in the next round', async () => {
    const run = vi.spyOn(Duties.prototype, 'run');
    run.mockRejectedValueOnce(
      new StoreUnavailableError({ message: 'away', outcome: 'not_applied', retryAfterMs: 1 }),
    );
    run.mockRejectedValueOnce(new Error('a fault'));
    await fleet.tick();
    await fleet.tick();
    expect(run).toHaveBeenCalledTimes(4);
  });
});

describe('why a new task waits', () => {
  it('is found out at once among few agents, and among many when somebody asks', async () => {
    expect((await fleet.submit('few', { capability: 'a' })).pending?.reason).toBe(
      PendingReason.NO_CAPABILITY,
    );
    vi.spyOn(fleet.directory, 'count').mockReturnValue(2001);
    const many = await fleet.submit('many', { capability: 'b' });
    expect(many.pending?.reason).toBe(PendingReason.NEW);
    expect((await fleet.task('many')).pending?.reason).toBe(PendingReason.NO_CAPABILITY);
  });
});
