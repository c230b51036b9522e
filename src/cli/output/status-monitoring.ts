import { AlertSeverity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { MetricReading } from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type ServiceStatus,
  ServiceStatus_State,
  ServiceStatus_StateSchema,
  type SystemStatus,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { severitySpan, sinkHealth } from './alert-cells.ts';
import { formatFigure, unitOf } from './figures.ts';
import { enumName } from './names.ts';
import { renderTable } from './table.ts';
import { bad, dim, good, type Line, plain, type Span, type Style, strong, warn } from './text.ts';
import { formatAgo, formatDuration } from './time.ts';

/** The four figures with thresholds, and alerts, as fields. */
export function monitoringFields(status: SystemStatus, nowMs: number): [string, Line][] {
  const fields: [string, Line][] = [];
  const known = status.readings.filter(({ value }) => value !== undefined);
  if (known.length > 0) {
    const analysed =
      status.analysedTime === undefined ? [] : [dim(`  analysed ${formatAgo(status.analysedTime, nowMs)}`)];
    fields.push(['measured', [...joined(known.map(readingSpans)), ...analysed]]);
  }
  const alerts = alertSpans(status);
  if (alerts.length > 0) fields.push(['alerts', alerts]);
  const ill = status.sinks.filter(({ healthy }) => !healthy);
  if (status.sinks.length > 0) {
    const well = status.sinks.length - ill.length;
    fields.push([
      'sinks',
      ill.length === 0
        ? [good(`${well} well`), dim(`: ${status.sinks.map(({ name }) => name).join(', ')}`)]
        : joined(ill.map((sink) => [strong(sink.name), plain(' '), sinkHealth(sink)])),
    ]);
  }
  return fields;
}

export function readingSpans({ metric, resource, value }: MetricReading): Span[] {
  const name = metric.replaceAll('_', ' ');
  return [
    plain(`${name}${resource === '' ? '' : ` (${resource})`} `),
    strong(formatFigure(value, unitOf(metric))),
  ];
}

/** "2 CRITICAL, 1 WARNING, 3 acknowledged"; nothing where nothing fires. */
export function alertSpans({ alerts }: SystemStatus): Span[] {
  const parts: Span[][] = [];
  let acknowledged = 0;
  for (const count of [...alerts].sort((a, b) => b.severity - a.severity)) {
    acknowledged += count.acknowledged;
    if (count.firing === 0) continue;
    const severity = severitySpan(count.severity);
    const tone = count.severity === AlertSeverity.INFO ? 'plain' : (severity.tone ?? 'plain');
    parts.push([{ text: `${count.firing} ${severity.text}`, tone }]);
  }
  if (acknowledged > 0) parts.push([plain(`${acknowledged} acknowledged`)]);
  return joined(parts);
}

const joined = (parts: readonly (readonly Span[])[]): Span[] =>
  parts.flatMap((part, at) => (at === 0 ? [...part] : [plain(', '), ...part]));

/** Things that are no agents, each on a line; none where none is configured. */
export function serviceTable(services: readonly ServiceStatus[], nowMs: number, style: Style): string[] {
  if (services.length === 0) return [];
  return renderTable(
    [
      { title: 'SERVICE', shrinkTo: 10 },
      { title: 'STATE' },
      { title: 'LATENCY', align: 'right' },
      { title: 'ANSWERED', align: 'right', dropOrder: 2 },
      { title: 'SINCE', align: 'right', dropOrder: 3 },
      { title: 'READING', align: 'right' },
      { title: 'DETAIL', shrinkTo: 12, dropOrder: 1 },
    ],
    services.map((service): Span[] => [
      strong(service.name),
      stateSpan(service),
      plain(formatDuration(service.latency)),
      plain(service.probeTime === undefined ? '–' : `${(service.availability * 100).toFixed(1)} %`),
      plain(formatAgo(service.since, nowMs)),
      plain(formatDuration(service.age)),
      plain(service.detail || service.target),
    ]),
    style,
  );
}

function stateSpan({ state }: ServiceStatus): Span {
  const text = enumName(ServiceStatus_StateSchema, state);
  switch (state) {
    case ServiceStatus_State.OK:
      return good(text);
    case ServiceStatus_State.DOWN:
      return bad(text);
    case ServiceStatus_State.UNSPECIFIED:
      return dim('NOT ASKED YET');
    default:
      return warn(text);
  }
}
