import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';

/** Milliseconds, with fractions. */
export function durationMs(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}

/** Milliseconds since the Unix epoch. */
export function timestampMs(timestamp: Timestamp): number {
  return Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6;
}

/** `420µs`, `1.2ms`, `80ms`, `4.1s`, `4m12s`, `3h05m`, `12d4h`. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '?';
  if (ms < 0) return `-${formatMs(-ms)}`;
  if (ms === 0) return '0s';
  if (ms < 0.9995) return `${Math.round(ms * 1000)}µs`;
  if (ms < 9.95) return `${ms.toFixed(1)}ms`;
  if (ms < 999.5) return `${Math.round(ms)}ms`;
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)}s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds}s`;
  const two = (value: number) => String(value).padStart(2, '0');
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)}h${two(minutes % 60)}m`;
  return `${Math.floor(minutes / 1_440)}d${Math.floor((minutes % 1_440) / 60)}h`;
}

/** A duration that may be absent. */
export function formatDuration(duration: Duration | undefined): string {
  return duration === undefined ? '–' : formatMs(durationMs(duration));
}

/** Local date and time of day: `2026-08-03 14:03:22`. */
export function formatTime(timestamp: Timestamp | undefined): string {
  if (timestamp === undefined) return '–';
  const date = new Date(timestampMs(timestamp));
  if (Number.isNaN(date.getTime())) return '?';
  const two = (value: number) => String(value).padStart(2, '0');
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${formatClock(date)}`;
}

/** Local time of day: `14:03:22`. */
export function formatClock(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

/** How long `past` lies before `nowMs`, in words; the server's clock may run a little ahead of the reader's. */
export function formatAgo(past: Timestamp | undefined, nowMs: number): string {
  if (past === undefined) return '–';
  return `${formatMs(Math.max(0, nowMs - timestampMs(past)))} ago`;
}
