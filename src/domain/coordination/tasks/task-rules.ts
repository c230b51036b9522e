import { create } from '@bufbuild/protobuf';
import {
  type Task,
  Task_State,
  type TaskAttempt,
  TaskAttempt_State,
  TaskAttemptSchema,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  PendingReason,
  PendingSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type TaskRecord,
  type TaskRecord_LiveAttempt,
  TaskRecord_LiveAttemptSchema,
  TaskRecord_RefusalSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import { mailKey } from '../delivery-record.ts';
import {
  copyTask,
  deliveryIdOf,
  hasBudgets,
  isOver,
  isPresent,
  type KnownTask,
  specOf,
  sum,
  taskOf,
} from './task-record.ts';

/** A task that is being changed, and the entries of mailboxes that go with the change. */
export interface Draft {
  record: TaskRecord;
  /** Keys of deliveries that are taken back. */
  withdrawn: string[];
}

export const draftOf = (known: KnownTask): Draft => ({ record: copyTask(known), withdrawn: [] });

/** Attempts that the public record shows. */
const MAX_SHOWN = 8;
const MAX_REFUSALS = 16;
/** What is kept of an error text, characters. */
const SAID = 1024;
const DEFAULT_MIN_BACKOFF_MS = 1000;
const DEFAULT_MAX_BACKOFF_MS = 300_000;
/** The pause after offers that nobody took, doubled with each round. */
const REFUSED_BASE_MS = 1000;
const REFUSED_MAX_MS = 60_000;
/** Nobody set an end to the wait for a lost agent. */
const FOREVER_MS = 2n ** 52n;

export interface Assignment {
  agentId: string;
  agentUid: string;
  resources: Record<string, bigint>;
  /** Why this agent, for people. */
  placement: string;
  storeMs: number;
}

/** Gives the task its next attempt, beside one that it has or alone. @returns the attempt's number */
export function assign({ record }: Draft, how: Assignment): number {
  const task = taskOf(record);
  const { agentId, resources, storeMs } = how;
  const number = task.attemptCount + 1;
  const deliveryId = deliveryIdOf(task.id, number);
  const live = create(TaskRecord_LiveAttemptSchema);
  Object.assign(live, { number, agentId, agentUid: how.agentUid, deliveryId, resources });
  const attempt = create(TaskAttemptSchema);
  attempt.replacement = record.live.length > 0;
  Object.assign(attempt, { number, agentId, deliveryId, resources, placement: how.placement });
  attempt.state = TaskAttempt_State.OFFERED;
  attempt.assignTime = timestampFromMs(storeMs);
  record.live.push(live);
  task.attempts.push(attempt);
  cutAttempts(record);
  task.attemptCount = number;
  stand(record);
  return number;
}

/** Those that have not ended are always among the shown. */
function cutAttempts(record: TaskRecord): void {
  const { attempts } = taskOf(record);
  const live = new Set(record.live.map(({ number }) => number));
  for (let at = 0; at < attempts.length && attempts.length > MAX_SHOWN; ) {
    if (live.has(attempts[at]?.number ?? 0)) at += 1;
    else attempts.splice(at, 1);
  }
}

/** The agent has taken an attempt on. */
export function accept(draft: Draft, number: number, storeMs: number): void {
  const { record } = draft;
  const task = taskOf(record);
  // It was taken for lost, and is not.
  record.live = record.live.map((live) => (live.number === number ? found(live) : live));
  const attempt = changeAttempt(task, number, (change) => {
    if (change.state === TaskAttempt_State.OFFERED) change.acceptTime = timestampFromMs(storeMs);
    change.state = TaskAttempt_State.RUNNING;
    change.error = '';
  });
  task.startTime ??= timestampFromMs(storeMs);
  record.refusedRounds = 0;
  const others = record.live.filter((live) => live.number !== number);
  const { winner } = specOf(record);
  for (const other of others) {
    // A move is over when its target runs; so is a reconciliation in which the replacement wins.
    const moved = record.moveToAgentId !== '' && isPresent(other);
    if (attempt?.replacement === true && (moved || winner === TaskSpec_Winner.REPLACEMENT)) {
      withdraw(draft, other, TaskAttempt_State.WITHDRAWN, 'another attempt took its place', storeMs);
    }
  }
  if (attempt?.replacement === true) clearMove(record);
  else if (record.moveToAgentId !== '' && !specOf(record).movable) {
    // It was to be moved because it had not begun; now it has.
    for (const other of others.filter(isPresent)) {
      withdraw(draft, other, TaskAttempt_State.WITHDRAWN, 'the original has begun', storeMs);
    }
    clearMove(record);
  }
  stand(record);
}

/** An attempt brought the result. */
export function succeed(draft: Draft, number: number, storeMs: number): void {
  endAttempt(draft, number, TaskAttempt_State.SUCCEEDED, '', storeMs);
  taskOf(draft.record).agentId = agentOfAttempt(draft.record, number);
  finish(draft, Task_State.SUCCEEDED, '', storeMs);
}

export interface Failure {
  state: TaskAttempt_State;
  error: string;
  /** Another attempt may succeed. */
  retryable: boolean;
  storeMs: number;
  /** Of tasks that say nothing of it. */
  maxAttempts: number;
}

/** An attempt failed, ran for too long or lost its agent: it is tried again, or the task has failed. */
export function fail(draft: Draft, number: number, failure: Failure): void {
  const { record } = draft;
  const { storeMs } = failure;
  const error = failure.error.slice(0, SAID);
  endAttempt(draft, number, failure.state, error, storeMs);
  const task = taskOf(record);
  task.failures += 1;
  // Another attempt may go on.
  if (record.live.some(isPresent)) {
    clearMove(record);
    stand(record);
    return;
  }
  const { retry } = specOf(record);
  const max = retry?.maxAttempts || failure.maxAttempts;
  if (!failure.retryable || task.failures >= max) {
    const times = failure.retryable && max > 1 ? ` (attempt ${task.failures} of ${max})` : '';
    finish(draft, Task_State.FAILED, `${error}${times}`, storeMs);
    return;
  }
  const minMs = retry?.minBackoff === undefined ? DEFAULT_MIN_BACKOFF_MS : msFromDuration(retry.minBackoff);
  const maxMs = retry?.maxBackoff === undefined ? DEFAULT_MAX_BACKOFF_MS : msFromDuration(retry.maxBackoff);
  const lost = failure.state === TaskAttempt_State.AGENT_LOST;
  const pauseMs = lost ? 0 : spread(Math.min(maxMs, minMs * 2 ** (task.failures - 1)), task.id, number);
  wait(record, {
    reason: pauseMs > 0 ? PendingReason.BACKOFF : PendingReason.NEW,
    detail: `attempt ${number} on ${agentOfAttempt(record, number)} ${endWords(failure.state)}${error === '' ? '' : `: ${error}`}`,
    storeMs,
    notBeforeMs: pauseMs > 0 ? storeMs + pauseMs : undefined,
  });
}

/** An offer was declined or not answered: it goes to others first. */
export function refuse(
  draft: Draft,
  number: number,
  refusal: { state: TaskAttempt_State; error: string; storeMs: number },
): void {
  const { record } = draft;
  const { state, storeMs } = refusal;
  const agentId = agentOfAttempt(record, number);
  endAttempt(draft, number, state, refusal.error.slice(0, SAID), storeMs);
  record.refusedRounds += 1;
  const pauseMs = Math.min(REFUSED_MAX_MS, REFUSED_BASE_MS * 2 ** Math.min(16, record.refusedRounds - 1));
  const untilMs = BigInt(Math.round(storeMs + pauseMs));
  const others = record.refusals.filter((each) => each.agentId !== agentId);
  record.refusals = [create(TaskRecord_RefusalSchema, { agentId, untilMs }), ...others].slice(
    0,
    MAX_REFUSALS,
  );
  if (record.live.some(isPresent)) clearMove(record);
  if (record.live.some(isPresent)) stand(record);
  else {
    const said = refusal.error === '' ? '' : `: ${refusal.error.slice(0, SAID)}`;
    const how = state === TaskAttempt_State.DECLINED ? 'declined' : 'did not answer in time';
    wait(record, { reason: PendingReason.NEW, detail: `${agentId} ${how}${said}`, storeMs });
  }
}

/** The agent of an attempt is lost, has left or is gone: what happens is as the task wants it. */
export function loseAgent(
  draft: Draft,
  number: number,
  loss: { storeMs: number; detail: string; maxAttempts: number; mayReturn: boolean },
): void {
  const { record } = draft;
  const { storeMs } = loss;
  const live = record.live.find((each) => each.number === number);
  if (live === undefined) return;
  const { onLoss, waitForAgent } = specOf(record);
  const begun = hasBegun(record, number);
  // Beside one that is waited for already there is no other to wait for.
  const keeps = loss.mayReturn && begun && record.live.length === 1;
  if (keeps && onLoss === TaskSpec_OnLoss.WAIT) {
    const untilMs =
      waitForAgent === undefined ? FOREVER_MS : BigInt(Math.round(storeMs + msFromDuration(waitForAgent)));
    markLost(record, number, { storeMs, untilMs, detail: loss.detail });
    const until = waitForAgent === undefined ? '' : `, for ${msFromDuration(waitForAgent) / 1000} s at most`;
    wait(record, {
      reason: PendingReason.AGENT_LOST,
      detail: `${loss.detail}; it waits for the agent to come back${until}`,
      storeMs,
    });
    return;
  }
  if (keeps && onLoss === TaskSpec_OnLoss.RECONCILE) {
    markLost(record, number, { storeMs, untilMs: 0n, detail: loss.detail });
    wait(record, {
      reason: PendingReason.NEW,
      detail: `${loss.detail}; another agent begins it`,
      storeMs,
    });
    return;
  }
  const key = mailKey(live.agentId, live.deliveryId);
  draft.withdrawn.push(key);
  if (begun) {
    const { maxAttempts } = loss;
    const state = TaskAttempt_State.AGENT_LOST;
    fail(draft, number, { state, error: loss.detail, retryable: true, storeMs, maxAttempts });
    return;
  }
  // It had not begun: nothing failed.
  endAttempt(draft, number, TaskAttempt_State.AGENT_LOST, loss.detail, storeMs);
  if (record.live.some(isPresent)) {
    clearMove(record);
    stand(record);
  } else wait(record, { reason: PendingReason.NEW, detail: loss.detail, storeMs });
}

/** The agent of a lost attempt is back with it, or back without it. */
export function agentReturned(
  draft: Draft,
  number: number,
  back: { withIt: boolean; storeMs: number; maxAttempts: number },
): void {
  const { record } = draft;
  const { storeMs, maxAttempts } = back;
  const live = record.live.find((each) => each.number === number);
  if (live === undefined || isPresent(live)) return;
  if (!back.withIt) {
    draft.withdrawn.push(mailKey(live.agentId, live.deliveryId));
    const error = `${live.agentId} came back without it`;
    const state = TaskAttempt_State.AGENT_LOST;
    fail(draft, number, { state, error, retryable: true, storeMs, maxAttempts });
    return;
  }
  const others = record.live.filter((each) => each !== live);
  const { winner } = specOf(record);
  const rival = others.find((each) => attemptOf(record, each.number)?.state === TaskAttempt_State.RUNNING);
  if (winner === TaskSpec_Winner.REPLACEMENT && rival !== undefined) {
    withdraw(draft, live, TaskAttempt_State.WITHDRAWN, 'its replacement goes on', storeMs);
  } else {
    record.live = record.live.map((each) => (each === live ? found(each) : each));
    changeAttempt(taskOf(record), number, (change) => {
      change.state = TaskAttempt_State.RUNNING;
      change.error = '';
    });
    if (winner === TaskSpec_Winner.ORIGINAL) {
      for (const other of others)
        withdraw(draft, other, TaskAttempt_State.WITHDRAWN, 'the original goes on', storeMs);
    }
  }
  stand(record);
}

/** Takes an attempt back that has not ended. */
export function withdraw(
  draft: Draft,
  live: TaskRecord_LiveAttempt,
  state: TaskAttempt_State,
  why: string,
  storeMs: number,
): void {
  draft.withdrawn.push(mailKey(live.agentId, live.deliveryId));
  endAttempt(draft, live.number, state, why, storeMs);
}

/** The end of the task, and of every attempt at it. */
export function finish(draft: Draft, state: Task_State, error: string, storeMs: number): void {
  const { record } = draft;
  const task = taskOf(record);
  for (const live of [...record.live]) {
    const timedOut = state === Task_State.TIMED_OUT;
    const ended = timedOut ? TaskAttempt_State.TIMED_OUT : TaskAttempt_State.WITHDRAWN;
    if (task.agentId === '') task.agentId = live.agentId;
    withdraw(draft, live, ended, error, storeMs);
  }
  task.state = state;
  task.error = error.slice(0, SAID);
  task.endTime = timestampFromMs(storeMs);
  delete task.pending;
  delete task.budgetAskedTime;
  clearMove(record);
  record.refusals = [];
  record.settled = !hasBudgets(record);
}

/** It waits, with a reason. */
export function wait(
  record: TaskRecord,
  why: { reason: PendingReason; detail: string; storeMs: number; notBeforeMs?: number | undefined },
): void {
  const task = taskOf(record);
  task.state = Task_State.PENDING;
  task.agentId = '';
  const pending = create(PendingSchema);
  pending.reason = why.reason;
  pending.detail = why.detail;
  pending.sinceTime = timestampFromMs(why.storeMs);
  if (why.notBeforeMs !== undefined) pending.notBeforeTime = timestampFromMs(why.notBeforeMs);
  task.pending = pending;
  clearMove(record);
}

export function clearMove(record: TaskRecord): void {
  record.moveToAgentId = '';
  record.moveActor = '';
}

/** What a task's attempts make of its state. */
function stand(record: TaskRecord): void {
  const task = taskOf(record);
  const present = record.live.filter(isPresent);
  const running = present.find(
    ({ number }) => attemptOf(record, number)?.state === TaskAttempt_State.RUNNING,
  );
  const shown = running ?? present[0];
  if (shown === undefined) return;
  task.state = running === undefined ? Task_State.ASSIGNED : Task_State.RUNNING;
  task.agentId = shown.agentId;
  delete task.pending;
}

export const attemptOf = (record: TaskRecord, number: number): TaskAttempt | undefined =>
  taskOf(record).attempts.find((each) => each.number === number);

const agentOfAttempt = (record: TaskRecord, number: number): string =>
  attemptOf(record, number)?.agentId ?? '';

/** Whether the agent had accepted it, be it lost since or not. */
export const hasBegun = (record: TaskRecord, number: number): boolean =>
  attemptOf(record, number)?.acceptTime !== undefined;

function markLost(
  record: TaskRecord,
  number: number,
  { storeMs, untilMs, detail }: { storeMs: number; untilMs: bigint; detail: string },
): void {
  const lostMs = BigInt(Math.round(storeMs));
  record.live = record.live.map((live) =>
    live.number === number
      ? Object.assign(create(TaskRecord_LiveAttemptSchema), live, { lostMs, lostUntilMs: untilMs })
      : live,
  );
  changeAttempt(taskOf(record), number, (change) => {
    change.state = TaskAttempt_State.AGENT_LOST;
    change.error = detail.slice(0, SAID);
  });
}

/** The same, whose agent is there. */
const found = (live: TaskRecord_LiveAttempt): TaskRecord_LiveAttempt =>
  isPresent(live)
    ? live
    : Object.assign(create(TaskRecord_LiveAttemptSchema), live, { lostMs: 0n, lostUntilMs: 0n });

/** The attempt is over; what it spent is the task's. */
function endAttempt(
  { record }: Draft,
  number: number,
  state: TaskAttempt_State,
  error: string,
  storeMs: number,
): void {
  const task = taskOf(record);
  const live = record.live.find((each) => each.number === number);
  if (live !== undefined) {
    task.spent = sum(task.spent, live.spent);
    record.live = record.live.filter((each) => each !== live);
  }
  changeAttempt(task, number, (change) => {
    change.state = state;
    change.error = error;
    change.endTime = timestampFromMs(storeMs);
  });
}

function changeAttempt(task: Task, number: number, change: (attempt: TaskAttempt) => void) {
  const at = task.attempts.findIndex((each) => each.number === number);
  const before = task.attempts[at];
  if (before === undefined) return undefined;
  const after = Object.assign(create(TaskAttemptSchema), before);
  change(after);
  task.attempts[at] = after;
  return after;
}

function endWords(state: TaskAttempt_State): string {
  switch (state) {
    case TaskAttempt_State.TIMED_OUT:
      return 'ran for too long';
    case TaskAttempt_State.AGENT_LOST:
      return 'lost its agent';
    default:
      return 'failed';
  }
}

/** Spread by a tenth, the same each time that it is worked out. */
function spread(pauseMs: number, id: string, number: number): number {
  let hash = number;
  for (let at = 0; at < id.length; at += 1) hash = (Math.imul(hash, 31) + id.charCodeAt(at)) | 0;
  const share = ((hash >>> 0) % 1000) / 1000;
  return Math.round(pauseMs * (0.9 + share / 5));
}

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
