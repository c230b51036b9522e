import type { MetricCondition } from './rule.ts';

/** Where an alert stands, as far as its figure is concerned. */
export interface Standing {
  fired: boolean;
  /** Since the condition began to hold, milliseconds. */
  heldMs: number;
  /** Since it has been clear; undefined: it is not. */
  clearMs: number | undefined;
  noData: boolean;
  /** Since there was something to compare last. */
  gapMs: number;
  flapping: boolean;
  /** It began because there was nothing to compare, not because something was crossed. */
  byNoData: boolean;
}

/** What becomes of it. */
export interface Next {
  /** "none": there is no alert, or a pending one is dropped. */
  state: 'none' | 'pending' | 'firing' | 'resolved';
  noData: boolean;
  isClear: boolean;
  /** A pending one begins anew. */
  restarts: boolean;
}

/** A pending alert goes on after a gap without data of so long at most, or of as long as its `for`. */
export const SHORT_GAP_MS = 60_000;
/** What flaps must have been clear for so many times `clear_for`, and for so long at least. */
export const FLAPPING_TIMES = 5;
export const FLAPPING_MIN_MS = 5 * 60_000;

type Judged = Pick<MetricCondition, 'below' | 'threshold' | 'clear' | 'forMs' | 'clearForMs' | 'noData'>;

/** How long it must have been clear before it is resolved. */
export const clearForMs = ({ clearForMs: wanted }: Pick<Judged, 'clearForMs'>, flapping: boolean): number =>
  flapping ? Math.max(FLAPPING_TIMES * wanted, FLAPPING_MIN_MS) : wanted;

/** Whether it is past the threshold at which it fires. */
export const isCrossed = (
  { below, threshold }: Pick<Judged, 'below' | 'threshold'>,
  value: number | undefined,
): boolean => value !== undefined && (below ? value < threshold : value > threshold);

/** @param standing undefined: there is no alert. @param value undefined: there is nothing to compare */
export function judge(standing: Standing | undefined, value: number | undefined, rule: Judged): Next {
  const known = value !== undefined && !Number.isNaN(value);
  const crossed = isCrossed(rule, value);
  if (standing === undefined) {
    const begins = crossed || (!known && rule.noData === 'fire');
    return next(begins ? (rule.forMs <= 0 ? 'firing' : 'pending') : 'none', { noData: begins && !known });
  }
  if (!standing.fired) return judgePending(standing, known, crossed, rule);
  if (!known) return next('firing', { noData: true });
  const isClear = standing.byNoData ? !crossed : rule.below ? value >= rule.clear : value <= rule.clear;
  if (!isClear) return next('firing');
  const done = (standing.clearMs ?? 0) >= clearForMs(rule, standing.flapping);
  return next(done ? 'resolved' : 'firing', { isClear: true });
}

function judgePending(standing: Standing, known: boolean, crossed: boolean, rule: Judged): Next {
  const due = standing.heldMs >= rule.forMs;
  if (!known) return next(rule.noData === 'fire' && due ? 'firing' : 'pending', { noData: true });
  if (!crossed) return next('none');
  const restarts =
    standing.noData && rule.noData === 'keep' && standing.gapMs > Math.max(rule.forMs, SHORT_GAP_MS);
  return next(due && !restarts ? 'firing' : 'pending', { restarts });
}

const next = (state: Next['state'], given: Partial<Next> = {}): Next => ({
  state,
  noData: false,
  isClear: false,
  restarts: false,
  ...given,
});
