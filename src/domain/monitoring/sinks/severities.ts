import { AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';

type SeverityName = 'info' | 'warning' | 'critical';

const NAMES: Readonly<Record<AlertSeverity, SeverityName>> = {
  [AlertSeverity.UNSPECIFIED]: 'warning',
  [AlertSeverity.INFO]: 'info',
  [AlertSeverity.WARNING]: 'warning',
  [AlertSeverity.CRITICAL]: 'critical',
};

/** As configuration, labels and logs write it. */
export const severityName = (severity: AlertSeverity): SeverityName => NAMES[severity] ?? 'warning';
