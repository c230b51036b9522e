import type { ResourceWatchRecord_UsageMark } from '../../../../gen/mycosoft/orchestrator/store/v1/watch_pb.ts';
import { usageMark } from './watch-marks.ts';

export interface UsageThresholds {
  /** Above so many times of what is reserved. */
  high: number;
  /** Below such a share of it; 0: never. */
  low: number;
}

export interface UsageReading {
  used: number;
  /** Above 0. */
  reserved: number;
  storeMs: number;
}

/** Between two events of a kind, for one resource of one agent. */
export const QUIET_MS = 300_000;

export interface UsageDecision {
  /** Undefined: nothing is remembered any more. */
  mark: ResourceWatchRecord_UsageMark | undefined;
  tell: 'above' | 'below' | undefined;
}

/**
 * Whether a reading is told of. Once told, it is over only when the ratio is back half the way to what is reserved (above), or
 * at twice the share (below); and it is told again only after five minutes. Pure.
 */
export function judgeUsage(
  before: ResourceWatchRecord_UsageMark | undefined,
  { used, reserved, storeMs }: UsageReading,
  { high, low }: UsageThresholds,
): UsageDecision {
  const ratio = used / reserved;
  const mark = usageMark(before);
  let tell: UsageDecision['tell'];
  if (mark.above) mark.above = ratio > 1 + (high - 1) / 2;
  else if (ratio > high && isQuiet(mark.aboveToldMs, storeMs)) {
    mark.above = true;
    mark.aboveToldMs = BigInt(Math.round(storeMs));
    tell = 'above';
  }
  if (mark.below) mark.below = ratio < 2 * low;
  else if (ratio < low && isQuiet(mark.belowToldMs, storeMs)) {
    mark.below = true;
    mark.belowToldMs = BigInt(Math.round(storeMs));
    tell = 'below';
  }
  return { mark: isPast(mark, storeMs) ? undefined : mark, tell };
}

const isQuiet = (toldMs: bigint, storeMs: number): boolean =>
  toldMs === 0n || storeMs - Number(toldMs) >= QUIET_MS;

/** Nothing of it matters any more. */
export const isPast = (mark: ResourceWatchRecord_UsageMark, storeMs: number): boolean =>
  !mark.above && !mark.below && isQuiet(mark.aboveToldMs, storeMs) && isQuiet(mark.belowToldMs, storeMs);
