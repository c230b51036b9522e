import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSeverity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type AlertRecord,
  AlertRecord_TellingSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { SinkConfig } from '../../../config/monitoring-config.ts';
import { alertOf } from './alert-record.ts';

export const FIRING = 'firing';
export const RESOLVED = 'resolved';

const LEAST: Readonly<Record<SinkConfig['minSeverity'], AlertSeverity>> = {
  info: AlertSeverity.INFO,
  warning: AlertSeverity.WARNING,
  critical: AlertSeverity.CRITICAL,
};

/** The names of the sinks that are to hear of an alert. */
export function sinksOf(alert: Alert, ruleSinks: readonly string[], sinks: readonly SinkConfig[]): string[] {
  return sinks
    .filter(
      ({ name, alerts, minSeverity, namespaces }) =>
        alerts &&
        (ruleSinks.length === 0 || ruleSinks.includes(name)) &&
        alert.severity >= LEAST[minSeverity] &&
        (namespaces.length === 0 || namespaces.includes(alert.namespace)),
    )
    .map(({ name }) => name);
}

/** Whether sinks are to hear of it now. */
export interface Audience {
  sinks: readonly string[];
  /** A silence holds, another alert stands for it, or it is too early to say. */
  withheld: boolean;
}

/**
 * What sinks are to be told from now on, where that is not what they were to be told. What fires is told unless it is withheld,
 * and what was to be told before that and was not yet is taken back. Whoever was told that it fires is told that it is over.
 */
export function newTellings(record: AlertRecord, { sinks, withheld }: Audience): Map<string, string> {
  const { state } = alertOf(record);
  const { tellings } = record;
  const wanted = new Map<string, string>();
  if (state === Alert_State.RESOLVED) {
    for (const [sink, { want }] of Object.entries(tellings))
      if (want !== RESOLVED) wanted.set(sink, RESOLVED);
  } else if (withheld) {
    for (const [sink, { want, told }] of Object.entries(tellings)) {
      // It may be on its way all the same: the entry stays, so that the sink hears of the end.
      if (want === FIRING && told === '') wanted.set(sink, '');
    }
  } else if (state === Alert_State.FIRING) {
    for (const sink of sinks) if (tellings[sink]?.want !== FIRING) wanted.set(sink, FIRING);
  }
  return wanted;
}

export function setTellings(record: AlertRecord, audience: Audience): void {
  for (const [sink, want] of newTellings(record, audience)) {
    const telling = record.tellings[sink] ?? create(AlertRecord_TellingSchema);
    telling.want = want;
    record.tellings[sink] = telling;
  }
}
