import type { AlertCount } from '../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { MetricReading } from '../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import {
  type ServiceStatus,
  ServiceStatus_State,
} from '../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { severityName } from './domain/monitoring/sinks/severities.ts';
import type { Instruments } from './telemetry/instruments.ts';

const { OK, SLOW, DOWN } = ServiceStatus_State;
const KNOWN: readonly ServiceStatus_State[] = [OK, SLOW, DOWN];

/** What /metrics tells of monitoring itself. */
export interface MonitoringGauges {
  instruments: Pick<Instruments, 'observeFigures' | 'observeAlerts' | 'observeServices'>;
  /** Of all namespaces together. */
  readings(): MetricReading[];
  alerts(): AlertCount[];
  services(): ServiceStatus[];
}

export function observeMonitoring({ instruments, readings, alerts, services }: MonitoringGauges): void {
  instruments.observeFigures(readings);
  instruments.observeAlerts(() =>
    alerts().flatMap(({ severity, firing, acknowledged }) => [
      ['firing', severityName(severity), firing] as const,
      ['acknowledged', severityName(severity), acknowledged] as const,
    ]),
  );
  // Of a service that was not asked lately nothing is known.
  instruments.observeServices(() =>
    services()
      .filter(({ state }) => KNOWN.includes(state))
      .map(({ name, state }) => [name, state !== DOWN] as const),
  );
}
