import type {
  TaskRecord,
  TaskRecord_LiveAttempt,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration, msFromTimestamp } from '../../../lib/proto-time.ts';
import { attemptOf } from './task-draft.ts';
import { isOver, isPresent, specOf, taskOf } from './task-record.ts';

/** Whether the scheduler is to give it an attempt. Pure. */
export function wantsAttempt(record: TaskRecord): boolean {
  const task = taskOf(record);
  if (isOver(task.state) || record.live.some(isPresent)) return false;
  return record.live.every(({ lostUntilMs }) => lostUntilMs === 0n);
}

/** When something is due about it that nobody else tells, by the store's clock; undefined: never. Pure. */
export function nextDueMs(record: TaskRecord, offerMs: number): number | undefined {
  const task = taskOf(record);
  if (isOver(task.state)) return undefined;
  const deadlineMs = task.deadlineTime === undefined ? NEVER : msFromTimestamp(task.deadlineTime);
  const due = record.live.reduce(
    (soonest, live) => Math.min(soonest, attemptDueMs(record, live, offerMs)),
    deadlineMs,
  );
  return due === NEVER ? undefined : due;
}

/** The same of one attempt; infinite: never. Pure. */
export function attemptDueMs(record: TaskRecord, live: TaskRecord_LiveAttempt, offerMs: number): number {
  const { attemptTimeout, acceptWithin } = specOf(record);
  const attempt = attemptOf(record, live.number);
  const lostMs = live.lostUntilMs > 0n ? Number(live.lostUntilMs) : NEVER;
  if (attempt === undefined) return lostMs;
  if (attempt.acceptTime !== undefined) {
    const limitMs = attemptTimeout === undefined ? NEVER : msFromDuration(attemptTimeout);
    return Math.min(lostMs, msFromTimestamp(attempt.acceptTime) + limitMs);
  }
  if (attempt.assignTime === undefined) return lostMs;
  const withinMs = acceptWithin === undefined ? offerMs : msFromDuration(acceptWithin);
  return Math.min(lostMs, msFromTimestamp(attempt.assignTime) + 2 * withinMs + OFFER_GRACE_MS);
}

const NEVER = Number.POSITIVE_INFINITY;
/** An offer is followed by the session's own replica; where there is none, the scheduler takes it back after this. */
const OFFER_GRACE_MS = 2000;
