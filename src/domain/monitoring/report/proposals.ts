import {
  PendingReason,
  PendingReasonSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type {
  GetUsageResponse,
  RebalancePlan,
  ResourceUsage,
  WaitingCount,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { MeasuredFigure } from './report-figures.ts';

export interface ProposalInput {
  usage: GetUsageResponse;
  /** Undefined: moves were not looked for. */
  plan: RebalancePlan | undefined;
  figures: readonly MeasuredFigure[];
  /** Above it a resource is nearly used up. */
  highUsage: number;
  /** How long the window is. */
  windowMs: number;
  nowMs: number;
}

/** Less than this share of what is reserved is used: less would do. */
const WASTED = 0.5;
/** Never more than this share of a resource was used: fewer agents would do. */
const IDLE = 0.2;
/** What is idle shows only in the measurements of an hour at least, and of this share of the window. */
const IDLE_MS = 3_600_000;
const IDLE_SHARE = 1 / 6;
/** Less is said to be 0 %. */
const TAKEN = 0.005;
/** Waiting for so long is worth a word. */
const WAITING_MS = 60_000;

/** What would help, a sentence each: the weightiest first. */
export function proposalsOf(input: ProposalInput): string[] {
  const { usage, plan, nowMs } = input;
  return [
    ...usage.waiting.flatMap((waiting) => ofWaiting(waiting, nowMs)),
    ...usage.total.flatMap((resource) => ofResource(resource, input)),
    ...(plan === undefined || plan.moves.length === 0 ? [] : [ofMoves(plan)]),
  ];
}

function ofMoves({ moves, summary, notMovable }: RebalancePlan): string {
  const gain = moves.reduce((sum, move) => sum + move.gain, 0);
  const fixed = notMovable === 0 ? '' : `; ${count(notMovable, 'more task')} would have to be movable`;
  const what = summary.replace(/[.\s]+$/, '');
  return `${count(moves.length, 'move')} would free ${percent(gain)} of an agent where it is wanted: ${what}${fixed}`;
}

/** What the reason for waiting calls for; reasons that pass by themselves call for nothing. */
const REMEDIES: Readonly<Record<number, string>> = {
  [PendingReason.NO_CAPABILITY]: 'no agent has their capability: add one that does',
  [PendingReason.CONSTRAINTS]: 'their constraints exclude every agent: loosen them, or label agents',
  [PendingReason.TOO_LARGE]:
    'no agent is large enough even when it is empty: split them, or add a larger agent',
  [PendingReason.AGENTS_AWAY]: 'the agents that could do them are away: bring them back or resume them',
  [PendingReason.NO_ROOM]: 'the agents that could do them are full: add agents',
  [PendingReason.QUOTA]: 'a quota is used up: raise it, or wait for their turn',
  [PendingReason.BUDGET]: 'a budget is spent: raise it, or wait for its next period',
  [PendingReason.DECLINED]: 'all agents that could do them declined: ask why',
};

function ofWaiting({ reason, tasks, oldestTime }: WaitingCount, nowMs: number): string[] {
  const remedy = REMEDIES[reason];
  const sinceMs = oldestTime === undefined ? 0 : nowMs - msFromTimestamp(oldestTime);
  if (remedy === undefined || sinceMs < WAITING_MS) return [];
  const name = PendingReasonSchema.value[reason]?.localName ?? String(reason);
  const verb = tasks === 1 ? 'waits' : 'wait';
  return [`${count(tasks, 'task')} ${verb}, the oldest for ${time(sinceMs)} (${name}): ${remedy}`];
}

function ofResource(total: ResourceUsage, { figures, highUsage, windowMs }: ProposalInput): string[] {
  const { resource, capacity, reserved, used, excess, usedAgents } = total;
  const proposals: string[] = [];
  const { figure: measured, measuredMs = 0 } =
    figures.find((each) => each.metric === 'resource_usage' && each.resource === resource) ?? {};
  if (excess > 0n) {
    proposals.push(`${resource}: ${excess} more is reserved than there is: move work away, or add agents`);
  }
  if (measured?.max !== undefined && measured.max > highUsage) {
    proposals.push(
      `${resource}: up to ${percent(measured.max)} were taken, above ${percent(highUsage)}: add agents that have it, or lower quotas`,
    );
  } else if (
    measured?.max !== undefined &&
    measured.max < IDLE &&
    // What nobody ever takes is not what the fleet was made for.
    measured.max >= TAKEN &&
    capacity > 0n &&
    measuredMs >= Math.max(IDLE_MS, windowMs * IDLE_SHARE)
  ) {
    proposals.push(`${resource}: never more than ${percent(measured.max)} were taken: fewer agents would do`);
  }
  if (used === undefined || usedAgents === 0 || reserved === 0n) return proposals;
  const ratio = Number(used) / Number(reserved);
  if (ratio < WASTED) {
    proposals.push(
      `${resource}: only ${percent(ratio)} of what is reserved are used: reserving ${reserved - used} less would make room`,
    );
  } else if (ratio > 1) {
    proposals.push(`${resource}: ${percent(ratio)} of what is reserved are used: reservations are too small`);
  }
  return proposals;
}

const percent = (ratio: number): string => `${Math.round(ratio * 100)} %`;
const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`;

function time(ms: number): string {
  const minutes = Math.round(ms / 60_000);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} days`;
}
