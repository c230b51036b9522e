import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  type Event,
  EventSchema,
} from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type Backlog, carriedOver, DRAWN, withPage } from '../../web/src/pages/events/backlog.ts';

const event = (number: number): Event => create(EventSchema, { id: `${number}-0`, revision: BigInt(number) });
/** Newest first. */
const list = (newest: number, oldest: number): Event[] =>
  Array.from({ length: newest - oldest + 1 }, (_, index) => event(newest - index));
const numbers = (events: readonly Event[]) => events.map(({ revision }) => Number(revision));
const opened = (live: readonly Event[]): Backlog => {
  const from = live.slice(0, DRAWN).at(-1);
  if (from === undefined) throw new Error('nothing is drawn');
  return { from, token: undefined, found: [] };
};

test('pages go on after the last event that is drawn, however many there are', () => {
  let backlog = opened(list(2_000, 1_001));
  expect(backlog.from?.revision).toBe(1_601n);
  backlog = withPage(backlog, list(1_603, 1_401), 'a');
  backlog = withPage(backlog, list(1_400, 1), '');
  expect(numbers(backlog.found)).toEqual(numbers(list(1_600, 1)));
});

test.each([
  ['a few', 50],
  ['more than are drawn', 500],
  ['nearly all that the live list keeps', 999],
])('there is no gap after %s new events', (_name, step) => {
  let live = list(2_000, 1_001);
  let backlog = withPage(opened(live), list(1_600, 1_501), 'next');
  for (let newest = 2_000 + step; newest <= 2_000 + 3 * step; newest += step) {
    const before = live.slice(0, DRAWN);
    live = list(newest, newest - 999);
    const next = carriedOver(backlog, before, live);
    if (next === undefined) throw new Error('the lists do not join');
    backlog = next;
    expect(numbers([...live.slice(0, DRAWN), ...backlog.found])).toEqual(numbers(list(newest, 1_501)));
  }
  expect(backlog.token).toBe('next');
});

test('an answer that comes after the live list has moved on joins all the same', () => {
  const live = list(2_000, 1_001);
  const moved = list(2_100, 1_101);
  const backlog = carriedOver(opened(live), live.slice(0, DRAWN), moved);
  if (backlog === undefined) throw new Error('the lists do not join');
  const { found } = withPage(backlog, list(1_600, 1_401), '');
  expect(numbers([...moved.slice(0, DRAWN), ...found])).toEqual(numbers(list(2_100, 1_401)));
});

test('where too much came at once to know what was in between, the backlog ends', () => {
  const live = list(2_000, 1_001);
  expect(carriedOver(opened(live), live.slice(0, DRAWN), list(4_000, 3_001))).toBeUndefined();
});

test('what has moved on is bounded; pages go on after the last that is kept', () => {
  let live = list(1_000, 1);
  let backlog = withPage(opened(live), list(600, 1), '');
  for (let newest = 1_500; newest <= 10_000; newest += 500) {
    const before = live.slice(0, DRAWN);
    live = list(newest, newest - 999);
    backlog = carriedOver(backlog, before, live) ?? backlog;
  }
  expect(numbers(backlog.found)).toEqual(numbers(list(9_600, 4_601)));
  expect([backlog.from?.revision, backlog.token]).toEqual([4_601n, undefined]);
});

test('an event that came meanwhile to an empty live list is not shown twice', () => {
  const asked: Backlog = { from: undefined, token: undefined, found: [] };
  const backlog = withPage(asked, list(5, 1), '');
  const next = carriedOver(backlog, [], [event(6), event(5)]);
  expect(numbers(next?.found ?? [])).toEqual([4, 3, 2, 1]);
});
