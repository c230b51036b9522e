import {
  type Alert,
  Alert_State,
  type AlertRule,
  AlertSeverity,
  type AlertSink,
} from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import { SYSTEM_NAMESPACE } from '../../../namespaces.ts';
import type { Check, Found } from '../check.ts';
import { count, few, time } from '../words.ts';
import { worst } from '../worst.ts';

export interface AlertsCheckOptions {
  /** Pending, firing and acknowledged ones, of one namespace. */
  open(namespace: string): Iterable<Alert>;
  /** Resolved ones of which not every sink knows it. */
  untold(namespace: string): Iterable<Alert>;
  rules(): readonly AlertRule[];
  sinks(): readonly AlertSink[];
  storeMs(): number;
}

/** A sink has an alert within a second. */
const UNSENT_MS = 60_000;
/** Rules of the requirements. */
const FOUR = ['system_load', 'agent_health', 'resource_usage', 'communication_latency'];

/** What fires, whether it is told, and whether there are rules. */
export function verifyAlerts(options: AlertsCheckOptions): Check {
  return {
    id: 'system_monitoring.verify_alerts',
    step: 3,
    async run(scope) {
      const found: Found[] = [];
      let open = 0;
      for (const namespace of [...scope.namespaces, ...(scope.whole ? [SYSTEM_NAMESPACE] : [])]) {
        const alerts = [...options.open(namespace)];
        open += alerts.length;
        found.push(
          ...firing(alerts, namespace),
          ...unsent([...alerts, ...options.untold(namespace)], options.storeMs(), namespace),
        );
      }
      const rules = options.rules();
      if (scope.whole) found.push(...switchedOff(rules), ...logged(options.sinks()));
      const on = rules.filter(({ disabled }) => !disabled).length;
      return { found, well: `${count(on, 'rule')} in force, ${count(open, 'alert')} open, all told.` };
    },
  };
}

const SEVERITIES: ReadonlyMap<AlertSeverity, Finding_Severity> = new Map([
  [AlertSeverity.INFO, Finding_Severity.INFO],
  [AlertSeverity.WARNING, Finding_Severity.WARNING],
  [AlertSeverity.CRITICAL, Finding_Severity.CRITICAL],
]);

function firing(alerts: readonly Alert[], namespace: string): Found[] {
  const byRule = new Map<string, Alert[]>();
  for (const alert of alerts) {
    if (alert.state !== Alert_State.FIRING || alert.groupedUnder !== '' || alert.silenceIds.length > 0)
      continue;
    byRule.set(alert.rule, [...(byRule.get(alert.rule) ?? []), alert]);
  }
  return [...byRule].map(([rule, some]): Found => {
    const severities = some.map(({ severity }) => SEVERITIES.get(severity) ?? Finding_Severity.WARNING);
    return {
      code: 'alerts_firing',
      severity: worst(severities.map((severity) => ({ severity }))),
      summary: `${count(some.length, 'alert')} of rule ${rule} fire${some.length === 1 ? 's' : ''}, and nobody has acknowledged ${some.length === 1 ? 'it' : 'them'}.`,
      evidence: some.map(({ summary }) => summary),
      advice:
        some.find(({ description }) => description !== '')?.description ??
        `orchestrator alerts get ${some[0]?.id ?? ''}`,
      namespace,
      subjects: some.map(({ id }) => id),
    };
  });
}

function unsent(alerts: readonly Alert[], storeMs: number, namespace: string): Found[] {
  const late = alerts.flatMap((alert) => {
    const isOver = alert.state === Alert_State.RESOLVED;
    const changeTime = isOver ? alert.resolveTime : alert.fireTime;
    const since = changeTime === undefined ? 0 : storeMs - msFromTimestamp(changeTime);
    const missing = alert.deliveries.filter(({ done }) => !done);
    if (since < UNSENT_MS || missing.length === 0 || alert.silenceIds.length > 0 || alert.groupedUnder !== '')
      return [];
    const sinks = missing.map(({ sink, error }) => (error === '' ? sink : `${sink} (${error})`));
    return [
      {
        alert,
        words: `${alert.rule}: ${isOver ? 'resolved' : 'fired'} ${time(since)} ago, not told to ${few(sinks)}`,
      },
    ];
  });
  if (late.length === 0) return [];
  return [
    {
      code: 'alerts_not_told',
      severity: Finding_Severity.CRITICAL,
      summary: `${count(late.length, 'alert')} fired or resolved, and not every sink knows it.`,
      evidence: late.map(({ words }) => words),
      advice: 'orchestrator alerts sinks',
      namespace,
      subjects: late.map(({ alert }) => alert.id),
    },
  ];
}

function switchedOff(rules: readonly AlertRule[]): Found[] {
  const off = rules.filter(({ disabled, builtin }) => disabled && builtin).map(({ name }) => name);
  const missing = FOUR.filter((name) => !rules.some((rule) => rule.name === name && !rule.disabled));
  if (off.length === 0 && missing.length === 0) return [];
  return [
    {
      code: 'alert_rules_off',
      severity: missing.length > 0 ? Finding_Severity.WARNING : Finding_Severity.INFO,
      summary: `Built-in alert rules are switched off: ${few(off.length === 0 ? missing : off)}.`,
      evidence: missing.map((name) => `the threshold of ${name} fires nothing`),
      advice: 'Take their "disabled" out of alerts.rules.',
      subjects: [...new Set([...off, ...missing])],
    },
  ];
}

function logged(sinks: readonly AlertSink[]): Found[] {
  if (sinks.some(({ kind }) => kind !== 'log')) return [];
  return [
    {
      code: 'alerts_only_logged',
      severity: Finding_Severity.INFO,
      summary: 'Alerts are written to the log and sent nowhere.',
      advice: 'Name a webhook, an Alertmanager or a command in alerts.sinks.',
    },
  ];
}
