import {
  type Event,
  Event_Severity,
  Event_SeveritySchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { enumName } from './names.ts';
import type { Column } from './table.ts';
import { dim, type Line, pad, plain, type Span, strong, type Tone } from './text.ts';
import { formatTime } from './time.ts';

export const eventColumns: readonly Column[] = [
  { title: 'TIME' },
  { title: 'SEVERITY' },
  { title: 'TYPE', shrinkTo: 14 },
  { title: 'AGENT', shrinkTo: 10 },
  { title: 'MESSAGE', shrinkTo: 20 },
];

export const wideEventColumns: readonly Column[] = [
  ...eventColumns,
  { title: 'ACTOR', shrinkTo: 10, dropOrder: 2 },
  { title: 'ID', dropOrder: 1 },
];

/** An event as cells of eventColumns, or of wideEventColumns. */
export function eventCells(event: Event, wide: boolean): Span[] {
  const cells = [
    dim(formatTime(event.time)),
    severitySpan(event.severity),
    plain(event.type),
    strong(event.agentId),
    plain(event.message),
  ];
  return wide ? [...cells, dim(event.actor), dim(event.id)] : cells;
}

/** An event on a line of its own, for streams, whose widths cannot be known. */
export function eventLine(event: Event): Line {
  const severity = severitySpan(event.severity);
  return [
    dim(`${formatTime(event.time)} `),
    { ...severity, text: pad(severity.text, 8, 'left') },
    plain(`${event.type}  `),
    ...(event.agentId === '' ? [] : [strong(event.agentId), plain('  ')]),
    plain(event.message),
  ];
}

export function severitySpan(severity: Event_Severity): Span {
  const tones: Partial<Record<Event_Severity, Tone>> = {
    [Event_Severity.WARNING]: 'warn',
    [Event_Severity.ERROR]: 'bad',
  };
  return { text: enumName(Event_SeveritySchema, severity), tone: tones[severity] ?? 'dim' };
}
