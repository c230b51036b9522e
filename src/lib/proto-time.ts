import { create } from '@bufbuild/protobuf';
import { type Duration, DurationSchema, type Timestamp, TimestampSchema } from '@bufbuild/protobuf/wkt';

/** Milliseconds (with fractions) to a protobuf Duration. */
export function durationFromMs(ms: number): Duration {
  const nanos = Math.round(ms * 1e6);
  const duration = create(DurationSchema);
  duration.seconds = BigInt(Math.trunc(nanos / 1e9));
  duration.nanos = Math.trunc(nanos % 1e9);
  return duration;
}

/** A protobuf Duration to milliseconds with fractions. */
export function msFromDuration(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** Wall-clock milliseconds (with fractions) to a protobuf Timestamp. */
export function timestampFromMs(ms: number): Timestamp {
  const whole = Math.floor(ms / 1000);
  const timestamp = create(TimestampSchema);
  timestamp.seconds = BigInt(whole);
  timestamp.nanos = Math.min(999_999_999, Math.round((ms - whole * 1000) * 1e6));
  return timestamp;
}

/** A protobuf Timestamp to wall-clock milliseconds with fractions. */
export function msFromTimestamp(timestamp: Timestamp): number {
  return Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6;
}
