import {
  Event_Severity,
  ServiceStatus_State as State,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { NewEvent } from '../events.ts';
import type { Judged } from './judge.ts';
import type { ServiceConfig } from './ports.ts';

/** What tells of a change. @param before how it was when the last change was told */
export function changeEvent(service: ServiceConfig, judged: Judged, before: Judged | undefined): NewEvent {
  const { name, probe } = service;
  const { state, detail, failures, latencyMs, sinceMs } = judged;
  const attributes: Record<string, string> = { service: name, probe };
  if (latencyMs !== undefined) attributes.latency_ms = latencyMs.toFixed(1);
  const common = { actor: 'rule:services', attributes };
  if (state === State.DOWN) {
    attributes.failures = String(failures);
    const message = `service ${name} is down: it ${detail}`;
    return { ...common, type: 'service.down', severity: Event_Severity.ERROR, message };
  }
  if (before !== undefined) attributes.after_seconds = String(Math.round((sinceMs - before.sinceMs) / 1000));
  if (state === State.SLOW) {
    const message = `service ${name} is slow: it ${detail}`;
    return { ...common, type: 'service.slow', severity: Event_Severity.WARNING, message };
  }
  const was = before?.state === State.SLOW ? 'slow' : 'down';
  const message = `service ${name} is well again after it was ${was}`;
  return { ...common, type: 'service.up', severity: Event_Severity.INFO, message };
}
