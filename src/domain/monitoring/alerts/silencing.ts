import type {
  Alert,
  AlertSeverity,
  Silence,
  SilenceMatcher,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { AlertView } from './alert-view.ts';

/** The words that matchers and sinks know severities by. */
const SEVERITY_WORDS = ['', 'info', 'warning', 'critical'] as const;

export const severityWord = (severity: AlertSeverity): string => SEVERITY_WORDS[severity] ?? '';

/** What matchers are compared with: an alert's labels, and three that every alert has. */
export function matchedLabels(alert: Alert): Readonly<Record<string, string>> {
  return {
    ...alert.labels,
    alertname: alert.rule,
    severity: severityWord(alert.severity),
    namespace: alert.namespace,
  };
}

function matcherHolds(matcher: SilenceMatcher, labels: Readonly<Record<string, string>>): boolean {
  const { name, value, negate } = matcher;
  const given = Object.hasOwn(labels, name) ? (labels[name] ?? '') : '';
  const holds = value.endsWith('*') ? given.startsWith(value.slice(0, -1)) && given !== '' : given === value;
  return holds !== negate;
}

/** Whether a silence is about an alert, whenever it holds. */
export function concerns(silence: Silence, alert: Alert, labels = matchedLabels(alert)): boolean {
  if (silence.namespace !== '' && silence.namespace !== alert.namespace) return false;
  return silence.matchers.every((matcher) => matcherHolds(matcher, labels));
}

export const startMsOf = ({ startTime }: Pick<Silence, 'startTime'>): number =>
  startTime === undefined ? 0 : msFromTimestamp(startTime);
export const endMsOf = ({ endTime }: Pick<Silence, 'endTime'>): number =>
  endTime === undefined ? 0 : msFromTimestamp(endTime);
export const isInForce = (silence: Silence, storeMs: number): boolean =>
  startMsOf(silence) <= storeMs && storeMs < endMsOf(silence);

/** The silences of a view that hold now; made once for many alerts. */
export class ActiveSilences {
  readonly #active: Silence[] = [];
  /** When the next one begins or ends; undefined: none will. */
  readonly nextMs: number | undefined;

  constructor(view: Pick<AlertView, 'silences'>, storeMs: number) {
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { record } of view.silences()) {
      const { silence } = record;
      if (silence === undefined) continue;
      if (isInForce(silence, storeMs)) this.#active.push(silence);
      for (const ms of [startMsOf(silence), endMsOf(silence)])
        if (ms > storeMs) nextMs = Math.min(nextMs, ms);
    }
    this.nextMs = nextMs === Number.POSITIVE_INFINITY ? undefined : nextMs;
  }

  /** Ids of those that keep this alert from sinks. */
  of(alert: Alert): string[] {
    if (this.#active.length === 0) return [];
    const labels = matchedLabels(alert);
    return this.#active.filter((silence) => concerns(silence, alert, labels)).map(({ id }) => id);
  }
}
