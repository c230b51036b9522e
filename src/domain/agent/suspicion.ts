import type { RoundTrips } from './round-trips.ts';

/**
 * Suspicion of a silent agent, after the phi-accrual failure detector (Hayashibara et al., 2004), over answer delays
 * instead of arrival intervals: phi is minus the base-10 logarithm of the chance that an agent which is alive leaves
 * all the outstanding probes unanswered for as long as they have been.
 *
 * One probe that waits for `e` has the chance max(G, E): G is the tail of a normal distribution with the mean and
 * deviation (at least MIN_DEVIATION_MS) of the last 128 answer delays, E the share of those delays that were longer
 * than `e`, with a prior of PRIOR_SAMPLES well-behaved ones. The maximum keeps links with rare long spikes from being
 * taken for normally distributed. Probes count as independent, so their phis add up.
 */
const MIN_DEVIATION_MS = 100;
const PRIOR_SAMPLES = 64;
const MAX_PHI = 99;

/** The shortest and the usual longest wait before an answer counts as late and the agent is probed again. */
const LATE_MIN_MS = 300;
const LATE_MAX_MS = 500;
/** The same before the first round trip (RFC 6298, 2.1): a slow link is not to begin with a suspicion. */
const LATE_FIRST_MS = 1000;

/** How long an answer may take before it counts as late: RFC 6298's time-out, kept between sensible bounds. */
export function lateAfterMs(delays: RoundTrips): number {
  if (delays.count === 0) return LATE_FIRST_MS;
  const timeout = delays.smoothedMs + 4 * delays.variationMs;
  return Math.max(LATE_MIN_MS, Math.min(timeout, Math.max(LATE_MAX_MS, 2 * delays.smoothedMs)));
}

/** Phi of one probe that has been waiting for `elapsedMs`. */
export function phiOfProbe(delays: RoundTrips, elapsedMs: number): number {
  if (elapsedMs <= 0) return 0;
  const { mean, deviation, exceeding } = delays.moments(elapsedMs);
  const normal = normalTail((elapsedMs - mean) / Math.max(deviation, MIN_DEVIATION_MS));
  const empirical = (exceeding + 0.5) / (delays.count + PRIOR_SAMPLES);
  return Math.min(MAX_PHI, -Math.log10(Math.min(1, Math.max(normal, empirical))));
}

/** Phi of all outstanding probes, given how long each has been waiting. */
export function phiOf(delays: RoundTrips, elapsedMs: readonly number[]): number {
  let phi = 0;
  for (const elapsed of elapsedMs) phi += phiOfProbe(delays, elapsed);
  return Math.min(MAX_PHI, phi);
}

/** P(Z > z), by the logistic approximation that Akka's detector uses too (error below 1.5e-4 near the centre). */
function normalTail(z: number): number {
  const e = Math.exp(-z * (1.5976 + 0.070566 * z * z));
  return z > 0 ? e / (1 + e) : 1 - 1 / (1 + e);
}
