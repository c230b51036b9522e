import type { Payload } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type StateChange,
  StateChange_Type,
  type StateEntry,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/state_service_pb.ts';
import { payloadContent } from '../payload.ts';
import type { Column } from './table.ts';
import { renderFields } from './table.ts';
import { bad, dim, good, type Line, plain, type Span, type Style, strong } from './text.ts';
import { formatAgo, formatMs, formatTime, timestampMs } from './time.ts';

export const stateColumns: readonly Column[] = [
  { title: 'KEY', shrinkTo: 20 },
  { title: 'VALUE', shrinkTo: 20 },
  { title: 'REVISION', align: 'right' },
  { title: 'CHANGED', align: 'right', dropOrder: 2 },
  { title: 'EXPIRES', align: 'right', dropOrder: 1 },
  { title: 'BOUND TO', dropOrder: 0 },
];

export function stateCells(entry: StateEntry, nowMs: number): Span[] {
  return [
    strong(entry.key),
    plain(shownValue(entry.value)),
    plain(`${entry.revision}`),
    dim(formatAgo(entry.updateTime, nowMs)),
    plain(
      entry.expireTime === undefined
        ? ''
        : `in ${formatMs(Math.max(0, timestampMs(entry.expireTime) - nowMs))}`,
    ),
    plain(entry.boundAgentId),
  ];
}

export function renderEntry(entry: StateEntry, style: Style, nowMs: number): string[] {
  const fields: [string, Line][] = [
    ['key', [strong(entry.key)]],
    ['namespace', [plain(entry.namespace)]],
    ['value', [plain(shownValue(entry.value))]],
    ['revision', [plain(`${entry.revision}`)]],
    ['created', [plain(formatTime(entry.createTime))]],
    [
      'changed',
      [
        plain(formatTime(entry.updateTime)),
        dim(` (${formatAgo(entry.updateTime, nowMs)}) by ${entry.actor}`),
      ],
    ],
  ];
  if (entry.expireTime !== undefined) fields.push(['expires', [plain(formatTime(entry.expireTime))]]);
  if (entry.boundAgentId !== '') fields.push(['bound to', [plain(`the session of ${entry.boundAgentId}`)]]);
  return renderFields(fields, style);
}

export function stateChangeLine({ type, entry }: StateChange): Line {
  const key = strong(entry?.key ?? '');
  const revision = dim(`  revision ${entry?.revision ?? 0n}`);
  if (type === StateChange_Type.REMOVED) return [bad('- '), key, revision];
  return [good('+ '), key, plain(` = ${shownValue(entry?.value)}`), revision];
}

/** A value on one line, for people. */
export function shownValue(payload: Payload | undefined): string {
  const content = payloadContent(payload);
  return typeof content === 'string' ? content : `(${content.length} bytes)`;
}
