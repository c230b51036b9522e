import type {
  DeadLetter,
  DeliveryStatus,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { shownValue } from './state-cells.ts';
import { type Column, renderFields } from './table.ts';
import { bad, dim, type Line, plain, type Span, type Style, strong } from './text.ts';
import { formatAgo, formatTime } from './time.ts';

export const deadLetterColumns: readonly Column[] = [
  { title: 'AGENT', shrinkTo: 10 },
  { title: 'DELIVERY' },
  { title: 'REASON' },
  { title: 'WHAT', shrinkTo: 12 },
  { title: 'FROM', shrinkTo: 8, dropOrder: 1 },
  { title: 'TRIES', align: 'right', dropOrder: 3 },
  { title: 'WHEN', align: 'right', dropOrder: 2 },
  { title: 'ERROR', shrinkTo: 12, dropOrder: 0 },
];

export function deadLetterCells({ delivery, reason, error, time }: DeadLetter, nowMs: number): Span[] {
  return [
    strong(delivery?.agentId ?? ''),
    plain(delivery?.work?.deliveryId ?? ''),
    bad(reason),
    plain(whatOf(delivery)),
    plain(sourceOf(delivery)),
    plain(`${delivery?.tries ?? 0}`),
    dim(formatAgo(time, nowMs)),
    plain(error),
  ];
}

export function renderDeadLetter(
  { delivery, reason, error, time }: DeadLetter,
  style: Style,
  nowMs: number,
): string[] {
  const item = delivery?.item;
  const fields: [string, Line][] = [
    ['agent', [strong(delivery?.agentId ?? '')]],
    ['delivery', [plain(delivery?.work?.deliveryId ?? '')]],
    ['reason', [bad(reason)]],
    ['given up', [plain(formatTime(time)), dim(` (${formatAgo(time, nowMs)})`)]],
    ['stored', [plain(formatTime(delivery?.createTime))]],
    ['handed out', [plain(delivery?.tries === 1 ? 'once' : `${delivery?.tries ?? 0} times`)]],
    ['what', [plain(whatOf(delivery))]],
  ];
  if (error !== '') fields.push(['error', [plain(error)]]);
  if (item?.case === 'message') {
    const { id, source, subject, data, extensions } = item.value;
    fields.push(['message', [plain(id)]], ['from', [plain(source)]]);
    if (subject !== '') fields.push(['subject', [plain(subject)]]);
    if (delivery?.orderingKey) fields.push(['ordering key', [plain(delivery.orderingKey)]]);
    for (const [name, value] of Object.entries(extensions)) fields.push([name, [plain(value)]]);
    if (data !== undefined) fields.push(['data', [plain(shownValue(data))]]);
  }
  return renderFields(fields, style);
}

function whatOf(delivery: DeliveryStatus | undefined): string {
  const item = delivery?.item;
  if (item?.case === 'task') return `task ${item.value.capability}`;
  return item?.case === undefined ? '' : `${item.case} ${item.value.type}`;
}

const sourceOf = (delivery: DeliveryStatus | undefined): string =>
  delivery?.item.case === 'message' ? delivery.item.value.source : '';
