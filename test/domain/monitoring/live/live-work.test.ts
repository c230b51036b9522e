import { afterEach, expect, it } from 'vitest';
import { Operation_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import {
  WatchLiveRequest_Part,
  type WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { stateName } from '../../../../src/domain/coordination/tasks/task-events.ts';
import { fleet, useFleet } from '../../agent/conversation-fixture.ts';
import { Crew, start, succeeds } from '../../coordination/operations/operation-fixture.ts';
import { ACCEPTED, SUCCEEDED, startTasks } from '../../coordination/tasks/task-fixture.ts';
import { liveStreams, Watcher } from './live-fixture.ts';

useFleet();
const { TASKS, OPERATIONS, USAGE, TRAFFIC } = WatchLiveRequest_Part;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** What a part of one kind holds. */
function held<C extends WatchLiveResponse['part']['case']>(told: WatchLiveResponse, name: C) {
  const { part } = told;
  if (part.case !== name) throw new Error(`expected ${name}, got ${part.case}`);
  return part.value as Extract<WatchLiveResponse['part'], { case: C }>['value'];
}

it.each([false, true])(
  'tasks that have not ended come first, then each as it changes (as JSON: %s)',
  async (json) => {
    const work = await startTasks();
    cleanups.push(() => work.stop());
    const a1 = await work.worker('a1');
    await work.submit('ended', { capability: 'nobody' });
    await work.cancel('ended');
    for (let index = 0; index < 70; index += 1) await work.submit(`open-${index}`, { capability: 'nobody' });
    const watcher = new Watcher(liveStreams(work), { parts: [TASKS] }, json);
    cleanups.push(() => watcher.close());
    const statesOf = (told: WatchLiveResponse[]) =>
      told.flatMap((each) =>
        (held(each, 'tasks')?.changes ?? []).map(({ task }) => `${task?.id} ${stateName(task?.state ?? 0)}`),
      );
    const snapshot = await watcher.until((told) => held(told, 'tasks')?.synced === true);
    expect(statesOf(snapshot).length).toBe(70);
    expect(snapshot.length).toBeGreaterThan(1);
    expect(statesOf(snapshot)).not.toContain('ended cancelled');
    await work.submit('t1');
    await a1.say('t1', ACCEPTED);
    await a1.say('t1', SUCCEEDED);
    const later = await watcher.until((told) => statesOf([told]).includes('t1 succeeded'));
    expect(statesOf(later).every((state) => state.startsWith('t1 '))).toBe(true);
  },
);

it('operations come with their progress, until they have ended and as they ended', async () => {
  const crew = await Crew.of(4, succeeds);
  const streams = liveStreams(fleet);
  const watcher = new Watcher(streams, { parts: [OPERATIONS] });
  cleanups.push(() => watcher.close());
  expect(held(await watcher.next(), 'operations')?.operations).toEqual([]);
  const { operation } = await start({ command: 'check' });
  const [first] = held(await watcher.next(), 'operations')?.operations ?? [];
  expect(first).toMatchObject({ id: operation.id, agents: 4, state: Operation_State.RUNNING });
  await crew.work();
  const isOver = (told: WatchLiveResponse): boolean =>
    held(told, 'operations')?.operations.some(({ state }) => state === Operation_State.SUCCEEDED) === true;
  await watcher.until(isOver);
  // Whoever comes later sees it as it ended.
  const late = new Watcher(streams, { parts: [OPERATIONS] });
  cleanups.push(() => late.close());
  expect(isOver(await late.next())).toBe(true);
});

it('usage and topology come as a whole, and again only when something changed', async () => {
  const work = await startTasks();
  cleanups.push(() => work.stop());
  await work.worker('a1', { capacity: { slots: 4n } });
  let reads = 0;
  const usage = {
    get: (request: Parameters<typeof work.resources.usage.get>[0]) => {
      reads += 1;
      return work.resources.usage.get(request);
    },
  };
  const streams = liveStreams(work, { usage });
  const watchers = Array.from({ length: 5 }, () => new Watcher(streams, { parts: [USAGE, TRAFFIC] }));
  for (const watcher of watchers) cleanups.push(() => watcher.close());
  for (const watcher of watchers) {
    const first = [await watcher.next(), await watcher.next()];
    const usageTold = first.find(({ part }) => part.case === 'usage');
    const topology = first.find(({ part }) => part.case === 'topology');
    if (usageTold === undefined || topology === undefined) throw new Error('one of the parts did not come');
    expect(held(usageTold, 'usage')?.total).toMatchObject([
      { resource: 'slots', capacity: 4n, reserved: 0n },
    ]);
    expect(held(topology, 'topology')?.nodes).toMatchObject([{ id: 'a1', agents: 1 }]);
  }
  // Made once for all of them.
  expect(reads).toBe(1);
  await work.submit('t1');
  const [watcher] = watchers;
  const next = await watcher?.until(({ part }) => part.case === 'usage');
  expect(next?.length).toBe(1);
  expect(reads).toBeLessThanOrEqual(3);
});
