// The latest readings of the agent that is looked at, so that its charts move with the stream.
import { effect, type ReadonlySignal, signal } from '@preact/signals';
import { type CoursePoint, withPoint } from '../lib/course.ts';
import { offsetMs } from './link.ts';
import { agents } from './live.ts';

const course = signal<readonly CoursePoint[]>([]);
let followed: string | undefined;
let lastAt = 0;

effect(() => {
  agents.version.value;
  const reading = followed === undefined ? undefined : agents.get(followed)?.reading;
  // The age of a reading is told in steps: the same one may seem a moment younger.
  if (reading === undefined || reading.at - lastAt < 100) return;
  lastAt = reading.at;
  const { rttP50, rttP95, health, load } = reading;
  const time = (reading.at + offsetMs.peek()) / 1_000;
  course.value = withPoint(course.peek(), { time, p50: rttP50, p95: rttP95, health, load });
});

/** Another agent begins anew. */
export function courseOf(id: string): ReadonlySignal<readonly CoursePoint[]> {
  if (followed !== id) {
    followed = id;
    lastAt = 0;
    course.value = [];
  }
  return course;
}
