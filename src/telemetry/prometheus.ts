import type { Attributes } from '@opentelemetry/api';
import { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import type { MetricData, ResourceMetrics } from '@opentelemetry/sdk-metrics';
import { METRIC } from './names.ts';

/** What Prometheus' own client libraries call these. */
const STANDARD: Readonly<Record<string, string>> = {
  [METRIC.cpuTime]: 'process_cpu_seconds',
  [METRIC.memory]: 'process_resident_memory_bytes',
  [METRIC.openFiles]: 'process_open_fds',
  [METRIC.buildInfo]: 'orchestrator_build_info',
};

const SUFFIX: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes', '1': '_ratio' };

/** `rpc.server.call.duration` in `s` is `orchestrator_rpc_server_call_duration_seconds`; `_total` comes from the serializer. */
export function prometheusName(name: string, unit: string): string {
  const standard = STANDARD[name];
  if (standard !== undefined) return standard;
  const plain = name.replace(/[^A-Za-z0-9_]/g, '_');
  const prefixed = /^(orchestrator|process)_/.test(plain) ? plain : `orchestrator_${plain}`;
  const suffix = SUFFIX[unit] ?? '';
  return prefixed.endsWith(suffix) ? prefixed : prefixed + suffix;
}

const serializer = new PrometheusSerializer(undefined, false, undefined, true, true);

/** The text format, without scope labels and target_info. */
export function prometheusText(metrics: ResourceMetrics): string {
  const scopeMetrics = metrics.scopeMetrics.map((scope) => ({
    ...scope,
    metrics: scope.metrics.map(renamed),
  }));
  return `${serializer.serialize({ ...metrics, scopeMetrics }).trimEnd()}\n`;
}

function renamed(metric: MetricData): MetricData {
  const { name, unit } = metric.descriptor;
  // A "# UNIT" line belongs to OpenMetrics; the suffix says it.
  const descriptor = { ...metric.descriptor, name: prometheusName(name, unit), unit: '' };
  const dataPoints = metric.dataPoints.map((point) => ({ ...point, attributes: labels(point.attributes) }));
  return { ...metric, descriptor, dataPoints } as MetricData;
}

/** Our own attributes lose their prefix: the metric's name has it. */
function labels(attributes: Attributes): Attributes {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [name.replace(/^orchestrator\./, ''), value]),
  );
}
