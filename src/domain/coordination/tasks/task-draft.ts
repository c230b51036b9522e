import { create } from '@bufbuild/protobuf';
import {
  type Task,
  Task_State,
  type TaskAttempt,
  TaskAttempt_State,
  TaskAttemptSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  type PendingReason,
  PendingSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type {
  TaskRecord,
  TaskRecord_LiveAttempt,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { mailKey } from '../delivery-record.ts';
import { copyTask, hasBudgets, isPresent, type KnownTask, sum, taskOf } from './task-record.ts';

/** A task that is being changed, and the entries of mailboxes that go with the change. */
export interface Draft {
  record: TaskRecord;
  /** Keys of deliveries that are taken back. */
  withdrawn: string[];
}

export const draftOf = (known: KnownTask): Draft => ({ record: copyTask(known), withdrawn: [] });

/** Attempts that the public record shows. */
const MAX_SHOWN = 8;

/** What is kept of an error text, characters. */
export const SAID = 1024;

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
export function stand(record: TaskRecord): void {
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

export const agentOfAttempt = (record: TaskRecord, number: number): string =>
  attemptOf(record, number)?.agentId ?? '';

/** Whether the agent had accepted it, be it lost since or not. */
export const hasBegun = (record: TaskRecord, number: number): boolean =>
  attemptOf(record, number)?.acceptTime !== undefined;

/** The attempt is over; what it spent is the task's. */
export function endAttempt(
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

export function changeAttempt(task: Task, number: number, change: (attempt: TaskAttempt) => void) {
  const at = task.attempts.findIndex((each) => each.number === number);
  const before = task.attempts[at];
  if (before === undefined) return undefined;
  const after = Object.assign(create(TaskAttemptSchema), before);
  change(after);
  task.attempts[at] = after;
  return after;
}

/** Those that have not ended are always among the shown. */
export function cutAttempts(record: TaskRecord): void {
  const { attempts } = taskOf(record);
  const live = new Set(record.live.map(({ number }) => number));
  for (let at = 0; at < attempts.length && attempts.length > MAX_SHOWN; ) {
    if (live.has(attempts[at]?.number ?? 0)) at += 1;
    else attempts.splice(at, 1);
  }
}
