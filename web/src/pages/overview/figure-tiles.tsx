import { useMemo, useRef } from 'preact/hooks';
import type { AlertRule } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  Aggregation,
  type MetricReading,
  MetricScope,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { SystemStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Age } from '../../components/age.tsx';
import { Badge, type State } from '../../components/badge.tsx';
import { Sparkline } from '../../components/sparkline.tsx';
import { Minutes } from '../../lib/course.ts';
import { measured } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';
import { namespace } from '../../router.ts';
import { offsetMs } from '../../store/link.ts';
import { openings } from '../../store/live.ts';
import { useCall } from '../../store/query.ts';

interface Figure {
  metric: string;
  title: string;
  unit: string;
  below: boolean;
  /** Used until the rules have come. */
  threshold: number;
}

const FIGURES: readonly Figure[] = [
  { metric: 'agent_health', title: 'Agent health', unit: 'ratio', below: true, threshold: 0.9 },
  { metric: 'system_load', title: 'System load', unit: 'ratio', below: false, threshold: 0.8 },
  { metric: 'resource_usage', title: 'Resource usage', unit: 'ratio', below: false, threshold: 0.7 },
  { metric: 'communication_latency', title: 'Latency p95', unit: 'ms', below: false, threshold: 1_000 },
];

/** The four figures that have thresholds, with their last hour. */
export function FigureTiles({ status, at }: { status: SystemStatus; at: number }) {
  const rules = useCall('AlertService', 'listAlertRules', {}, '').value.value?.rules ?? [];
  return (
    <div class="tiles">
      {FIGURES.map((figure) => (
        <FigureTile
          key={figure.metric}
          figure={figure}
          rule={rules.find(({ name }) => name === figure.metric)}
          status={status}
          at={at}
        />
      ))}
    </div>
  );
}

function FigureTile({
  figure,
  rule,
  status,
  at,
}: {
  figure: Figure;
  rule: AlertRule | undefined;
  status: SystemStatus;
  at: number;
}) {
  const threshold = rule?.threshold ?? figure.threshold;
  const reading = worst(
    status.readings.filter(({ metric }) => metric === figure.metric),
    figure.below,
  );
  const value = reading?.value ?? fallback(figure, status);
  const state = judged(value, threshold, figure.below);
  const limit = measured(figure.unit, threshold);
  const readAt = reading?.age === undefined ? at : at - (durationMs(reading.age) ?? 0);
  return (
    <section class={`tile tone-${state.tone}`} aria-label={figure.title}>
      <header>
        <h2>{figure.title}</h2>
        {value !== undefined && <Badge {...state} />}
      </header>
      <p class="tile-value">
        {measured(figure.unit, value)}
        {reading?.resource !== undefined && reading.resource !== '' && (
          <span class="tile-of">{reading.resource}</span>
        )}
      </p>
      <Course
        key={`${namespace.value} ${reading?.resource}`}
        figure={figure}
        resource={reading?.resource ?? ''}
        limit={threshold}
        value={value}
        at={readAt}
      />
      <p class="tile-foot">
        <span>
          alert {figure.below ? 'below' : 'above'} {limit}
        </span>
        <span>{value === undefined ? 'nothing measured' : <Age at={readAt} />}</span>
      </p>
    </section>
  );
}

const POINTS = 60;
/** A young history is drawn over no less than this. */
const FEWEST = 10;
const STEP_MS = 60_000;

interface CourseProps {
  figure: Figure;
  resource: string;
  limit: number;
  /** The latest reading, and when by `steadyNow`. */
  value: number | undefined;
  at: number;
}

/** The last hour: from history, asked for once, and from what the stream brings since. */
function Course({ figure, resource, limit, value, at }: CourseProps) {
  const isLatency = figure.metric === 'communication_latency';
  const { current: minutes } = useRef(new Minutes(POINTS));
  useMemo(() => {
    if (value !== undefined) minutes.add(at + offsetMs.peek(), value);
  }, [value, at]);
  const answer = useCall(
    'MonitoringService',
    'queryMetrics',
    {
      namespace: namespace.value,
      metric: figure.metric,
      scope: MetricScope.FLEET,
      resource,
      step: { seconds: BigInt(STEP_MS / 1_000) },
      aggregations: [isLatency ? Aggregation.MAX : Aggregation.AVG],
    },
    `${namespace.value} ${figure.metric} ${resource} ${openings.value}`,
  ).value;
  const points = (answer.value?.series[0]?.points ?? []).map(({ time, values: [of] }) => ({
    ms: timeMs(time) ?? 0,
    value: of,
  }));
  const values = minutes.course(points, isLatency ? 'max' : 'mean');
  if (values.filter((each) => each !== undefined).length < 2)
    return (
      <p class="tile-none">
        {answer.error === undefined
          ? 'The course appears after a few minutes.'
          : `No history: ${answer.error}`}
      </p>
    );
  const began = Math.min(
    values.findIndex((each) => each !== undefined),
    POINTS - FEWEST,
  );
  return <Sparkline values={values.slice(began)} limit={limit} label={`${figure.title}, the last hour`} />;
}

function worst(readings: readonly MetricReading[], below: boolean): MetricReading | undefined {
  return readings
    .filter(({ value }) => value !== undefined)
    .sort((a, b) => ((b.value ?? 0) - (a.value ?? 0)) * (below ? -1 : 1))[0];
}

/** While no figures are served the status has three of the four. */
function fallback({ metric }: Figure, { fleet }: SystemStatus): number | undefined {
  if (metric === 'agent_health') return fleet?.health;
  if (metric === 'system_load') return fleet?.load;
  if (metric === 'communication_latency') return durationMs(fleet?.rttP95);
  return undefined;
}

function judged(value: number | undefined, threshold: number, below: boolean): State {
  if (value === undefined) return { tone: 'idle', mark: 'ring', word: 'unknown' };
  const crossed = below ? value < threshold : value > threshold;
  if (crossed) return { tone: 'bad', mark: 'triangle', word: below ? 'too low' : 'too high' };
  return { tone: 'ok', mark: 'check', word: 'fine' };
}
