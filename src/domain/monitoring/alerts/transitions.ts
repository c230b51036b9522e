import { create } from '@bufbuild/protobuf';
import {
  type Alert,
  Alert_State,
  AlertSampleSchema,
  AlertSeverity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AlertRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import type { NewEvent } from '../events.ts';
import { alertOf } from './alert-record.ts';
import { type Draft, FIRED } from './drafts.ts';
import { severityWord } from './silencing.ts';

/** Why an alert is over. */
export type ResolveReason = 'cleared' | 'event' | 'rule_removed' | 'subject_removed' | 'expired';

/** So often within an hour is flapping. */
export const FLAPPING_FIRES = 4;
const HOUR_MS = 3_600_000;
const MAX_FIRES = 32;
export const MAX_SAMPLES = 16;

export const startMsOf = ({ startTime }: Pick<Alert, 'startTime'>): number =>
  startTime === undefined ? 0 : msFromTimestamp(startTime);
export const fireMsOf = ({ fireTime }: Pick<Alert, 'fireTime'>): number =>
  fireTime === undefined ? 0 : msFromTimestamp(fireTime);

/** When it fired within the hour before `storeMs`; what a clock that was set back says of the future does not count. */
export const recentFires = ({ fireMs }: Pick<AlertRecord, 'fireMs'>, storeMs: number): bigint[] =>
  fireMs.filter((ms) => Number(ms) > storeMs - HOUR_MS && Number(ms) <= storeMs);

/** It calls for somebody from now on. @param before the last one about the same subject, if any is kept */
export function fire(draft: Draft, before: Pick<AlertRecord, 'fireMs'> | undefined, storeMs: number): void {
  const { record } = draft;
  const alert = alertOf(record);
  const earlier = recentFires(before ?? record, storeMs);
  record.fireMs = [...earlier, BigInt(Math.round(storeMs))].slice(-MAX_FIRES);
  alert.state = Alert_State.FIRING;
  alert.fireTime = timestampFromMs(storeMs);
  alert.fires = record.fireMs.length;
  draft.events.push(() => eventOf(alert, FIRED, `${alert.rule}: ${alert.summary}`));
  if (alert.fires < FLAPPING_FIRES) return;
  alert.flapping = true;
  // Told once, when it begins.
  if (alert.fires > FLAPPING_FIRES) return;
  draft.events.push(() =>
    eventOf(
      alert,
      'alert.flapping',
      `${alert.rule} fired ${alert.fires} times within an hour: ${alert.summary}`,
    ),
  );
}

export function resolve(draft: Draft, reason: ResolveReason, storeMs: number, causeId = ''): void {
  const alert = alertOf(draft.record);
  alert.state = Alert_State.RESOLVED;
  alert.resolveTime = timestampFromMs(storeMs);
  alert.resolveReason = reason;
  alert.noData = false;
  draft.record.clearMs = 0n;
  const words = REASONS[reason];
  draft.events.push(() => ({
    ...eventOf(alert, 'alert.resolved', `${alert.rule} is over, ${words}: ${alert.summary}`),
    severity: Event_Severity.INFO,
    ...(causeId === '' ? {} : { causeId }),
  }));
}

const REASONS: Readonly<Record<ResolveReason, string>> = {
  cleared: 'because the figure is well again',
  event: 'because of what happened',
  rule_removed: 'because the rule is gone',
  subject_removed: 'because what it was about is gone',
  expired: 'because its time has passed',
};

/** Puts a measurement to those that were judged. */
export function addSamples(alert: Alert, samples: readonly { ms: number; value: number }[]): void {
  const lastMs = alert.samples.at(-1)?.time;
  const after = lastMs === undefined ? Number.NEGATIVE_INFINITY : msFromTimestamp(lastMs);
  for (const { ms, value } of samples) {
    if (ms > after) alert.samples.push(create(AlertSampleSchema, { time: timestampFromMs(ms), value }));
  }
  if (alert.samples.length > MAX_SAMPLES) alert.samples.splice(0, alert.samples.length - MAX_SAMPLES);
  const last = samples.at(-1);
  if (last !== undefined) alert.value = last.value;
}

/** An event about an alert. */
export function eventOf(alert: Alert, type: string, message: string): NewEvent {
  const attributes: Record<string, string> = {
    alert_id: alert.id,
    rule: alert.rule,
    alert_severity: severityWord(alert.severity),
  };
  for (const [name, value] of Object.entries(alert.labels)) attributes[`label.${name}`] = value;
  if (alert.value !== undefined) attributes.value = `${alert.value}`;
  if (alert.threshold !== undefined) attributes.threshold = `${alert.threshold}`;
  if (alert.resolveReason !== '') attributes.reason = alert.resolveReason;
  if (alert.groupedUnder !== '') attributes.grouped_under = alert.groupedUnder;
  const cause = type === FIRED ? alert.causeEventId : alert.eventId.startsWith('*') ? '' : alert.eventId;
  return {
    type,
    severity: SERIOUSNESS[alert.severity] ?? Event_Severity.WARNING,
    message,
    actor: `rule:${alert.rule}`,
    agentId: alert.labels.agent_id ?? '',
    ...(cause === '' ? {} : { causeId: cause }),
    attributes,
  };
}

const SERIOUSNESS: Readonly<Partial<Record<number, Event_Severity>>> = {
  [AlertSeverity.INFO]: Event_Severity.INFO,
  [AlertSeverity.WARNING]: Event_Severity.WARNING,
  [AlertSeverity.CRITICAL]: Event_Severity.ERROR,
};
