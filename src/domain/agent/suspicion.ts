import type { RoundTrips } from './round-trips.ts';
import { Silences } from './silences.ts';

/**
 * Suspicion of a silent agent, after the phi-accrual failure detector (Hayashibara et al., 2004), over silences instead
 * of arrival intervals: phi is minus the base-10 logarithm of the chance that an agent which is alive leaves the oldest
 * unanswered ping unanswered for as long as it has been. docs/health.md has the formula and its reasons.
 *
 * Probes are never counted as independent of each other: an agent that stands still for two seconds answers none.
 */
const MIN_DEVIATION_MS = 100;
/** Each unanswered ping can make phi so high, no higher: one lost answer proves nothing, however long ago. */
const PHI_PER_PROBE = 2;
/** A silence this much longer than one that was seen before is no surprise either. */
const MARGIN = 1.5;
/** Round trips that what the whole fleet has shown counts for in the judgement of one agent. */
const FLEET_WEIGHT = 100;
/**
 * Round trips that a session remembers. Whatever the rate p at which an agent stalls: it is wronged when it stalls
 * without having done so within the memory n, p·(1-p)^n ≤ 1/(e·n) of its round trips, 1 in 100,000 for n = 37,000.
 */
const OWN_MEMORY = 37_000;
const FLEET_MEMORY = 1_000_000;
/** Longer silences, as a share of the lease, are outages that excuse nothing: SUSPECT has to come before LOST. */
const LONGEST_OF_LEASE = 1 / 3;

/** The shortest and the usual longest wait before an answer counts as late and the agent is probed again. */
const LATE_MIN_MS = 300;
const LATE_MAX_MS = 500;
/** The same before the first round trip (RFC 6298, 2.1): a slow link is not to begin with a suspicion. */
const LATE_FIRST_MS = 1000;

export const ownSilences = (): Silences => new Silences({ memory: OWN_MEMORY });
export const fleetSilences = (): Silences => new Silences({ memory: FLEET_MEMORY });

/** Whether a silence that an answer ended counts as one of those which an agent that lives may make. */
export const excuses = (silenceMs: number, leaseMs: number): boolean =>
  silenceMs <= leaseMs * LONGEST_OF_LEASE;

/** How long an answer may take before it counts as late: RFC 6298's time-out, kept between sensible bounds. */
export function lateAfterMs(delays: RoundTrips): number {
  if (delays.count === 0) return LATE_FIRST_MS;
  const timeout = delays.smoothedMs + 4 * delays.variationMs;
  return Math.max(LATE_MIN_MS, Math.min(timeout, Math.max(LATE_MAX_MS, 2 * delays.smoothedMs)));
}

/** What is known of an agent that does not answer. */
export interface Waiting {
  /** How long the oldest unanswered ping has waited, without the time in which no answer could be heard. */
  waitedMs: number;
  /** Unanswered pings. */
  probes: number;
}

/** Phi, from the last answer delays of the session and the silences of the session and of the fleet. */
export function phiOf(delays: RoundTrips, own: Silences, fleet: Silences, waiting: Waiting): number {
  const { waitedMs, probes } = waiting;
  if (waitedMs <= 0 || probes === 0) return 0;
  const { mean, deviation } = delays.moments();
  const usual = normalTail((waitedMs - mean) / Math.max(deviation, MIN_DEVIATION_MS));
  const chance = Math.max(usual, stallTail(own, fleet, waitedMs / MARGIN));
  return Math.min(PHI_PER_PROBE * probes, -Math.log10(Math.min(1, chance)));
}

/** Why an agent is SUSPECT, for people. */
export function suspectDetail(phi: number, limit: number, waiting: Waiting, own: Silences): string {
  const { probes, waitedMs } = waiting;
  const longest = own.longestMs();
  const before = longest === 0 ? 'was quick' : `took at most about ${Math.round(longest)} ms`;
  return (
    `${probes} probes unanswered, the oldest for ${Math.round(waitedMs)} ms, phi ${phi.toFixed(1)} of ${limit}; ` +
    `each of ${own.total} answers before ${before}`
  );
}

/** The share of round trips with so long a silence: the agent's own, with the fleet's as a prior. */
function stallTail(own: Silences, fleet: Silences, silenceMs: number): number {
  const share = fleet.total === 0 ? 0 : fleet.atLeast(silenceMs) / fleet.total;
  return (own.atLeast(silenceMs) + FLEET_WEIGHT * share) / (own.total + FLEET_WEIGHT);
}

/** P(Z > z), by the logistic approximation that Akka's detector uses too (error below 1.5e-4 near the centre). */
function normalTail(z: number): number {
  const e = Math.exp(-z * (1.5976 + 0.070566 * z * z));
  return z > 0 ? e / (1 + e) : 1 - 1 / (1 + e);
}
