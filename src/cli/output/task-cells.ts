import {
  type Task,
  Task_State,
  Task_StateSchema,
  type TaskAttempt,
  TaskAttempt_State,
  TaskAttempt_StateSchema,
  type TaskCount,
  type TaskProgress,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  type Pending,
  PendingReasonSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { amountWords } from './amounts.ts';
import { enumName } from './names.ts';
import { gauge } from './sparkline.ts';
import type { Column } from './table.ts';
import { dim, type Line, plain, type Span, strong, type Tone, warn } from './text.ts';
import { durationMs, formatAgo, formatMs, timestampMs } from './time.ts';

export const hasEnded = ({ state }: Task): boolean => state >= Task_State.SUCCEEDED;

const stateTones: Partial<Record<Task_State, Tone>> = {
  [Task_State.RUNNING]: 'good',
  [Task_State.SUCCEEDED]: 'good',
  [Task_State.FAILED]: 'bad',
  [Task_State.TIMED_OUT]: 'bad',
  [Task_State.PENDING]: 'warn',
  [Task_State.CANCELLED]: 'dim',
};

export function taskStateSpan(state: Task_State): Span {
  return { text: enumName(Task_StateSchema, state), tone: stateTones[state] ?? 'plain' };
}

export const taskColumns: readonly Column[] = [
  { title: 'TASK', shrinkTo: 16 },
  { title: 'CAPABILITY', shrinkTo: 10 },
  { title: 'STATE' },
  { title: 'AGENT', shrinkTo: 10 },
  { title: 'TRIES', align: 'right', dropOrder: 3 },
  { title: 'PRIO', align: 'right', dropOrder: 5 },
  { title: 'AGE', align: 'right', dropOrder: 2 },
  { title: 'OWNER', shrinkTo: 8, dropOrder: 4 },
  { title: 'WHY', shrinkTo: 16 },
];

export const wideTaskColumns: readonly Column[] = [
  { title: 'RESOURCES', shrinkTo: 12, dropOrder: 6 },
  { title: 'BUDGETS', shrinkTo: 12, dropOrder: 7 },
  { title: 'PARENT', shrinkTo: 12, dropOrder: 8 },
  { title: 'REVISION', align: 'right', dropOrder: 9 },
];

export function taskCells(task: Task, nowMs: number, wide: boolean): Span[] {
  const { id, spec, state, agentId, attemptCount, createTime } = task;
  const cells = [
    strong(id),
    plain(spec?.capability ?? ''),
    taskStateSpan(state),
    plain(agentId),
    plain(attemptCount === 0 ? '' : `${attemptCount}`),
    plain(spec === undefined || spec.priority === 0 ? '' : `${spec.priority}`),
    dim(createTime === undefined ? '' : formatMs(Math.max(0, nowMs - timestampMs(createTime)))),
    plain(spec?.labels.owner ?? ''),
    whySpan(task, nowMs),
  ];
  if (!wide) return cells;
  return [
    ...cells,
    plain(amountWords(spec?.resources ?? {})),
    plain(amountWords(task.budgets)),
    plain(spec?.parentTaskId ?? ''),
    plain(`${task.revision}`),
  ];
}

/** What is worth a look: why it waits, how far it is, or how it ended. */
function whySpan(task: Task, nowMs: number): Span {
  if (task.state === Task_State.PENDING) return warn(pendingWords(task.pending, nowMs));
  if (task.error !== '') return plain(task.error);
  if (task.progress !== undefined && !hasEnded(task)) return dim(progressWords(task.progress));
  if (task.budgetAskedTime !== undefined)
    return warn(`asks for more to spend, ${formatAgo(task.budgetAskedTime, nowMs)}`);
  return plain('');
}

/** `NO_ROOM for 12s: 3 agents are full`. */
export function pendingWords(pending: Pending | undefined, nowMs: number): string {
  if (pending === undefined) return 'nobody has looked yet';
  const { reason, detail, sinceTime, notBeforeTime } = pending;
  const waited =
    sinceTime === undefined ? '' : ` for ${formatMs(Math.max(0, nowMs - timestampMs(sinceTime)))}`;
  const leftMs = notBeforeTime === undefined ? 0 : timestampMs(notBeforeTime) - nowMs;
  const next = leftMs > 0 ? `, again in ${formatMs(leftMs)}` : '';
  return `${enumName(PendingReasonSchema, reason)}${waited}${next}${detail === '' ? '' : `: ${detail}`}`;
}

interface Counted {
  done: bigint;
  total?: bigint | undefined;
  name: string;
}

/** `rows 450 of 1,000 (45 %)`. */
export function progressWords({ done, total, name }: Counted): string {
  const figure = (value: bigint) => value.toLocaleString('en-US');
  const what = name === '' ? '' : `${name} `;
  if (total === undefined || total === 0n) return `${what}${figure(done)}`;
  return `${what}${figure(done)} of ${figure(total)} (${Math.floor(shareOf(done, total) * 100)} %)`;
}

const shareOf = (done: bigint, total: bigint): number =>
  total === 0n ? 0 : Math.min(1, Number(done) / Number(total));

/** `████····  rows 450 of 1,000 (45 %)  2.1s old`; without a total there is no bar. */
export function progressLine(progress: TaskProgress, width: number): Line {
  const { done, total, age } = progress;
  const bar = total === undefined || total === 0n ? [] : [plain(`${gauge(shareOf(done, total), width)} `)];
  const ageMs = age === undefined ? 0 : durationMs(age);
  return [...bar, plain(progressWords(progress)), ...(ageMs < 3000 ? [] : [dim(`  ${formatMs(ageMs)} old`)])];
}

/** `3 running, 12 pending`; empty where there are none. */
export function countWords(counts: readonly TaskCount[]): string {
  return counts
    .filter(({ tasks }) => tasks > 0)
    .map(({ state, tasks }) => `${tasks.toLocaleString('en-US')} ${enumName(Task_StateSchema, state)}`)
    .join(', ');
}

export const attemptColumns: readonly Column[] = [
  { title: 'ATTEMPT', align: 'right' },
  { title: 'AGENT', shrinkTo: 10 },
  { title: 'STATE' },
  { title: 'ASSIGNED', align: 'right' },
  { title: 'TOOK', align: 'right' },
  { title: 'PLACED', shrinkTo: 16, dropOrder: 1 },
  { title: 'ERROR', shrinkTo: 16 },
];

const attemptTones: Partial<Record<TaskAttempt_State, Tone>> = {
  [TaskAttempt_State.RUNNING]: 'good',
  [TaskAttempt_State.SUCCEEDED]: 'good',
  [TaskAttempt_State.FAILED]: 'bad',
  [TaskAttempt_State.TIMED_OUT]: 'bad',
  [TaskAttempt_State.AGENT_LOST]: 'bad',
  [TaskAttempt_State.DECLINED]: 'warn',
  [TaskAttempt_State.UNANSWERED]: 'warn',
  [TaskAttempt_State.WITHDRAWN]: 'dim',
};

export function attemptCells(attempt: TaskAttempt, nowMs: number): Span[] {
  const { number, agentId, state, assignTime, endTime, placement, error, replacement } = attempt;
  const fromMs = assignTime === undefined ? undefined : timestampMs(assignTime);
  const toMs = endTime === undefined ? nowMs : timestampMs(endTime);
  return [
    plain(`${number}`),
    strong(agentId),
    { text: enumName(TaskAttempt_StateSchema, state), tone: attemptTones[state] ?? 'plain' },
    dim(formatAgo(assignTime, nowMs)),
    plain(fromMs === undefined ? '' : formatMs(Math.max(0, toMs - fromMs))),
    dim(replacement ? `beside another; ${placement}` : placement),
    plain(error),
  ];
}
