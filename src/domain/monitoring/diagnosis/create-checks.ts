import type { AlertSink } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { ServiceStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Check } from './check.ts';
import type { AgentHealthOptions } from './checks/agent-health.ts';
import { verifyHealth } from './checks/agent-health.ts';
import { type AlertsCheckOptions, verifyAlerts } from './checks/alerts.ts';
import { type AllocationOptions, checkAllocation } from './checks/allocation.ts';
import { type CommunicationsOptions, reviewCommunications } from './checks/communications.ts';
import { type ConfigurationOptions, checkConfiguration } from './checks/configuration.ts';
import { type ConstraintsOptions, monitorConstraints } from './checks/constraints.ts';
import { type DashboardsOptions, monitorDashboards } from './checks/dashboards.ts';
import { type FailuresOptions, monitorFailures } from './checks/failures.ts';
import { type HistoryOptions, reviewHistory } from './checks/history.ts';
import { checkExporters, checkServices, checkSinks } from './checks/integrations.ts';
import { checkInteractions, type InteractionsOptions } from './checks/interactions.ts';
import { checkMetrics, type MetricsOptions } from './checks/metrics.ts';
import { type OperationsOptions, reviewOperations } from './checks/operations.ts';
import { type OptimizationOptions, reviewOptimization } from './checks/optimization.ts';
import { checkRegistration, type RegistrationOptions } from './checks/registration.ts';
import { monitorStability, type StabilityOptions } from './checks/stability.ts';
import { type StateOptions, verifyState } from './checks/state.ts';
import { type UsageCheckOptions, verifyUsage } from './checks/usage.ts';
import { checkVersions, type VersionsOptions } from './checks/versions.ts';
import type { ExporterHealth } from './ports.ts';

/** What each check looks at; those of monitoring itself are left out where this replica does none. */
export interface CheckOptions {
  interactions: InteractionsOptions;
  state: StateOptions;
  stability: StabilityOptions;
  operations: OperationsOptions;
  registration: RegistrationOptions;
  health: AgentHealthOptions;
  failures: FailuresOptions;
  communications: CommunicationsOptions;
  metrics?: MetricsOptions | undefined;
  alerts?: AlertsCheckOptions | undefined;
  dashboards: DashboardsOptions;
  history?: HistoryOptions | undefined;
  allocation: AllocationOptions;
  usage: UsageCheckOptions;
  constraints: ConstraintsOptions;
  optimization: OptimizationOptions;
  sinks?: (() => readonly AlertSink[]) | undefined;
  services?: (() => readonly ServiceStatus[]) | undefined;
  exporters(): readonly ExporterHealth[];
  versions: VersionsOptions;
  configuration: ConfigurationOptions;
}

/** The checks in the order of the debugging steps: the sixteen common issues of the requirements, and what is integrated. */
export function createChecks(options: CheckOptions): Check[] {
  const { metrics, alerts, history, sinks, services } = options;
  return [
    checkInteractions(options.interactions),
    verifyState(options.state),
    monitorStability(options.stability),
    reviewOperations(options.operations),
    checkRegistration(options.registration),
    verifyHealth(options.health),
    monitorFailures(options.failures),
    reviewCommunications(options.communications),
    ...(metrics === undefined ? [] : [checkMetrics(metrics)]),
    ...(alerts === undefined ? [] : [verifyAlerts(alerts)]),
    monitorDashboards(options.dashboards),
    ...(history === undefined ? [] : [reviewHistory(history)]),
    checkAllocation(options.allocation),
    verifyUsage(options.usage),
    monitorConstraints(options.constraints),
    reviewOptimization(options.optimization),
    ...(sinks === undefined ? [] : [checkSinks(sinks)]),
    ...(services === undefined ? [] : [checkServices(services)]),
    checkExporters(options.exporters),
    checkVersions(options.versions),
    checkConfiguration(options.configuration),
  ];
}
