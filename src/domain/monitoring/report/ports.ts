import type { Alert } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { MetricReading } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import type {
  ListEventsRequest,
  ListEventsResponse,
  LivenessCount,
  QueryMetricsRequest,
  QueryMetricsResponse,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type {
  GetUsageRequest,
  GetUsageResponse,
  RebalancePlan,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';

/** What a report is made of. */
export interface ReportSources {
  /** What was measured. @throws StoreUnavailableError: history cannot be read now */
  history(request: QueryMetricsRequest): Promise<QueryMetricsResponse>;
  /** Time from one sample of a fleet to the next: `history.sample_interval`. */
  sampleMs: number;
  /** The four figures now. */
  readings(namespace: string): readonly MetricReading[];
  /** Agents now. */
  agents(namespace: string): readonly LivenessCount[];
  usage(request: GetUsageRequest): Promise<GetUsageResponse>;
  /** Moves that would help. @throws DomainError LIMIT_REACHED */
  plan(namespace: string): Promise<RebalancePlan>;
  events(request: ListEventsRequest): Promise<ListEventsResponse>;
  /** All alerts that are kept. */
  alerts(namespace: string): Iterable<Alert>;
  /** Tasks that ended within a time, and those that are open, by state. */
  tasks(namespace: string, window: Window): Promise<Map<string, bigint>>;
}

/** From (inclusive) to (exclusive), by the store's clock, milliseconds. */
export interface Window {
  fromMs: number;
  toMs: number;
}
