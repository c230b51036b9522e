import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import {
  type Event,
  EventSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { EventFeed } from '../../web/src/store/event-feed.ts';

const event = (number: number): Event =>
  create(EventSchema, { id: `${number}-0`, time: { seconds: BigInt(number), nanos: 0 } });
const events = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => event(from + index));

let feed: EventFeed;

beforeEach(() => {
  vi.useFakeTimers();
  feed = new EventFeed();
});

afterEach(() => {
  vi.useRealTimers();
});

const shown = () => feed.events.value.map(({ id }) => Number.parseInt(id, 10));

test('events stand newest first, each once', () => {
  feed.take(events(1, 4), true);
  expect(shown()).toEqual([3, 2, 1]);
  feed.take(events(3, 6), false);
  vi.advanceTimersByTime(300);
  expect(shown()).toEqual([5, 4, 3, 2, 1]);
});

test('ten thousand in a second are shown a few times in it, and the latest thousand are kept', () => {
  feed.take([], true);
  let changes = 0;
  feed.events.subscribe(() => {
    changes += 1;
  });
  for (let at = 0; at < 10_000; at += 100) {
    feed.take(events(at, at + 100), false);
    vi.advanceTimersByTime(10);
  }
  vi.advanceTimersByTime(300);
  expect(changes).toBeLessThanOrEqual(8);
  expect(shown()).toEqual(events(9_000, 10_000).map((_, index) => 9_999 - index));
});

test('what was missed while the connection was lost goes where it belongs', () => {
  feed.take([event(1), event(2), event(9)], true);
  feed.begin();
  feed.take([event(2), event(5), event(9), event(10)], true);
  expect(shown()).toEqual([10, 9, 5, 2, 1]);
});

test('events of another filter take the place of those before', () => {
  feed.take(events(1, 4), true);
  feed.restart();
  expect(shown()).toEqual([3, 2, 1]);
  feed.take([event(2)], true);
  expect(shown()).toEqual([2]);
});
