import { expect, test } from 'vitest';
import { type CoursePoint, Minutes, withPoint } from '../../web/src/lib/course.ts';

test('a course of hours keeps its last quarter of an hour by the second, and a point a minute before that', () => {
  let course: readonly CoursePoint[] = [];
  for (let time = 0; time < 2 * 3_600; time += 1)
    course = withPoint(course, { time, p50: 1, p95: time, health: time === 90 ? 0.5 : 1, load: undefined });
  expect(course.at(-1)?.time).toBe(7_199);
  expect(course.slice(-800).map(({ time }) => time)).toEqual(
    Array.from({ length: 800 }, (_, at) => 6_400 + at),
  );
  expect(course.length).toBeLessThan(1_100);
  expect(course.slice(0, 3)).toEqual([
    { time: 0, p50: 1, p95: 59, health: 1, load: undefined },
    { time: 60, p50: 1, p95: 119, health: 0.5, load: undefined },
    { time: 120, p50: 1, p95: 179, health: 1, load: undefined },
  ]);
});

test('minutes go on from history by what the stream brings, and the oldest go', () => {
  const minutes = new Minutes(5);
  const history = [
    { ms: 60_000, value: 1 },
    { ms: 120_000, value: 2 },
  ];
  minutes.add(120_000, 9);
  minutes.add(180_000, 3);
  minutes.add(190_000, 5);
  expect(minutes.course(history, 'mean')).toEqual([undefined, undefined, 1, 2, 4]);
  expect(minutes.course(history, 'max')).toEqual([undefined, undefined, 1, 2, 5]);
  minutes.add(300_000, 7);
  expect(minutes.course(history, 'mean')).toEqual([1, 2, 4, undefined, 7]);
});
