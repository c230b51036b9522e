import {
  type ExplainTaskResponse,
  type Task,
  Task_State,
  TaskSpec_OnBudgetSpentSchema,
  TaskSpec_OnLossSchema,
  TaskSpec_WinnerSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { pairs } from './agent-cells.ts';
import { indent, narrower } from './agent-detail.ts';
import { amountWords, sharesOf } from './amounts.ts';
import { enumName } from './names.ts';
import { placementFields, renderPlacement } from './placement.ts';
import { shownValue } from './state-cells.ts';
import { renderFields, renderTable } from './table.ts';
import {
  attemptCells,
  attemptColumns,
  pendingWords,
  progressLine,
  progressWords,
  taskStateSpan,
} from './task-cells.ts';
import { bad, dim, type Line, plain, renderLine, type Style, strong, warn } from './text.ts';
import { formatAgo, formatDuration, formatMs, formatTime, timestampMs } from './time.ts';

type Field = readonly [string, Line];

const text = (name: string, value: string): Field[] => (value === '' ? [] : [[name, [plain(value)]]]);

/** All that is known of a task. */
export function renderTask(task: Task, style: Style, nowMs: number): string[] {
  const lines = renderFields([...standing(task, nowMs), ...wishes(task)], style);
  if (task.attempts.length === 0) return lines;
  return [...lines, '', ...attemptTable(task, style, nowMs)];
}

function standing(task: Task, nowMs: number): Field[] {
  const { spec, state, agentId, createTime, startTime, endTime, deadlineTime } = task;
  const when = (name: string, time: Task['createTime']): Field[] =>
    time === undefined ? [] : [[name, [plain(formatTime(time)), dim(` (${formatAgo(time, nowMs)})`)]]];
  const left = deadlineTime === undefined ? 0 : timestampMs(deadlineTime) - nowMs;
  return [
    ['task', [strong(task.id)]],
    ['namespace', [plain(task.namespace)]],
    ['capability', [plain(spec?.capability ?? '')]],
    ['state', [taskStateSpan(state)]],
    ...(state === Task_State.PENDING ? [['waits', [warn(pendingWords(task.pending, nowMs))]] as const] : []),
    ...text('agent', agentId),
    ...(task.error === '' ? [] : [['error', [bad(task.error)]] as const]),
    ...(task.progress === undefined ? [] : [['progress', progressLine(task.progress, 20)] as const]),
    ...(task.output === undefined ? [] : [['output', [plain(shownValue(task.output))]] as const]),
    ...(spec?.input === undefined ? [] : [['input', [plain(shownValue(spec.input))]] as const]),
    [
      'submitted',
      [plain(formatTime(createTime)), dim(` (${formatAgo(createTime, nowMs)}) by ${task.actor}`)],
    ],
    ...when('started', startTime),
    ...when('ended', endTime),
    ...(deadlineTime === undefined || endTime !== undefined
      ? []
      : [['deadline', [left > 0 ? plain(`in ${formatMs(left)}`) : warn('is over')]] as const]),
    ...text('spent', sharesOf(task.spent, task.budgets)),
    ...(task.openChildren === 0 && Object.keys(task.treeSpent).length === 0
      ? []
      : text('with those below', amountWords(task.treeSpent))),
    ...(task.openChildren === 0 ? [] : text('tasks below it', `${task.openChildren} that have not ended`)),
    ...(task.budgetAskedTime === undefined
      ? []
      : [['asks', [warn(`for more to spend, ${formatAgo(task.budgetAskedTime, nowMs)}`)]] as const]),
    ['revision', [plain(`${task.revision}`)]],
  ];
}

function wishes({ spec }: Task): Field[] {
  if (spec === undefined) return [];
  const { retry, onLoss, waitForAgent, winner, onBudgetSpent } = spec;
  const loss = [
    onLoss === 0 ? '' : enumName(TaskSpec_OnLossSchema, onLoss),
    waitForAgent === undefined ? '' : `for ${formatDuration(waitForAgent)}`,
    winner === 0 ? '' : enumName(TaskSpec_WinnerSchema, winner),
  ];
  const pauses = [retry?.minBackoff, retry?.maxBackoff].filter((pause) => pause !== undefined);
  const tries = retry === undefined || retry.maxAttempts === 0 ? '' : `${retry.maxAttempts} attempts`;
  return [
    ...text('needs', amountWords(spec.resources)),
    ...placementFields(spec.placement),
    ...text('priority', spec.priority === 0 ? '' : `${spec.priority}`),
    ...text('labels', pairs(spec.labels)),
    ...text('ordering key', spec.orderingKey),
    ...text('parent', spec.parentTaskId),
    ...text('retries', [tries, ...pauses.map(formatDuration)].filter(Boolean).join(', pauses ')),
    ...text('attempt timeout', spec.attemptTimeout === undefined ? '' : formatDuration(spec.attemptTimeout)),
    ...text('if its agent is lost', loss.filter(Boolean).join(' ')),
    ...text(
      'if its budget is spent',
      onBudgetSpent === 0 ? '' : enumName(TaskSpec_OnBudgetSpentSchema, onBudgetSpent),
    ),
    ...text('movable', spec.movable ? 'yes: it begins anew elsewhere' : ''),
  ];
}

function attemptTable(task: Task, style: Style, nowMs: number): string[] {
  const rows = task.attempts.map((attempt) => attemptCells(attempt, nowMs));
  const lines = renderTable(attemptColumns, rows, style);
  const before = task.attemptCount - task.attempts.length;
  return before > 0 ? [...lines, renderLine([dim(`and ${before} before them`)], style)] : lines;
}

/** Why a task is where it is, as somebody wants to read it who waits for it. */
export function renderTaskExplanation(response: ExplainTaskResponse, style: Style, nowMs: number): string[] {
  const { task, summary, placement, delivery, progress, aheadOfOwner, waitingOfOthers } = response;
  if (task === undefined) return [renderLine([plain(summary)], style)];
  const inner = narrower(style);
  /** The same words once are enough. */
  const told = <Of extends { detail: string } | undefined>(of: Of): Of =>
    of !== undefined && summary.includes(of.detail) ? { ...of, detail: '' } : of;
  const agent = task.agentId === '' ? [] : [plain(', agent '), strong(task.agentId)];
  const lines = [
    renderLine(
      [strong(task.id), plain(` (${task.spec?.capability ?? ''}) is `), taskStateSpan(task.state), ...agent],
      style,
    ),
    renderLine([plain(summary)], style),
  ];
  const section = (title: string, body: readonly string[]) => {
    if (body.length > 0) lines.push('', renderLine([strong(title)], style), ...indent(body));
  };
  const queue: Field[] =
    task.state === Task_State.PENDING
      ? [
          ['because of', [warn(pendingWords(told(task.pending), nowMs))]],
          ['before it', [plain(`${aheadOfOwner} of the same owner`)]],
          ['of other owners', [plain(`${waitingOfOthers} wait for the same agents`)]],
        ]
      : [];
  section('It waits', renderFields(queue, inner));
  if (placement !== undefined) section('Where it would go now', renderPlacement(told(placement), inner));
  section('With its agent', [
    ...(delivery === '' ? [] : [renderLine([plain(delivery)], inner)]),
    ...progress.map((counted) => renderLine([plain(progressWords(counted))], inner)),
  ]);
  section('Attempts, oldest first', task.attempts.length === 0 ? [] : attemptTable(task, inner, nowMs));
  const budgets = sharesOf(task.spent, task.budgets);
  section('Spent', budgets === '' ? [] : [renderLine([plain(budgets)], inner)]);
  return lines;
}
