import { create } from '@bufbuild/protobuf';
import {
  Aggregation,
  type MetricPoint,
  type MetricReading,
  MetricScope,
  type MetricSeries,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  QueryMetricsRequestSchema,
  type ReportFigure,
  ReportFigureSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { durationFromMs, timestampFromMs } from '../../../lib/proto-time.ts';
import { StoreUnavailableError } from '../../../state/store.ts';
import type { ReportSources, Window } from './ports.ts';

/** The figures of a report, and their units. */
const FIGURES = [
  ['system_load', 'ratio'],
  ['agent_health', 'ratio'],
  ['communication_latency', 'ms'],
  ['resource_usage', 'ratio'],
] as const;

const { AVG, MIN, MAX, P95 } = Aggregation;
/** So long that all of time is one step: a percentile of all measurements is no mean of percentiles. */
const ONE_STEP_MS = 100_000 * 86_400_000;

export interface MeasuredFigure {
  metric: string;
  resource: string;
  figure: ReportFigure;
  /** Of how much time there are measurements. */
  measuredMs: number;
}

export interface MeasuredFigures {
  figures: MeasuredFigure[];
  /** Whether history could be read. */
  historyRead: boolean;
}

/** Each of the four figures over the window, one for each resource, with what it is now. */
export async function measuredFigures(
  sources: Pick<ReportSources, 'history' | 'readings' | 'sampleMs'>,
  namespace: string,
  window: Window,
): Promise<MeasuredFigures> {
  const now = sources.readings(namespace);
  const figures: MeasuredFigure[] = [];
  let historyRead = true;
  for (const [metric, unit] of FIGURES) {
    const series: MetricSeries[] | undefined = historyRead
      ? await read(sources, namespace, metric, window)
      : undefined;
    historyRead &&= series !== undefined;
    const current = now.filter((reading) => isOfFleet(reading) && reading.metric === metric);
    const resources = new Set([
      ...(series ?? []).map(({ resource }) => resource),
      ...current.map(({ resource }) => resource),
    ]);
    for (const resource of [...resources].sort()) {
      const points = series?.find((each) => each.resource === resource)?.points ?? [];
      const figure = create(ReportFigureSchema, {
        name: resource === '' ? metric : `${metric} (${resource})`,
        unit,
        ...overall(points),
      });
      const samples = points.reduce((sum, { count }) => sum + Number(count), 0);
      const value = current.find((reading) => reading.resource === resource)?.value;
      if (value !== undefined) figure.now = value;
      figures.push({ metric, resource, figure, measuredMs: samples * sources.sampleMs });
    }
  }
  return { figures, historyRead };
}

/** Undefined: history is away. */
async function read(
  { history }: Pick<ReportSources, 'history'>,
  namespace: string,
  metric: string,
  { fromMs, toMs }: Window,
): Promise<MetricSeries[] | undefined> {
  const request = create(QueryMetricsRequestSchema, {
    ...{ namespace, metric, scope: MetricScope.FLEET, aggregations: [AVG, MIN, MAX, P95] },
    startTime: timestampFromMs(fromMs),
    endTime: timestampFromMs(toMs),
    step: durationFromMs(ONE_STEP_MS),
  });
  try {
    return (await history(request)).series;
  } catch (error) {
    if (error instanceof StoreUnavailableError) return undefined;
    throw error;
  }
}

/** Readings name no scope where there is only one. */
const isOfFleet = ({ scope, id }: MetricReading): boolean =>
  (scope === MetricScope.FLEET || scope === MetricScope.UNSPECIFIED) && id === '';

/** Of all points; there is one, unless the window has the end of a step in it. */
function overall(points: readonly MetricPoint[]): Partial<ReportFigure> {
  const counted = points.filter(({ count, values }) => count > 0n && values.length === 4);
  const total = counted.reduce((sum, { count }) => sum + Number(count), 0);
  if (total === 0) return {};
  const column = (index: number): number[] => counted.map(({ values }) => values[index] ?? 0);
  const sum = counted.reduce((all, { values, count }) => all + (values[0] ?? 0) * Number(count), 0);
  return {
    avg: sum / total,
    min: Math.min(...column(1)),
    max: Math.max(...column(2)),
    p95: Math.max(...column(3)),
  };
}
