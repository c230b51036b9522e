import type { Alert } from '../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import type { SinkConfig } from '../config/monitoring-config.ts';
import type { Notice, SinkAdapter } from '../domain/monitoring/sinks/ports.ts';
import { severityName } from '../domain/monitoring/sinks/severities.ts';
import { msFromTimestamp } from '../lib/proto-time.ts';
import type { HttpClient } from './http-client.ts';
import { callError, checkAnswer } from './http-errors.ts';
import { httpTarget } from './http-target.ts';

export interface AlertmanagerOptions {
  config: Pick<SinkConfig, 'url' | 'headers'>;
  http: HttpClient;
  wallMs: () => number;
  /** How often it hears again of what fires. */
  resendMs: number;
}

/** One alert of the Alertmanager API v2 (`postableAlert`). */
export interface PostableAlert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  endsAt: string;
}

const MAX_ANSWER_BYTES = 65_536;
/** A firing alert counts as over when nothing was heard of it for so many times `alerts.resend`. */
const MISSED_RESENDS = 3;
const BATCH = 64;

/** Tells an Alertmanager what fires and what is over; it groups, routes and silences as it is configured itself. */
export function createAlertmanager(options: AlertmanagerOptions): SinkAdapter {
  const { config, http, wallMs, resendMs } = options;
  const { shown, url, headers, secrets } = httpTarget(config, '/api/v2/alerts');
  return {
    kind: 'alertmanager',
    target: shown,
    batch: BATCH,
    concurrency: 1,
    resends: true,
    sendAlerts: async (notices, signal) => {
      const nowMs = wallMs();
      const body = JSON.stringify(
        notices.map((notice) => postable(notice, nowMs + MISSED_RESENDS * resendMs)),
      );
      const answer = await http
        .call({
          ...{ url, method: 'POST', body, signal, maxBodyBytes: MAX_ANSWER_BYTES },
          headers: {
            'user-agent': 'mycosoft-orchestrator',
            ...headers,
            'content-type': 'application/json',
          },
        })
        .catch((error: unknown) => {
          throw callError(error, url, secrets);
        });
      checkAnswer(answer, url, secrets);
    },
    close: () => http.close(),
  };
}

/** @param untilMs when a firing one counts as over if nothing more is heard of it */
export function postable({ what, alert }: Notice, untilMs: number): PostableAlert {
  const startMs = timeOf(alert.fireTime) ?? timeOf(alert.startTime) ?? 0;
  const endMs = what === 'firing' ? untilMs : (timeOf(alert.resolveTime) ?? startMs);
  const { summary, description, runbookUrl } = alert;
  return {
    labels: labelsOf(alert),
    annotations: {
      summary,
      ...(description === '' ? {} : { description }),
      ...(runbookUrl === '' ? {} : { runbook_url: runbookUrl }),
      alert_id: alert.id,
    },
    startsAt: new Date(startMs).toISOString(),
    // It must be later than the start.
    endsAt: new Date(Math.max(endMs, startMs + 1)).toISOString(),
  };
}

/**
 * What tells alerts apart over there: the same from the first time to the last. Names of labels that Alertmanager before 0.27
 * does not take are written with "_".
 */
export function labelsOf(alert: Alert): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const name of Object.keys(alert.labels).sort()) {
    const value = alert.labels[name] ?? '';
    // An empty one is the same as none there.
    if (value === '') continue;
    let written = name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=\d|$)/, '_');
    while (written in labels || RESERVED.has(written)) written += '_';
    labels[written] = value;
  }
  return {
    ...labels,
    alertname: alert.rule,
    severity: severityName(alert.severity),
    namespace: alert.namespace,
  };
}

const RESERVED = new Set(['alertname', 'severity', 'namespace']);
const timeOf = (time: Alert['startTime']): number | undefined =>
  time === undefined ? undefined : msFromTimestamp(time);
