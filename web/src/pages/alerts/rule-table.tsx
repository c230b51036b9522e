import type { AlertRule } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { Badge } from '../../components/badge.tsx';
import { Card, Empty, Loading } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { alertSeverity } from '../../components/states.ts';
import { count, enumName, measured, span, words } from '../../lib/format.ts';
import { durationMs } from '../../lib/time.ts';
import { alerts } from '../../store/live.ts';
import { useCall } from '../../store/query.ts';
import { throttled } from '../../store/throttled.ts';

const version = throttled(alerts.version, 2_000);

export function RuleTable() {
  const answer = useCall('AlertService', 'listAlertRules', {}, String(version.value)).value;
  const metrics = useCall('MonitoringService', 'listMetrics', {}, '').value.value?.metrics ?? [];
  const rules = answer.value?.rules;
  if (rules === undefined)
    return answer.error === undefined ? <Loading what="the rules" /> : <Empty title={answer.error} />;
  return (
    <Card title="Rules" flush>
      <ScrollX label="Rules">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Rule</th>
              <th scope="col">Fires when</th>
              <th scope="col">Clears when</th>
              <th scope="col">Severity</th>
              <th scope="col" class="number">
                Pending
              </th>
              <th scope="col" class="number">
                Firing
              </th>
            </tr>
          </thead>
          <tbody>
            {rules.map((rule) => (
              <tr key={rule.name} class={rule.disabled ? 'muted' : ''}>
                <th scope="row">
                  {rule.name}
                  <div class="cell-note">
                    {rule.disabled ? 'switched off' : rule.builtin ? 'comes with the service' : 'configured'}
                  </div>
                </th>
                <td>
                  {firesWhen(rule, metrics.find(({ name }) => name === rule.metric)?.unit ?? '')}
                  {rule.description !== '' && <div class="cell-note">{rule.description}</div>}
                </td>
                <td>{clearsWhen(rule, metrics.find(({ name }) => name === rule.metric)?.unit ?? '')}</td>
                <td>
                  <Badge {...alertSeverity(rule.severity)} plain />
                </td>
                <td class="number">{count(rule.pending)}</td>
                <td class="number">{count(rule.firing)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollX>
    </Card>
  );
}

function firesWhen(rule: AlertRule, unit: string): string {
  const forMs = durationMs(rule.forDuration) ?? 0;
  const lasting = forMs > 0 ? ` for ${span(forMs)}` : '';
  if (rule.metric === '') {
    const times =
      rule.eventCount > 1 ? `${rule.eventCount} times within ${span(durationMs(rule.eventWindow) ?? 0)}` : '';
    return `event ${rule.events.join(', ') || 'of the service itself'} ${times}${lasting}`;
  }
  const of = words(enumName(MetricScope, rule.scope));
  const resource = rule.resource === '' ? '' : ` of ${rule.resource}`;
  const chosen = rule.selector === '' ? '' : ` (${rule.selector})`;
  return `${rule.metric}${resource} of a ${of}${chosen} ${rule.below ? 'below' : 'above'} ${measured(unit, rule.threshold)}${lasting}`;
}

function clearsWhen(rule: AlertRule, unit: string): string {
  const forMs = durationMs(rule.clearForDuration) ?? 0;
  const lasting = forMs > 0 ? ` for ${span(forMs)}` : '';
  if (rule.metric !== '')
    return `${rule.below ? 'above' : 'below'} ${measured(unit, rule.clearThreshold)}${lasting}`;
  const after = durationMs(rule.expireAfter);
  return (
    [rule.clearEvents.join(', '), after === undefined ? '' : `after ${span(after)}`]
      .filter(Boolean)
      .join(', or ') || '–'
  );
}
