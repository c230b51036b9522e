import { afterEach, expect, it } from 'vitest';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Event_Severity,
  WatchLiveRequest_Part,
  type WatchLiveResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { EventWriter } from '../../../../src/domain/monitoring/events.ts';
import { startFleet } from '../../agent/fleet-fixture.ts';
import { liveStreams, Watcher } from './live-fixture.ts';

const { EVENTS, AGENTS, STATUS } = WatchLiveRequest_Part;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function setUp(flags: Record<string, string> = {}) {
  const fleet = await startFleet({ flags });
  cleanups.push(() => fleet.stop());
  const writer = new EventWriter({ replicaId: 'replica-1', wallMs: () => fleet.clock.wallMs() });
  /** Writes events "from"… in commits of `each`. */
  const write = async (from: number, count: number, each = 1): Promise<void> => {
    for (let at = from; at < from + count; at += each) {
      const appends = Array.from({ length: Math.min(each, from + count - at) }, (_, index) =>
        writer.append({
          type: 'test.event',
          severity: Event_Severity.INFO,
          message: `${at + index}`,
          actor: 'a',
        }),
      );
      await fleet.store.commit({ namespace: 'default', appends });
    }
  };
  const watch = (request: Partial<{ recentEvents: number; parts: WatchLiveRequest_Part[] }> = {}) => {
    const eventFilter = { types: ['test.*'] };
    const watcher = new Watcher(liveStreams(fleet), { parts: [EVENTS], eventFilter, ...request });
    cleanups.push(() => watcher.close());
    return watcher;
  };
  return { fleet, write, watch };
}

const eventsOf = (told: readonly WatchLiveResponse[]): number[] =>
  told.flatMap(({ part }) =>
    part.case === 'events' ? part.value.events.map(({ message }) => Number(message)) : [],
  );
const isSynced = ({ part }: WatchLiveResponse): boolean => part.case === 'events' && part.value.synced;
const upTo =
  (last: number) =>
  (told: WatchLiveResponse): boolean =>
    eventsOf([told]).includes(last);
const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from }, (_, index) => from + index);

it('those that went before come first, oldest first, and then each one once', async () => {
  const { write, watch } = await setUp();
  await write(0, 30);
  const watcher = watch({ recentEvents: 10 });
  expect(eventsOf(await watcher.until(isSynced))).toEqual(range(20, 30));
  await write(30, 5);
  expect(eventsOf(await watcher.until(upTo(34)))).toEqual(range(30, 35));
});

it('ten thousand events in a moment all come, in order, in messages of at most 256', async () => {
  const { write, watch } = await setUp();
  const watcher = watch();
  await watcher.until(isSynced);
  const told = watcher.until(upTo(9_999));
  await write(0, 10_000, 10);
  const all = await told;
  expect(eventsOf(all)).toEqual(range(0, 10_000));
  expect(Math.max(...all.map((each) => eventsOf([each]).length))).toBeLessThanOrEqual(256);
});

it('who does not read is told what there is room for, and cut off; nothing is left out silently', async () => {
  const { write, watch } = await setUp({ 'limits.watch-buffer': '100' });
  const watcher = watch();
  await watcher.until(isSynced);
  await write(0, 4_000);
  const told: WatchLiveResponse[] = [];
  const reading = (async () => {
    for (;;) told.push(await watcher.next());
  })();
  await expect(reading).rejects.toMatchObject({ reason: ErrorReason.SLOW_CONSUMER });
  const seen = eventsOf(told);
  expect(seen).toEqual(range(0, seen.length));
  expect(seen.length).toBeLessThan(4_000);
});

it('a flood of events holds up no other part', async () => {
  const { write, watch, fleet } = await setUp();
  await fleet.register('a1');
  const watcher = watch({ parts: [EVENTS, AGENTS, STATUS], recentEvents: 1000 });
  await write(0, 1_500, 50);
  const told = await watcher.until(({ part }) => part.case === 'status');
  // Each part had its turn before any had a second one that the others waited for.
  expect(told.length).toBeLessThanOrEqual(3);
  expect((await watcher.until(({ part }) => part.case === 'agents')).length).toBeLessThanOrEqual(3);
});

it('after the store was replaced, what was there is told again, and what comes then', async () => {
  const { write, watch, fleet } = await setUp();
  await write(0, 3);
  const watcher = watch({ recentEvents: 2 });
  expect(eventsOf(await watcher.until(isSynced))).toEqual([1, 2]);
  fleet.store.promote();
  const again = await watcher.until(isSynced);
  expect(eventsOf(again)).toEqual([1, 2]);
  expect(again[0]?.part).toMatchObject({ case: 'events', value: { synced: false } });
  await write(3, 1);
  expect(eventsOf(await watcher.until(upTo(3)))).toEqual([3]);
});
