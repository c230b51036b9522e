import { ServiceStatus_State as State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { type Availability, counted, NO_PROBES } from './availability.ts';
import type { ProbeOutcome, ServiceConfig } from './ports.ts';

/** How a service was, from one probe alone. */
export type Finding = typeof State.OK | typeof State.SLOW | typeof State.DOWN;
type Known = typeof State.UNSPECIFIED | Finding;

/** What is known of a service. Times are the store's, milliseconds. */
export interface Judged {
  state: Known;
  /** Since when it is in that state. */
  sinceMs: number;
  /** Findings of one kind in a row. */
  streak: number;
  finding: Known;
  /** Failed probes in a row. */
  failures: number;
  probeMs: number;
  /** Of the last answer. */
  latencyMs: number | undefined;
  /** Why the last probe did not find it OK; empty: it did. */
  detail: string;
  availability: Availability;
}

export const NEVER_ASKED: Judged = {
  state: State.UNSPECIFIED,
  sinceMs: 0,
  streak: 0,
  finding: State.UNSPECIFIED,
  failures: 0,
  probeMs: 0,
  latencyMs: undefined,
  detail: '',
  availability: NO_PROBES,
};

type Limits = Pick<ServiceConfig, 'failures' | 'slowMs'>;

/**
 * What follows from a probe. DOWN takes `failures` in a row; every other change takes two findings in a row, or one where
 * `failures` is 1, so that one slow or lucky answer changes nothing. The first answer of all counts at once.
 */
export function judge(before: Judged, outcome: ProbeOutcome, limits: Limits, nowMs: number): Judged {
  const finding = findingOf(outcome, limits.slowMs);
  const streak = finding === before.finding ? before.streak + 1 : 1;
  // An answer that is slow is an answer: between OK and SLOW a service that was down is back all the same.
  const back = before.state === State.DOWN && finding !== State.DOWN;
  const answers = back && before.finding !== State.DOWN ? Math.max(streak, 2) : streak;
  const state = answers >= needed(before.state, finding, limits.failures) ? finding : before.state;
  return {
    state,
    sinceMs: state === before.state ? before.sinceMs : nowMs,
    streak,
    finding,
    failures: outcome.ok ? 0 : before.failures + 1,
    probeMs: nowMs,
    latencyMs: outcome.ok ? outcome.latencyMs : before.latencyMs,
    detail: detailOf(outcome, limits.slowMs, state === State.DOWN),
    availability: counted(before.availability, nowMs, outcome.ok),
  };
}

function findingOf(outcome: ProbeOutcome, slowMs: number): Finding {
  if (!outcome.ok) return State.DOWN;
  return outcome.latencyMs > slowMs ? State.SLOW : State.OK;
}

function needed(state: Judged['state'], finding: Finding, failures: number): number {
  if (finding === State.DOWN) return failures;
  return state === State.UNSPECIFIED ? 1 : Math.min(2, failures);
}

function detailOf(outcome: ProbeOutcome, slowMs: number, isDown: boolean): string {
  if (!outcome.ok) return outcome.detail;
  if (isDown) return 'has answered again, once so far';
  if (outcome.latencyMs <= slowMs) return '';
  return `took ${Math.round(outcome.latencyMs)} ms to answer, more than ${slowMs} ms`;
}

/** Nobody asked for so many intervals: nothing is known. */
const STALE_INTERVALS = 3;

/** Whether what is known is too old to go by. */
export function isStale(
  { state, probeMs }: Pick<Judged, 'state' | 'probeMs'>,
  { intervalMs, timeoutMs }: Pick<ServiceConfig, 'intervalMs' | 'timeoutMs'>,
  nowMs: number,
): boolean {
  return state !== State.UNSPECIFIED && nowMs - probeMs > STALE_INTERVALS * intervalMs + timeoutMs;
}
