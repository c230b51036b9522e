// How values go on after the history that was asked for once: from what the stream brings.

export interface CoursePoint {
  /** Seconds since the Unix epoch, by the replica's clock. */
  time: number;
  p50: number | undefined;
  p95: number | undefined;
  health: number;
  load: number | undefined;
}

/** A quarter of an hour at a reading a second; what is older has a point a minute, for three days. */
const FINE = 900;
const MOST = FINE + 3 * 1_440;
const MINUTE_S = 60;

/** The course with one more point; when it grows, the seconds of its oldest minutes become one point each. */
export function withPoint(course: readonly CoursePoint[], point: CoursePoint): readonly CoursePoint[] {
  const next = [...course, point];
  const first = next.findIndex(
    ({ time }, index) => index > 0 && minuteOf(time) === minuteOf(next[index - 1]?.time ?? 0),
  );
  if (first === -1 || next.length - first < FINE) return next.slice(-MOST);
  const minute = minuteOf(next[first]?.time ?? 0);
  const from = first - 1;
  let end = first;
  while (end < next.length && minuteOf(next[end]?.time ?? 0) === minute) end += 1;
  next.splice(from, end - from, together(next.slice(from, end)));
  return next.slice(-MOST);
}

const minuteOf = (seconds: number): number => Math.floor(seconds / MINUTE_S);

/** As history has them: the mean, of round trips at the 95th percentile the greatest, the least health. */
function together(points: readonly CoursePoint[]): CoursePoint {
  const p95 = points.flatMap((point) => point.p95 ?? []);
  return {
    time: points[0]?.time ?? 0,
    p50: mean(points.flatMap((point) => point.p50 ?? [])),
    p95: p95.length === 0 ? undefined : Math.max(...p95),
    health: Math.min(...points.map(({ health }) => health)),
    load: mean(points.flatMap((point) => point.load ?? [])),
  };
}

const mean = (values: readonly number[]): number | undefined =>
  values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0) / values.length;

/** Readings of the stream by minutes, for the last hour. */
export class Minutes {
  readonly #cells = new Map<number, { sum: number; count: number; max: number }>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  add(ms: number, value: number): void {
    const minute = Math.floor(ms / 60_000);
    const { sum = 0, count = 0, max = value } = this.#cells.get(minute) ?? {};
    this.#cells.set(minute, { sum: sum + value, count: count + 1, max: Math.max(max, value) });
    const [oldest] = this.#cells.keys();
    if (this.#cells.size > this.#most && oldest !== undefined) this.#cells.delete(oldest);
  }

  clear(): void {
    this.#cells.clear();
  }

  /** The last minutes up to the newest that is known; history goes before what was read. */
  course(
    history: readonly { ms: number; value: number | undefined }[],
    by: 'mean' | 'max',
  ): (number | undefined)[] {
    const known = new Map<number, number | undefined>();
    for (const [minute, { sum, count, max }] of this.#cells)
      known.set(minute, by === 'max' ? max : sum / count);
    for (const { ms, value } of history) known.set(Math.floor(ms / 60_000), value);
    const last = Math.max(...known.keys());
    return Array.from({ length: this.#most }, (_, index) => known.get(last - this.#most + 1 + index));
  }
}
