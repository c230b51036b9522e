import type { MetricReading } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  Finding_Severity,
  type ReplicaStatus,
} from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromDuration } from '../../../../lib/proto-time.ts';
import type { Check, Found } from '../check.ts';
import { count, few, time } from '../words.ts';

export interface MetricsOptions {
  /** The four figures with thresholds; undefined: over all namespaces. */
  readings(namespace: string | undefined): MetricReading[];
  /** When all figures were last reckoned as a whole, wall clock; undefined: not since this replica started. */
  analysedMs(): number | undefined;
  startedMs: number;
  wallMs(): number;
  monitoringIntervalMs: number;
  own(): ReplicaStatus;
}

/** Readings of agents are this many ping intervals old at most, with time for a replica that has just started. */
const OLD_PINGS = 4;
const OLD_LEAST_MS = 60_000;

/** Whether what is measured is of now. */
export function checkMetrics(options: MetricsOptions): Check {
  return {
    id: 'system_monitoring.check_metrics',
    step: 3,
    async run({ namespaces, whole }) {
      const { readings, analysedMs, startedMs, wallMs, monitoringIntervalMs, own } = options;
      const found: Found[] = [];
      const { pingInterval } = own();
      const oldMs = Math.max(
        OLD_LEAST_MS,
        OLD_PINGS * (pingInterval === undefined ? 0 : msFromDuration(pingInterval)),
      );
      const all = whole ? readings(undefined) : namespaces.flatMap((namespace) => readings(namespace));
      const old = all.filter(
        ({ age, value }) => value !== undefined && age !== undefined && msFromDuration(age) > oldMs,
      );
      if (old.length > 0) {
        found.push({
          code: 'metrics_stale',
          severity: Finding_Severity.WARNING,
          summary: `${count(old.length, 'figure')} stand on measurements that are older than ${time(oldMs)}.`,
          evidence: old.map(
            ({ metric, resource, age }) =>
              `${metric}${resource === '' ? '' : ` of ${resource}`}: the oldest measurement is ${time(age === undefined ? 0 : msFromDuration(age))} old`,
          ),
          advice:
            'Some agents are attached to a replica that is not heard, or do not report: orchestrator agents list.',
          subjects: [...new Set(old.map(({ metric }) => metric))],
        });
      }
      const sinceMs = wallMs() - (analysedMs() ?? startedMs);
      if (whole && sinceMs > 2 * monitoringIntervalMs + OLD_LEAST_MS) {
        found.push({
          code: 'analysis_overdue',
          severity: Finding_Severity.WARNING,
          summary: `The figures were last analysed as a whole ${time(sinceMs)} ago.`,
          evidence: [`monitoring_interval is ${time(monitoringIntervalMs)}`],
          advice: 'See the log of this replica.',
        });
      }
      const known = all.filter(({ value }) => value !== undefined);
      const words = known.map(
        ({ metric, resource, value }) =>
          `${metric}${resource === '' ? '' : `(${resource})`} ${value?.toFixed(2)}`,
      );
      return {
        found,
        well: known.length === 0 ? 'No agent reports anything yet.' : `Measured now: ${few(words, 8)}.`,
      };
    },
  };
}
