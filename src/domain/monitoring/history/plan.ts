import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { HistoryConfig } from '../../../config/monitoring-config.ts';
import { SPAN_MS, STEP_MS, type Tier } from './chunks.ts';

/** A stretch of time, and the tier from which it is read. */
export interface Segment {
  tier: Tier;
  fromMs: number;
  toMs: number;
}

export interface Plan {
  stepMs: number;
  resolutionMs: number;
  segments: readonly Segment[];
  /** Chunks of one subject, if one writer wrote them. */
  chunks: number;
  /** Points of one series. */
  points: number;
}

export interface PlanInput {
  scope: MetricScope;
  fromMs: number;
  toMs: number;
  /** As asked for; undefined: such that there are about POINTS. */
  stepMs: number | undefined;
  nowMs: number;
  config: HistoryConfig;
}

const POINTS = 300;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** From such a range on, steps of hours are read from hours: of less there are minutes enough. */
const LONG_MS = 3 * DAY_MS;
/** Hours are rolled up some minutes after they are over. */
const ROLLED_MS = HOUR_MS + 10 * 60_000;

/** Steps that people like, milliseconds. */
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR_MS),
  ...[1, 2, 7].map((days) => days * DAY_MS),
];

/** Which tiers a range is read from: the finest that still has all of it, and no finer than the steps need. Pure. */
export function planOf(input: PlanInput): Plan {
  const { scope, fromMs, toMs, nowMs, config } = input;
  const wantedMs = input.stepMs ?? niceStep((toMs - fromMs) / POINTS);
  if (scope === MetricScope.AGENT) return plan(input, wantedMs, [{ tier: 'minutes', fromMs, toMs }]);
  const isRaw = fromMs >= nowMs - config.rawMs && wantedMs < STEP_MS.minutes;
  if (isRaw) return plan(input, wantedMs, [{ tier: 'raw', fromMs, toMs }]);
  const minutesFromMs = nowMs - config.minutesMs;
  const isOld = fromMs < minutesFromMs;
  if (!isOld && !(wantedMs >= HOUR_MS && toMs - fromMs > LONG_MS)) {
    return plan(input, wantedMs, [{ tier: 'minutes', fromMs, toMs }]);
  }
  const stepMs = Math.max(wantedMs, HOUR_MS);
  const splitMs = Math.min(toMs, Math.max(fromMs, Math.floor((nowMs - ROLLED_MS) / HOUR_MS) * HOUR_MS));
  return plan(input, stepMs, [
    { tier: 'hours', fromMs: Math.floor(fromMs / HOUR_MS) * HOUR_MS, toMs: splitMs },
    { tier: 'minutes', fromMs: splitMs, toMs },
  ]);
}

function plan(input: PlanInput, wantedMs: number, parts: readonly Segment[]): Plan {
  const segments = parts.filter((part) => part.fromMs < part.toMs);
  const resolutionMs = Math.max(...segments.map(({ tier }) => stepOf(tier, input.config)));
  const stepMs = Math.max(1, Math.ceil(wantedMs / resolutionMs)) * resolutionMs;
  const chunks = segments.reduce(
    (sum, { tier, fromMs, toMs }) => sum + Math.ceil((toMs - fromMs) / SPAN_MS[tier]) + 1,
    0,
  );
  const points = Math.ceil((input.toMs - input.fromMs) / stepMs) + 1;
  return { stepMs, resolutionMs, segments, chunks, points };
}

const stepOf = (tier: Tier, config: HistoryConfig): number =>
  tier === 'raw' ? config.sampleIntervalMs : STEP_MS[tier];

/** The next step that people like which is not shorter. */
export function niceStep(ms: number): number {
  return STEPS.find((step) => step >= ms) ?? Math.ceil(ms / DAY_MS) * DAY_MS;
}
