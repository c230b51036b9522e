import { AlertService } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import type { Acknowledge } from '../domain/monitoring/alerts/acknowledge.ts';
import type { AlertReader } from '../domain/monitoring/alerts/alert-reader.ts';
import type { watchAlerts } from '../domain/monitoring/alerts/alert-watch.ts';
import type { ChangeSilences } from '../domain/monitoring/alerts/change-silences.ts';
import { callerOf } from './caller.ts';
import { bindService, type ServiceBinding } from './service.ts';

export interface AlertServiceOptions {
  reader: AlertReader;
  acknowledge: Acknowledge;
  silences: ChangeSilences;
  watch(request: Parameters<typeof watchAlerts>[0], signal: AbortSignal): ReturnType<typeof watchAlerts>;
}

export function createAlertService({
  reader,
  acknowledge,
  silences,
  watch,
}: AlertServiceOptions): ServiceBinding {
  return bindService(AlertService, {
    getAlert: async (request) => reader.get(request),
    listAlerts: async (request) => reader.list(request),
    watchAlerts: (request, context) => watch(request, context.signal),
    acknowledgeAlert: (request, context) => acknowledge.acknowledge(request, callerOf(context)),
    listAlertRules: async () => reader.rules(),
    createSilence: (request, context) => silences.create(request, callerOf(context)),
    listSilences: async (request) => reader.silences(request),
    deleteSilence: (request, context) => silences.end(request, callerOf(context)),
    listAlertSinks: async () => reader.sinks(),
  });
}
