import {
  Event_Severity,
  type Incident,
  type Report,
  type ReportFigure,
  type ReportResource,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { livenessSpan } from './agent-cells.ts';
import { indent, narrower } from './agent-detail.ts';
import { formatAmount } from './amounts.ts';
import { formatFigure } from './figures.ts';
import { renderTable } from './table.ts';
import { dim, plain, renderLine, type Span, type Style, strong, type Tone } from './text.ts';
import { formatMs, formatTime, timestampMs } from './time.ts';
import { wrapped } from './wrap.ts';

/** A report, for people. */
export function renderReport(report: Report, style: Style): string[] {
  const inner = narrower(style);
  const windowMs =
    report.startTime === undefined || report.endTime === undefined
      ? 0
      : timestampMs(report.endTime) - timestampMs(report.startTime);
  const lines = [
    renderLine(
      [
        strong(report.namespace),
        plain(`  ${formatTime(report.startTime)} to ${formatTime(report.endTime)}`),
        dim(`  ${formatMs(windowMs)}`),
      ],
      style,
    ),
  ];
  const section = (title: string, body: readonly string[]) => {
    if (body.length > 0) lines.push('', renderLine([strong(title)], style), ...indent(body));
  };
  section('Figures', figures(report.figures, inner));
  section('Agents now', agents(report, inner));
  section('Resources', resources(report.resources, inner));
  section('Tasks', tasks(report.tasks, inner));
  section(
    'What would help',
    report.proposals.flatMap((each) => wrapped(each, inner, [dim('- ')])),
  );
  const left = report.incidentCount - report.incidents.length;
  section('Incidents', [
    ...incidents(report.incidents, inner),
    ...(left > 0 ? [renderLine([dim(`and ${left} more`)], inner)] : []),
  ]);
  if (report.incidents.length === 0) lines.push('', renderLine([dim('no incidents')], style));
  return lines;
}

function figures(all: readonly ReportFigure[], style: Style): string[] {
  if (all.length === 0) return [];
  const right = { align: 'right' } as const;
  return renderTable(
    [
      { title: 'FIGURE', shrinkTo: 12 },
      ...['NOW', 'AVERAGE', 'LOWEST', 'HIGHEST', 'P95'].map((title) => ({ title, ...right })),
    ],
    all.map(({ name, unit, now, avg, min, max, p95 }) => [
      strong(name),
      ...[now, avg, min, max, p95].map((value) => plain(formatFigure(value, unit))),
    ]),
    style,
  );
}

function agents({ agents: counts }: Report, style: Style): string[] {
  const some = counts.filter(({ count }) => count > 0);
  if (some.length === 0) return [];
  const line = some.flatMap(({ liveness, count }, at) => [
    plain(`${at === 0 ? '' : ', '}${count} `),
    livenessSpan(liveness),
  ]);
  return [renderLine(line, style)];
}

function resources(all: readonly ReportResource[], style: Style): string[] {
  if (all.length === 0) return [];
  const right = { align: 'right' } as const;
  const share = (value: number | undefined) => plain(formatFigure(value, 'ratio'));
  return renderTable(
    [
      { title: 'RESOURCE', shrinkTo: 10 },
      ...['CAPACITY', 'RESERVED', 'USED', 'AVERAGE', 'HIGHEST'].map((title) => ({ title, ...right })),
    ],
    all.map(({ resource, capacity, reserved, used, usageAvg, usageMax }) => [
      strong(resource),
      plain(formatAmount(resource, capacity)),
      plain(formatAmount(resource, reserved)),
      plain(used === undefined ? '–' : formatAmount(resource, used)),
      share(usageAvg),
      share(usageMax),
    ]),
    style,
  );
}

function tasks(counts: Record<string, bigint>, style: Style): string[] {
  const some = Object.entries(counts).filter(([, count]) => count > 0n);
  if (some.length === 0) return [];
  return [renderLine([plain(some.map(([state, count]) => `${count} ${state}`).join(', '))], style)];
}

const tones: Partial<Record<Event_Severity, Tone>> = {
  [Event_Severity.WARNING]: 'warn',
  [Event_Severity.ERROR]: 'bad',
};

function incidents(all: readonly Incident[], style: Style): string[] {
  if (all.length === 0) return [];
  return renderTable(
    [
      { title: 'BEGAN' },
      { title: 'LASTED', align: 'right' },
      { title: 'WHAT', shrinkTo: 14 },
      { title: 'SUMMARY', shrinkTo: 20 },
    ],
    all.map(({ startTime, endTime, type, summary, severity, count }): Span[] => [
      dim(formatTime(startTime)),
      plain(
        startTime === undefined || endTime === undefined
          ? '–'
          : formatMs(timestampMs(endTime) - timestampMs(startTime)),
      ),
      { text: count > 1 ? `${type} ×${count}` : type, tone: tones[severity] ?? 'plain' },
      plain(summary),
    ]),
    style,
  );
}
