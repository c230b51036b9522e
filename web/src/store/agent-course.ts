// The latest readings of the agent that is looked at, so that its charts move with the stream.
import { effect, type ReadonlySignal, signal } from '@preact/signals';
import { offsetMs } from './link.ts';
import { agents } from './live.ts';

export interface CoursePoint {
  /** Seconds since the Unix epoch, by the replica's clock. */
  time: number;
  p50: number | undefined;
  p95: number | undefined;
  health: number;
  load: number | undefined;
}

/** A quarter of an hour at a reading a second. */
const MOST = 900;

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
  course.value = [...course.peek().slice(1 - MOST), { time, p50: rttP50, p95: rttP95, health, load }];
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
