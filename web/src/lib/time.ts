import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';

type Parts<T extends Timestamp | Duration> = Pick<T, 'seconds' | 'nanos'>;

/** Milliseconds since the Unix epoch. */
export function timeMs(time: Parts<Timestamp> | undefined): number | undefined {
  return time === undefined ? undefined : Number(time.seconds) * 1_000 + time.nanos / 1e6;
}

export function durationMs(duration: Parts<Duration> | undefined): number | undefined {
  return duration === undefined ? undefined : Number(duration.seconds) * 1_000 + duration.nanos / 1e6;
}

/** A point in time as a request carries it. */
export function toTime(ms: number): { seconds: bigint; nanos: number } {
  const seconds = Math.floor(ms / 1_000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1_000) * 1e6) };
}

/** A duration of 0 or more as a request carries it. */
export const toDuration = (ms: number): { seconds: bigint; nanos: number } => toTime(ms);
