import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type { Reading } from '../ports.ts';
import type { MetricCondition } from './rule.ts';

/** What metrics are called in sentences; others go by their names. */
const WORDS: Readonly<Record<string, string>> = {
  system_load: 'load',
  agent_health: 'health',
  resource_usage: 'usage',
  communication_latency: 'communication latency',
  dead_letters: 'dead letters',
  event_loop_delay: 'event-loop delay',
  store_commit: 'time of commits (p99)',
};

const UNITS: Readonly<Record<string, string>> = {
  communication_latency: ' ms',
  event_loop_delay: ' ms',
  store_commit: ' ms',
  service_latency: ' ms',
  task_wait: ' ms',
};

const SUBJECTS: Readonly<Record<number, string>> = {
  [MetricScope.ZONE]: 'zone',
  [MetricScope.AGENT]: 'agent',
  [MetricScope.REPLICA]: 'replica',
  [MetricScope.SERVICE]: 'service',
};

const subjectOf = (scope: MetricScope, id: string): string =>
  scope === MetricScope.FLEET ? 'fleet' : `${SUBJECTS[scope] ?? ''} ${id}`;

/** As many digits as tell it apart from what it is compared with. */
function figure(value: number): string {
  if (Number.isInteger(value)) return `${value}`;
  return Math.abs(value) >= 100 ? value.toFixed(0) : `${Number(value.toPrecision(3))}`;
}

/** What is wrong, in a sentence with the figures. */
export function summaryOf(
  condition: MetricCondition,
  reading: Pick<Reading, 'id' | 'resource' | 'value'>,
): string {
  const { metric, scope, below, threshold, growthMs } = condition;
  const { id, resource, value } = reading;
  const unit = UNITS[metric] ?? '';
  const of = resource === '' ? '' : ` of ${resource}`;
  const what = `${subjectOf(scope, id)}: ${WORDS[metric] ?? metric}${of}`;
  if (value === undefined) return `${what} is not measured any more`;
  if (metric === 'service_up') return `service ${id} is down`;
  if (metric === 'sink_up') return `sink ${id} does not take what it is sent`;
  if (growthMs > 0) return `${what} grew by ${figure(value)} within ${growthMs / 60_000} min`;
  return `${what} ${figure(value)}${unit} is ${below ? 'below' : 'above'} ${figure(threshold)}${unit}`;
}
