import { useMemo } from 'preact/hooks';
import { Aggregation, MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { QueryMetricsResponse } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Card } from '../../components/card.tsx';
import { Chart, type ChartSeries } from '../../components/chart.tsx';
import { millis, percent } from '../../lib/format.ts';
import { timeMs, toTime } from '../../lib/time.ts';
import { namespace, place, setQuery } from '../../router.ts';
import { courseOf } from '../../store/agent-course.ts';
import { replicaNow } from '../../store/link.ts';
import { openings } from '../../store/live.ts';
import { type Answer, useCall } from '../../store/query.ts';

interface Span {
  name: string;
  ms: number;
}

const SPANS: readonly Span[] = [
  { name: '15 min', ms: 15 * 60_000 },
  { name: '1 h', ms: 3_600_000 },
  { name: '6 h', ms: 6 * 3_600_000 },
  { name: '24 h', ms: 24 * 3_600_000 },
  { name: '7 d', ms: 7 * 24 * 3_600_000 },
];
/** History has minutes, and is asked for once; what is newer comes from the stream. */
const MINUTE_MS = 60_000;

/** Round trips, health and load: from history, with the latest readings of the stream behind it. */
export function AgentCharts({ id }: { id: string }) {
  const chosen = SPANS.find(({ name }) => name === place.value.query.get('span')) ?? (SPANS[0] as Span);
  const rtt = useHistory(id, 'communication_latency', chosen, [Aggregation.P50, Aggregation.P95]);
  const health = useHistory(id, 'agent_health', chosen, [Aggregation.MIN]);
  const load = useHistory(id, 'system_load', chosen, [Aggregation.AVG]);
  const course = courseOf(id);
  const to = replicaNow.value / 1_000;
  const range: [number, number] = [to - chosen.ms / 1_000, to];
  const parts = course.value;
  const drawn = useMemo(() => {
    const from = Math.max(...[rtt, health, load].map(lastTime), range[0]);
    const live = parts.filter(({ time }) => time > from);
    return {
      rtt: join(rtt, live, (point) => [point.p50, point.p95]),
      state: merge(
        join(health, live, (point) => [point.health]),
        join(load, live, (point) => [point.load]),
      ),
    };
  }, [rtt, health, load, parts, chosen]);
  const away = [rtt, health, load].find(({ error }) => error !== undefined)?.error;
  const spans = (
    <fieldset class="spans">
      <legend class="unseen">Time shown</legend>
      {SPANS.map(({ name }, index) => (
        <button
          key={name}
          type="button"
          class="toggle"
          aria-pressed={name === chosen.name}
          onClick={() => setQuery({ span: index === 0 ? '' : name })}
        >
          {name}
        </button>
      ))}
    </fieldset>
  );
  const [p50 = [], p95 = []] = drawn.rtt.values;
  const [score = [], busy = []] = drawn.state.values;
  const rttSeries: ChartSeries[] = [
    { label: 'p50', colour: '--accent', values: p50 },
    { label: 'p95', colour: '--warn-fill', values: p95 },
  ];
  const stateSeries: ChartSeries[] = [
    { label: 'health', colour: '--ok-fill', values: score },
    { label: 'load', colour: '--info-fill', dash: [5, 3], values: busy },
  ];
  return (
    <div class="chart-row">
      <Card title="Round trip" aside={spans}>
        <Chart
          label="Round trip"
          times={drawn.rtt.times}
          series={rttSeries}
          format={millis}
          range={range}
          top={1}
        />
        {away !== undefined && (
          <p class="note">No history: {away}. What is drawn came since this page was opened.</p>
        )}
      </Card>
      <Card title="Health and load">
        <Chart
          label="Health and load"
          times={drawn.state.times}
          series={stateSeries}
          format={percent}
          range={range}
          top={1}
          fixed
        />
      </Card>
    </div>
  );
}

function useHistory(
  id: string,
  metric: string,
  span: Span,
  aggregations: Aggregation[],
): Answer<QueryMetricsResponse> {
  const end = (Math.floor(replicaNow.peek() / MINUTE_MS) + 1) * MINUTE_MS;
  return useCall(
    'MonitoringService',
    'queryMetrics',
    {
      namespace: namespace.value,
      metric,
      scope: MetricScope.AGENT,
      ids: [id],
      startTime: toTime(end - span.ms),
      endTime: toTime(end),
      aggregations,
    },
    `${namespace.value} ${id} ${metric} ${span.name} ${openings.value}`,
  ).value;
}

interface Drawn {
  times: number[];
  values: (number | null)[][];
}

function lastTime(answer: Answer<QueryMetricsResponse>): number {
  return (timeMs(answer.value?.series[0]?.points.at(-1)?.time) ?? 0) / 1_000;
}

/** History first, then what the stream brought since. A gap of more than three steps is drawn as one. */
function join<P extends { time: number }>(
  answer: Answer<QueryMetricsResponse>,
  live: readonly P[],
  of: (point: P) => (number | undefined)[],
): Drawn {
  const points = answer.value?.series[0]?.points ?? [];
  const stepS = Number(answer.value?.step?.seconds ?? 60n);
  const width = answer.value?.aggregations.length ?? of(live[0] ?? ({ time: 0 } as P)).length;
  const drawn: Drawn = { times: [], values: Array.from({ length: width }, () => []) };
  const add = (time: number, values: readonly (number | null | undefined)[]) => {
    const before = drawn.times.at(-1);
    if (before !== undefined && time - before > stepS * 3) {
      drawn.times.push(before + stepS);
      for (const column of drawn.values) column.push(null);
    }
    drawn.times.push(time);
    for (const [index, column] of drawn.values.entries()) column.push(values[index] ?? null);
  };
  for (const { time, values } of points) add((timeMs(time) ?? 0) / 1_000, values);
  for (const point of live) add(point.time, of(point));
  return drawn;
}

/** Two courses on one axis of time. */
function merge(a: Drawn, b: Drawn): Drawn {
  const times = [...new Set([...a.times, ...b.times])].sort((left, right) => left - right);
  const spread = ({ times: own, values }: Drawn) => {
    const places = new Map(own.map((time, index) => [time, index]));
    return values.map((column) =>
      times.map((time) => {
        const index = places.get(time);
        return index === undefined ? null : (column[index] ?? null);
      }),
    );
  };
  return { times, values: [...spread(a), ...spread(b)] };
}
