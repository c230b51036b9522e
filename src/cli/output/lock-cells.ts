import type { Lock } from '../../../gen/mycosoft/orchestrator/coordination/v1/lock_service_pb.ts';
import { shownValue } from './state-cells.ts';
import { type Column, renderFields } from './table.ts';
import { dim, good, type Line, plain, type Span, type Style, strong, warn } from './text.ts';
import { formatAgo, formatMs, formatTime, timestampMs } from './time.ts';

export const lockColumns: readonly Column[] = [
  { title: 'LOCK', shrinkTo: 20 },
  { title: 'STATE' },
  { title: 'HOLDER', shrinkTo: 12 },
  { title: 'TOKEN', align: 'right' },
  { title: 'GRANTED', align: 'right', dropOrder: 1 },
  { title: 'ENDS', align: 'right', dropOrder: 2 },
  { title: 'WAIT', align: 'right', dropOrder: 0 },
  { title: 'VALUE', shrinkTo: 12, dropOrder: 3 },
];

export function lockCells(lock: Lock, nowMs: number): Span[] {
  return [
    strong(lock.name),
    stateSpan(lock, nowMs),
    lock.held ? plain(lock.holder) : dim(lock.holder),
    plain(`${lock.fencingToken}`),
    dim(formatAgo(lock.grantTime, nowMs)),
    plain(ends(lock, nowMs)),
    plain(lock.waiters === 0 ? '' : `${lock.waiters}`),
    plain(shownValue(lock.value)),
  ];
}

export function renderLock(lock: Lock, style: Style, nowMs: number): string[] {
  const fields: [string, Line][] = [
    ['lock', [strong(lock.name)]],
    ['namespace', [plain(lock.namespace)]],
    ['state', [stateSpan(lock, nowMs)]],
    [lock.held ? 'holder' : 'last holder', [plain(lock.holder)]],
    ['fencing token', [plain(`${lock.fencingToken}`)]],
    ['granted', [plain(formatTime(lock.grantTime)), dim(` (${formatAgo(lock.grantTime, nowMs)})`)]],
    ['revision', [plain(`${lock.revision}`)]],
  ];
  if (lock.held) fields.push(['ends', [plain(ends(lock, nowMs))]]);
  if (lock.waiters > 0) fields.push(['waiting', [plain(`${lock.waiters} at the replica that answered`)]]);
  if (lock.value !== undefined) fields.push(['value', [plain(shownValue(lock.value))]]);
  return renderFields(fields, style);
}

function stateSpan({ held, freeTime }: Lock, nowMs: number): Span {
  if (held) return good('held');
  return freeTime !== undefined && timestampMs(freeTime) > nowMs ? warn('in its delay') : dim('free');
}

function ends({ held, boundAgentId, expireTime }: Lock, nowMs: number): string {
  if (!held) return '';
  if (boundAgentId !== '') return `with ${boundAgentId}`;
  return expireTime === undefined ? '' : `in ${formatMs(Math.max(0, timestampMs(expireTime) - nowMs))}`;
}
