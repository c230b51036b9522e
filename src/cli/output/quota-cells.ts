import type { Budget, Quota } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { byName, formatAmount } from './amounts.ts';
import { gauge } from './sparkline.ts';
import { type Column, renderFields, renderTable } from './table.ts';
import { dim, type Line, plain, renderLine, type Span, type Style, strong, type Tone } from './text.ts';
import { formatAgo, formatDuration, formatMs, formatTime, timestampMs } from './time.ts';

const BAR = 10;

const columns: readonly Column[] = [
  { title: 'OWNER', shrinkTo: 10 },
  { title: 'WEIGHT', align: 'right', dropOrder: 4 },
  { title: 'OF', shrinkTo: 8 },
  { title: 'KIND', dropOrder: 3 },
  { title: 'TAKEN', align: 'right' },
  { title: 'LIMIT', align: 'right' },
  { title: '', dropOrder: 2 },
  { title: 'NOTE', shrinkTo: 10, dropOrder: 1 },
];

/** Quotas as a table: a line for each limit and each budget. */
export function quotaTable(quotas: readonly Quota[], style: Style, nowMs: number): string[] {
  const rows = quotas.flatMap((quota) => {
    const owner = [whose(quota), dim(quota.weight === 0 ? '1' : `${quota.weight}`)];
    const lines = [...limitCells(quota, 'hard'), ...limitCells(quota, 'soft'), ...budgetCells(quota, nowMs)];
    if (lines.length === 0) return [[...owner, dim('nothing is limited')]];
    return lines.map((cells, index) => [...(index === 0 ? owner : [plain(''), plain('')]), ...cells]);
  });
  return renderTable(columns, rows, style);
}

const whose = ({ owner }: Quota): Span => (owner === '' ? dim('(the namespace)') : strong(owner));

function share(taken: bigint, limit: bigint, soft: boolean): Span {
  const part = limit === 0n ? 1 : Number(taken) / Number(limit);
  const tone: Tone = part >= 1 ? (soft ? 'warn' : 'bad') : part >= 0.8 ? 'warn' : 'good';
  return { text: gauge(part, BAR), tone };
}

function limitCells({ hard, soft, reserved }: Quota, kind: 'hard' | 'soft'): Span[][] {
  return byName(kind === 'hard' ? hard : soft).map(([name, limit]) => {
    const taken = reserved[name] ?? 0n;
    const note = taken > limit ? plain(kind === 'hard' ? 'beyond it' : 'others come first') : plain('');
    return [
      strong(name),
      dim(kind),
      plain(formatAmount(name, taken)),
      plain(formatAmount(name, limit)),
      share(taken, limit, kind === 'soft'),
      note,
    ];
  });
}

function budgetCells({ budgets }: Quota, nowMs: number): Span[][] {
  return budgets.map((budget) => {
    const { name, limit, spent, reserved } = budget;
    const note = [
      `${formatAmount(name, spent)} spent`,
      ...(reserved === 0n ? [] : [`${formatAmount(name, reserved)} reserved`]),
      ...periodWords(budget, nowMs),
    ];
    return [
      strong(name),
      dim('budget'),
      plain(formatAmount(name, spent + reserved)),
      plain(formatAmount(name, limit)),
      share(spent + reserved, limit, false),
      plain(note.join(', ')),
    ];
  });
}

function periodWords({ period, periodEndTime }: Budget, nowMs: number): string[] {
  if (period === undefined) return [];
  const left = periodEndTime === undefined ? undefined : timestampMs(periodEndTime) - nowMs;
  const next = left === undefined ? '' : `, anew in ${formatMs(Math.max(0, left))}`;
  return [`each ${formatDuration(period)}${next}`];
}

/** One quota. */
export function renderQuota(quota: Quota, style: Style, nowMs: number): string[] {
  const changed = formatAgo(quota.updateTime, nowMs);
  const fields: [string, Line][] = [
    ['quota of', [whose(quota)]],
    ['namespace', [plain(quota.namespace)]],
    ['changed', [plain(formatTime(quota.updateTime)), dim(` (${changed}) by ${quota.actor}`)]],
    ['revision', [plain(`${quota.revision}`)]],
  ];
  return [...renderFields(fields, style), renderLine([], style), ...quotaTable([quota], style, nowMs)];
}
