import {
  type Aggregation,
  AggregationSchema,
  type MetricPoint,
  type MetricSeries,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { QueryMetricsResponse } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { formatFigure } from './figures.ts';
import { enumName } from './names.ts';
import { type Column, renderTable } from './table.ts';
import { dim, plain, renderLine, type Span, type Style, strong } from './text.ts';
import { durationMs, formatDuration, formatTime, timestampMs } from './time.ts';

const BAR_LEAST = 12;
const BAR_MOST = 60;
const BARS = '▁▂▃▄▅▆▇█';

const aggregationName = (aggregation: Aggregation): string =>
  enumName(AggregationSchema, aggregation).toLowerCase();

/** Of what a series is. */
export const seriesName = ({ id, resource }: Pick<MetricSeries, 'id' | 'resource'>): string =>
  [id || 'all', ...(resource === '' ? [] : [resource])].join(' ');

/** A line for each series and aggregation: how it went, with its extremes and its last value. */
export function renderSeries(response: QueryMetricsResponse, style: Style): string[] {
  const { aggregations, metric } = response;
  const unit = metric?.unit ?? '';
  const width = Math.min(BAR_MOST, Math.max(BAR_LEAST, (style.columns ?? 120) - 60));
  const stepMs = response.step === undefined ? 0 : durationMs(response.step);
  const range = rangeOf(response.series);
  const rows = response.series.flatMap((series) =>
    aggregations.map((aggregation, at): Span[] => {
      const values = series.points.flatMap(({ values: each }) => each[at] ?? []);
      const figures = values.length === 0 ? [] : [Math.min(...values), Math.max(...values), values.at(-1)];
      return [
        strong(seriesName(series)),
        dim(aggregationName(aggregation)),
        plain(bars(series.points, at, { ...range, stepMs, width })),
        ...figures.map((value) => plain(formatFigure(value, unit))),
      ];
    }),
  );
  const columns: Column[] = [
    { title: 'SERIES', shrinkTo: 10 },
    { title: 'VALUE' },
    { title: 'OVER TIME' },
    { title: 'LOWEST', align: 'right' },
    { title: 'HIGHEST', align: 'right' },
    { title: 'LAST', align: 'right' },
  ];
  return [...renderTable(columns, rows, style), renderLine(legend(response, range), style)];
}

function legend({ step, resolution, metric }: QueryMetricsResponse, { fromMs, toMs }: Range): Span[] {
  const at = (ms: number) =>
    formatTime({ seconds: BigInt(Math.floor(ms / 1000)), nanos: 0, $typeName: 'google.protobuf.Timestamp' });
  return [
    dim(
      `${metric?.name ?? ''}${metric?.unit === '' || metric === undefined ? '' : ` (${metric.unit})`}, ${at(fromMs)} to ${at(toMs)}, step ${formatDuration(step)}, kept at ${formatDuration(resolution)}`,
    ),
  ];
}

interface Range {
  fromMs: number;
  toMs: number;
}

function rangeOf(all: readonly MetricSeries[]): Range {
  const times = all.flatMap(({ points }) => points.map(timeOf));
  return {
    fromMs: times.reduce((a, b) => Math.min(a, b), times[0] ?? 0),
    toMs: times.reduce((a, b) => Math.max(a, b), 0),
  };
}

const timeOf = ({ time }: MetricPoint): number => (time === undefined ? 0 : timestampMs(time));

/** One character for each part of the range, from 0 to the largest value; a blank where nothing was measured. */
function bars(
  points: readonly MetricPoint[],
  at: number,
  { fromMs, toMs, stepMs, width }: Range & { stepMs: number; width: number },
): string {
  const spanMs = toMs - fromMs + Math.max(1, stepMs);
  const cells = Math.max(1, Math.min(width, stepMs > 0 ? Math.round(spanMs / stepMs) : width));
  const highest: (number | undefined)[] = new Array(cells).fill(undefined);
  for (const point of points) {
    const value = point.values[at];
    if (value === undefined || !Number.isFinite(value)) continue;
    const cell = Math.min(cells - 1, Math.floor(((timeOf(point) - fromMs) / spanMs) * cells));
    highest[cell] = Math.max(highest[cell] ?? value, value);
  }
  const most = highest.reduce<number>((one, other) => Math.max(one, other ?? 0), 0);
  return highest
    .map((value) =>
      value === undefined ? ' ' : (BARS[most === 0 ? 0 : Math.max(0, Math.round((value / most) * 7))] ?? ' '),
    )
    .join('');
}

/** Each point on a line of its own. */
export function renderPoints({ series, aggregations, metric }: QueryMetricsResponse, style: Style): string[] {
  const unit = metric?.unit ?? '';
  const columns: Column[] = [
    { title: 'TIME' },
    { title: 'SERIES', shrinkTo: 10 },
    ...aggregations.map((aggregation) => ({
      title: aggregationName(aggregation).toUpperCase(),
      align: 'right' as const,
    })),
    { title: 'MEASURED', align: 'right' },
  ];
  const rows = series.flatMap((each) =>
    each.points.map((point): Span[] => [
      dim(formatTime(point.time)),
      strong(seriesName(each)),
      ...aggregations.map((_, at) => plain(formatFigure(point.values[at], unit))),
      plain(String(point.count)),
    ]),
  );
  return renderTable(columns, rows, style);
}
