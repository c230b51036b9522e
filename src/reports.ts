import { create } from '@bufbuild/protobuf';
import type { Alert } from '../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { MetricReading } from '../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type LivenessCount,
  LivenessCountSchema,
  type QueryMetricsRequest,
  type QueryMetricsResponse,
} from '../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { RebalancePlanSchema } from '../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import type { Config } from './config/config.ts';
import { agentOf } from './domain/agent/record.ts';
import { alertOf } from './domain/monitoring/alerts/alert-record.ts';
import type { AlertView } from './domain/monitoring/alerts/alert-view.ts';
import type { EventLog } from './domain/monitoring/event-log.ts';
import { EventWriter } from './domain/monitoring/events.ts';
import { DailyReport } from './domain/monitoring/report/daily-report.ts';
import { Reports } from './domain/monitoring/report/reports.ts';
import { taskCounts } from './domain/monitoring/report/task-counts.ts';
import type { Fleet } from './fleet.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';

export interface CreateReportsOptions {
  config: Config;
  store: Store;
  fleet: Fleet;
  /** The four figures now. */
  readings(namespace: string): readonly MetricReading[];
  history: { run(request: QueryMetricsRequest): Promise<QueryMetricsResponse> };
  alerts: Pick<AlertView, 'records'>;
  events: Pick<EventLog, 'list'>;
  clock: Clock;
  log: Logger;
  background: Background;
}

/** Reports, and the chore that makes one a day, wired together. */
export function createReports(options: CreateReportsOptions): Reports {
  const { config, store, fleet, readings, history, alerts, events, clock, log, background } = options;
  const { directory, resources, tasks, storeTime } = fleet;
  const reports = new Reports({
    highUsage: config.alertThresholds.resourceUsage,
    nowMs: () => storeTime.ms(),
    sources: {
      readings,
      sampleMs: config.history.sampleIntervalMs,
      history: (request) => history.run(request),
      agents: (namespace) => livenessOf(fleet, namespace),
      usage: (request) => resources.usage.get(request),
      // Whoever names a namespace that is not there leaves nothing behind.
      plan: async (namespace) =>
        directory.count(namespace) === 0 ? create(RebalancePlanSchema) : resources.rebalancing.dry(namespace),
      events: (request) => events.list(request),
      alerts: (namespace) => alertsOf(alerts, namespace),
      tasks: (namespace, window) => taskCounts({ store, tasks: tasks.view }, namespace, window),
    },
  });
  if (config.capabilities.includes('monitoring')) {
    fleet.chores.push(
      new DailyReport({
        ...{ store, reports, background, log, at: config.report.at },
        events: new EventWriter({ replicaId: config.id, wallMs: () => clock.wallMs() }),
      }),
    );
  }
  return reports;
}

function livenessOf({ directory }: Fleet, namespace: string): LivenessCount[] {
  const counts = new Map<LivenessCount['liveness'], number>();
  for (const { record } of directory.all(namespace)) {
    const { liveness } = agentOf(record);
    counts.set(liveness, (counts.get(liveness) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([liveness, count]) => create(LivenessCountSchema, { liveness, count }));
}

function* alertsOf(view: Pick<AlertView, 'records'>, namespace: string): IterableIterator<Alert> {
  for (const [, { record }] of view.records(namespace)) yield alertOf(record);
}
