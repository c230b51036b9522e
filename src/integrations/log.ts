import { AlertSeverity } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { SinkAdapter } from '../domain/monitoring/sinks/ports.ts';
import { severityName } from '../domain/monitoring/sinks/severities.ts';
import type { Logger } from '../lib/logger.ts';

/**
 * Writes each alert and event as one line of the service's log, and so to OpenTelemetry where logs are exported. Never as an
 * error: those are of the service itself.
 */
export function createLogSink(options: { log: Logger }): SinkAdapter {
  const { log } = options;
  return {
    kind: 'log',
    target: "the service's log",
    batch: 64,
    concurrency: 1,
    resends: false,
    sendAlerts: async (notices) => {
      for (const { what, alert, event } of notices) {
        const { id, namespace, rule, labels, summary, threshold, value } = alert;
        const fields = {
          alert: id,
          ...{ event_id: event.id, namespace, rule, state: what, labels, value, threshold },
          severity: severityName(alert.severity),
        };
        const isBad = what === 'firing' && alert.severity !== AlertSeverity.INFO;
        log[isBad ? 'warn' : 'info'](fields, `alert ${rule} ${what}: ${summary}`);
      }
    },
    sendEvent: async (event) => {
      const { id, type, source, subject, data } = event;
      log.info({ event_id: id, type, source, subject }, `event: ${String(data.message ?? '')}`);
    },
    close: () => {},
  };
}
