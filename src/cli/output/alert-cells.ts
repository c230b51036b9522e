import {
  type Alert,
  Alert_State,
  Alert_StateSchema,
  type AlertRule,
  AlertRule_NoData,
  AlertSeverity,
  AlertSeveritySchema,
  type AlertSink,
  type Silence,
  type SilenceMatcher,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { MetricScopeSchema } from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { formatFigure, unitOf } from './figures.ts';
import { enumName } from './names.ts';
import type { Column } from './table.ts';
import { bad, dim, good, type Line, pad, plain, type Span, strong, type Tone, warn } from './text.ts';
import { formatAgo, formatDuration, formatMs, formatTime, timestampMs } from './time.ts';

const severityTones: Partial<Record<AlertSeverity, Tone>> = {
  [AlertSeverity.WARNING]: 'warn',
  [AlertSeverity.CRITICAL]: 'bad',
};

export const severitySpan = (severity: AlertSeverity): Span => ({
  text: enumName(AlertSeveritySchema, severity),
  tone: severityTones[severity] ?? 'dim',
});

/** Its state, with what keeps it from sinks. */
export function stateSpan(alert: Alert): Span {
  const state = enumName(Alert_StateSchema, alert.state);
  const marks = [
    ...(alert.silenceIds.length > 0 ? ['silenced'] : []),
    ...(alert.groupedUnder === '' ? [] : ['grouped']),
    ...(alert.flapping ? ['flapping'] : []),
    ...(alert.noData ? ['no data'] : []),
  ];
  const text = marks.length === 0 ? state : `${state} (${marks.join(', ')})`;
  if (alert.state === Alert_State.RESOLVED) return good(text);
  if (alert.state !== Alert_State.FIRING || marks.length > 0) return plain(text);
  return { text, tone: severityTones[alert.severity] ?? 'plain' };
}

export const alertColumns: readonly Column[] = [
  { title: 'SINCE', align: 'right' },
  { title: 'SEVERITY' },
  { title: 'STATE', shrinkTo: 10 },
  { title: 'NAMESPACE', shrinkTo: 8, dropOrder: 2 },
  { title: 'RULE', shrinkTo: 12 },
  { title: 'SUMMARY', shrinkTo: 20 },
  { title: 'ID', dropOrder: 1 },
];

export const alertCells = (alert: Alert, nowMs: number): Span[] => [
  dim(formatAgo(alert.fireTime ?? alert.startTime, nowMs)),
  severitySpan(alert.severity),
  stateSpan(alert),
  plain(alert.namespace),
  strong(alert.rule),
  plain(grouped(alert)),
  dim(alert.id),
];

const grouped = ({ summary, groupSize }: Alert): string =>
  groupSize === 0 ? summary : `${summary} (explains ${groupSize} more)`;

/** An alert on a line of its own, for streams. */
export function alertLine(alert: Alert): Line {
  const severity = severitySpan(alert.severity);
  return [
    dim(
      `${formatTime(alert.resolveTime ?? alert.acknowledgement?.time ?? alert.fireTime ?? alert.startTime)} `,
    ),
    { ...severity, text: pad(severity.text, 9, 'left') },
    stateSpan(alert),
    plain('  '),
    strong(alert.rule),
    plain(`  ${grouped(alert)}`),
    dim(`  ${alert.id}`),
  ];
}

/** All that is known of one alert, as fields. */
export function alertFields(alert: Alert, nowMs: number): [string, Line][] {
  const labels = Object.entries(alert.labels).map(([key, value]) => `${key}=${value}`);
  const unit = unitOf(alert.rule);
  const fields: [string, Line][] = [
    ['summary', [strong(alert.summary)]],
    ['state', [stateSpan(alert), plain('  '), severitySpan(alert.severity)]],
    ['rule', [plain(`${alert.rule} in ${alert.namespace}`)]],
    ['labels', [plain(labels.join(', ') || '–')]],
  ];
  if (alert.value !== undefined || alert.threshold !== undefined) {
    const values = alert.samples.map(({ value }) => formatFigure(value, unit)).join(' ');
    fields.push([
      'measured',
      [
        strong(formatFigure(alert.value, unit)),
        plain(`, threshold ${formatFigure(alert.threshold, unit)}`),
        dim(values === '' ? '' : `  before: ${values}`),
      ],
    ]);
  }
  const moments: [string, Alert['startTime']][] = [
    ['holds since', alert.startTime],
    ['fired', alert.fireTime],
    ['resolved', alert.resolveTime],
  ];
  for (const [name, time] of moments) {
    if (time === undefined) continue;
    const why = name === 'resolved' && alert.resolveReason !== '' ? `  ${alert.resolveReason}` : '';
    fields.push([name, [plain(formatTime(time)), dim(`  ${formatAgo(time, nowMs)}${why}`)]]);
  }
  const { acknowledgement } = alert;
  if (acknowledgement !== undefined) {
    const { actor, comment, time } = acknowledgement;
    fields.push([
      'acknowledged',
      [plain(`by ${actor}: ${comment || '–'}`), dim(`  ${formatAgo(time, nowMs)}`)],
    ]);
  }
  if (alert.groupedUnder !== '') fields.push(['explained by', [plain(alert.groupedUnder)]]);
  if (alert.groupSize > 0) {
    fields.push(['explains', [plain(`${alert.groupSize} alerts: ${alert.groupSubjects.join(', ')}`)]]);
  }
  if (alert.silenceIds.length > 0) fields.push(['silenced by', [plain(alert.silenceIds.join(', '))]]);
  if (alert.fires > 1) fields.push(['fired', [plain(`${alert.fires} times within the hour`)]]);
  for (const { sink, told, done, time, tries, error } of alert.deliveries) {
    const line = done
      ? [good(`has "${told}"`), dim(`  ${formatAgo(time, nowMs)}`)]
      : [bad(`"${told}" is not told`), plain(`, ${tries} tries${error === '' ? '' : `: ${error}`}`)];
    fields.push([`sink ${sink}`, line]);
  }
  if (alert.description !== '') fields.push(['what to do', [plain(alert.description)]]);
  if (alert.runbookUrl !== '') fields.push(['run book', [plain(alert.runbookUrl)]]);
  const cause = [alert.causeEventId, alert.eventId].filter((id) => id !== '');
  if (cause.length > 0) fields.push(['events', [plain(cause.join(', '))]]);
  fields.push([
    'judged by',
    [
      plain(alert.replicaId),
      dim(`  its event loop was late by ${formatDuration(alert.observerDelay)} at most`),
    ],
  ]);
  return fields;
}

export const ruleColumns: readonly Column[] = [
  { title: 'RULE', shrinkTo: 12 },
  { title: 'SEVERITY' },
  { title: 'FIRES WHEN', shrinkTo: 20 },
  { title: 'CLEARS WHEN', shrinkTo: 12, dropOrder: 2 },
  { title: 'PENDING', align: 'right', dropOrder: 3 },
  { title: 'FIRING', align: 'right' },
  { title: 'FROM', dropOrder: 1 },
];

export function ruleCells(rule: AlertRule): Span[] {
  return [
    rule.disabled ? dim(rule.name) : strong(rule.name),
    rule.disabled ? dim('off') : severitySpan(rule.severity),
    plain(condition(rule)),
    plain(clearing(rule)),
    plain(String(rule.pending)),
    rule.firing > 0 ? bad(String(rule.firing)) : plain('0'),
    dim(rule.builtin ? 'built in' : 'configuration'),
  ];
}

function condition(rule: AlertRule): string {
  const {
    metric,
    scope,
    resource,
    selector,
    below,
    threshold,
    forDuration,
    events,
    eventCount,
    eventWindow,
  } = rule;
  if (metric === '') {
    const often = eventCount > 1 ? `${eventCount} times within ${formatDuration(eventWindow)}` : 'once';
    return `${events.join(' or ')} ${often}${selector === '' ? '' : ` of ${selector}`}`;
  }
  const what = `${enumName(MetricScopeSchema, scope).toLowerCase()} ${metric}${resource === '' ? '' : ` of ${resource}`}`;
  const where = selector === '' ? '' : ` (${selector})`;
  const wait = durationOf(forDuration) > 0 ? ` for ${formatDuration(forDuration)}` : '';
  const none = rule.noData === AlertRule_NoData.FIRE ? ', or without data' : '';
  return `${what}${where} ${below ? '<' : '>'} ${formatFigure(threshold, unitOf(metric))}${wait}${none}`;
}

function clearing({
  metric,
  below,
  clearThreshold,
  clearForDuration,
  clearEvents,
  expireAfter,
}: AlertRule): string {
  if (metric !== '') {
    const wait = durationOf(clearForDuration) > 0 ? ` for ${formatDuration(clearForDuration)}` : '';
    return `${below ? '≥' : '≤'} ${formatFigure(clearThreshold, unitOf(metric))}${wait}`;
  }
  const after = expireAfter === undefined ? [] : [`after ${formatDuration(expireAfter)}`];
  return [...clearEvents, ...after].join(' or ') || 'never by itself';
}

const durationOf = (duration: AlertRule['forDuration']): number =>
  duration === undefined ? 0 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;

export const sinkColumns: readonly Column[] = [
  { title: 'SINK', shrinkTo: 10 },
  { title: 'KIND' },
  { title: 'HEALTH', shrinkTo: 16 },
  { title: 'WAITING', align: 'right' },
  { title: 'SENT', align: 'right', dropOrder: 3 },
  { title: 'LAST TOOK', align: 'right', dropOrder: 2 },
  { title: 'TARGET', shrinkTo: 12, dropOrder: 1 },
];

export const sinkCells = (sink: AlertSink, nowMs: number): Span[] => [
  strong(sink.name),
  plain(sink.kind),
  sinkHealth(sink),
  sink.waiting > 0 ? warn(String(sink.waiting)) : plain('0'),
  plain(String(sink.sent)),
  dim(formatAgo(sink.successTime, nowMs)),
  dim(sink.target),
];

export function sinkHealth({ healthy, failures, error, retryIn }: AlertSink): Span {
  if (healthy) return good('well');
  const again = retryIn === undefined ? '' : `, again in ${formatDuration(retryIn)}`;
  return bad(`failed ${failures}×${again}${error === '' ? '' : `: ${error}`}`);
}

export const silenceColumns: readonly Column[] = [
  { title: 'ID' },
  { title: 'LEFT', align: 'right' },
  { title: 'NAMESPACE', shrinkTo: 8, dropOrder: 2 },
  { title: 'MATCHES', shrinkTo: 16 },
  { title: 'ALERTS', align: 'right' },
  { title: 'BY', shrinkTo: 8, dropOrder: 1 },
  { title: 'COMMENT', shrinkTo: 12 },
];

export const silenceCells = (silence: Silence, nowMs: number): Span[] => [
  strong(silence.id),
  left(silence, nowMs),
  plain(silence.namespace || 'all'),
  plain(silence.matchers.map(matcherText).join(', ')),
  plain(String(silence.alerts)),
  plain(silence.actor),
  plain(silence.comment),
];

function left({ startTime, endTime }: Silence, nowMs: number): Span {
  if (startTime !== undefined && timestampMs(startTime) > nowMs)
    return dim(`in ${formatMs(timestampMs(startTime) - nowMs)}`);
  if (endTime === undefined) return plain('–');
  const leftMs = timestampMs(endTime) - nowMs;
  return leftMs > 0 ? plain(formatMs(leftMs)) : dim('over');
}

export const matcherText = ({ name, value, negate }: SilenceMatcher): string =>
  `${name}${negate ? '!=' : '='}${value}`;
