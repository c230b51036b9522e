import {
  type Allocation,
  Allocation_State,
  Allocation_StateSchema,
} from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { pairs } from './agent-cells.ts';
import { amountWords, sharesOf } from './amounts.ts';
import { enumName } from './names.ts';
import { placementFields } from './placement.ts';
import { type Column, renderFields } from './table.ts';
import { pendingWords } from './task-cells.ts';
import { dim, type Line, plain, type Span, type Style, strong, type Tone, warn } from './text.ts';
import { formatAgo, formatDuration, formatMs, formatTime, timestampMs } from './time.ts';

export const allocationColumns: readonly Column[] = [
  { title: 'ALLOCATION', shrinkTo: 16 },
  { title: 'STATE' },
  { title: 'AGENT', shrinkTo: 10 },
  { title: 'RESOURCES', shrinkTo: 14 },
  { title: 'BUDGETS', shrinkTo: 10, dropOrder: 1 },
  { title: 'OWNER', shrinkTo: 8, dropOrder: 2 },
  { title: 'HOLDER', shrinkTo: 8, dropOrder: 3 },
  { title: 'ENDS', align: 'right', dropOrder: 4 },
  { title: 'WHY', shrinkTo: 14 },
];

const tones: Partial<Record<Allocation_State, Tone>> = {
  [Allocation_State.ACTIVE]: 'good',
  [Allocation_State.WAITING]: 'warn',
  [Allocation_State.AGENT_LOST]: 'bad',
  [Allocation_State.REFUSED]: 'bad',
  [Allocation_State.RELEASED]: 'dim',
};

export const allocationStateSpan = (state: Allocation_State): Span => ({
  text: enumName(Allocation_StateSchema, state),
  tone: tones[state] ?? 'plain',
});

export function allocationCells(allocation: Allocation, nowMs: number): Span[] {
  const { id, spec, state, agentId, detail, spent } = allocation;
  return [
    strong(id),
    allocationStateSpan(state),
    plain(agentId),
    plain(amountWords(spec?.resources ?? {})),
    plain(sharesOf(spent, spec?.budgets ?? {})),
    plain(spec?.labels.owner ?? ''),
    plain(spec?.holder ?? ''),
    dim(ends(allocation, nowMs)),
    state === Allocation_State.WAITING ? warn(pendingWords(allocation.pending, nowMs)) : plain(detail),
  ];
}

function ends({ state, expireTime }: Allocation, nowMs: number): string {
  if (state !== Allocation_State.ACTIVE || expireTime === undefined) return '';
  return `in ${formatMs(Math.max(0, timestampMs(expireTime) - nowMs))}`;
}

export function renderAllocation(allocation: Allocation, style: Style, nowMs: number): string[] {
  const { id, spec, state, agentId, taskId, detail, spent, createTime, grantTime, endTime } = allocation;
  const text = (name: string, value: string): [string, Line][] =>
    value === '' ? [] : [[name, [plain(value)]]];
  const when = (name: string, time: Allocation['grantTime']): [string, Line][] =>
    time === undefined ? [] : [[name, [plain(formatTime(time)), dim(` (${formatAgo(time, nowMs)})`)]]];
  const fields: (readonly [string, Line])[] = [
    ['allocation', [strong(id)]],
    ['namespace', [plain(allocation.namespace)]],
    ['state', [allocationStateSpan(state)]],
    ...(state === Allocation_State.WAITING
      ? [['waits', [warn(pendingWords(allocation.pending, nowMs))]] as const]
      : []),
    ...text('because', detail),
    ...text('agent', agentId),
    ...text('task', taskId),
    ...text('capability', spec?.capability ?? ''),
    ...text('resources', amountWords(spec?.resources ?? {})),
    ...text('spent', sharesOf(spent, spec?.budgets ?? {})),
    ...placementFields(spec?.placement),
    ...text('lease', spec?.lease === undefined ? '' : formatDuration(spec.lease)),
    ...text('ends', ends(allocation, nowMs)),
    ...text('holder', spec?.holder ?? ''),
    ...text('labels', pairs(spec?.labels ?? {})),
    [
      'asked for',
      [plain(formatTime(createTime)), dim(` (${formatAgo(createTime, nowMs)}) by ${allocation.actor}`)],
    ],
    ...when('granted', grantTime),
    ...when('ended', endTime),
    ['revision', [plain(`${allocation.revision}`)]],
  ];
  return renderFields(fields, style);
}
