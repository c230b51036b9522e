import { create } from '@bufbuild/protobuf';
import {
  Task_State,
  TaskAttempt_State,
  TaskAttemptSchema,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type TaskRecord,
  type TaskRecord_LiveAttempt,
  TaskRecord_LiveAttemptSchema,
  TaskRecord_RefusalSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration, timestampFromMs } from '../../../lib/proto-time.ts';
import { mailKey } from '../delivery-record.ts';
import {
  agentOfAttempt,
  attemptOf,
  changeAttempt,
  clearMove,
  cutAttempts,
  type Draft,
  endAttempt,
  finish,
  hasBegun,
  SAID,
  stand,
  wait,
  withdraw,
} from './task-draft.ts';
import { deliveryIdOf, isPresent, specOf, taskOf } from './task-record.ts';

const MAX_REFUSALS = 16;
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
