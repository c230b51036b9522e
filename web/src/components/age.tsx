import { millis, moment, span, wholeMoment } from '../lib/format.ts';
import { now, replicaNow } from '../store/link.ts';

/** Older than this a reading is marked. */
const OLD_MS = 30_000;

/** How old a reading is; it goes on counting when nothing comes any more. `at` is by `steadyNow`. */
export function Age({ at, oldMs = OLD_MS }: { at: number | undefined; oldMs?: number }) {
  if (at === undefined) return <span class="age">–</span>;
  const age = Math.max(0, now.value - at);
  return (
    <span
      class={age > oldMs ? 'age old' : 'age'}
      title={age > oldMs ? 'this reading is old' : 'age of this reading'}
    >
      {age < 1_500 ? 'now' : span(age)}
    </span>
  );
}

/** How long ago a point in time is, by the replica's clock. */
export function Ago({ ms }: { ms: number | undefined }) {
  if (ms === undefined) return <span class="age">–</span>;
  const age = Math.max(0, replicaNow.value - ms);
  return (
    <time class="age" dateTime={new Date(ms).toISOString()} title={wholeMoment(ms)}>
      {age < 1_500 ? 'just now' : `${span(age)} ago`}
    </time>
  );
}

/** How long from now a point in time is. */
export function Until({ ms }: { ms: number | undefined }) {
  if (ms === undefined) return <span class="age">–</span>;
  const left = ms - replicaNow.value;
  return (
    <time class="age" dateTime={new Date(ms).toISOString()} title={wholeMoment(ms)}>
      {left <= 0 ? 'now' : `in ${left < 10_000 ? millis(left) : span(left)}`}
    </time>
  );
}

/** A point in time: the time of day, or with its date. */
export function Moment({ ms }: { ms: number | undefined }) {
  if (ms === undefined) return <span class="age">–</span>;
  return (
    <time class="moment" dateTime={new Date(ms).toISOString()} title={wholeMoment(ms)}>
      {moment(ms, replicaNow.value)}
    </time>
  );
}
