import { Alert_State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Ago } from '../../components/age.tsx';
import { Badge } from '../../components/badge.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { alertSeverity, alertState } from '../../components/states.ts';
import { timeMs } from '../../lib/time.ts';
import { href } from '../../router.ts';
import { firingAlerts } from '../../store/figures.ts';
import { alerts } from '../../store/live.ts';

const MOST = 6;

export function AlertsNow() {
  const firing = firingAlerts.value;
  const acknowledged = alerts
    .list()
    .filter(({ state, groupedUnder }) => state === Alert_State.ACKNOWLEDGED && groupedUnder === '');
  const shown = [...firing, ...acknowledged];
  return (
    <Card title="Alerts" flush aside={<a href={href(['alerts'])}>All alerts</a>}>
      {shown.length === 0 ? (
        <Empty title={alerts.complete.value ? 'Nothing fires' : 'No alerts heard of yet'} />
      ) : (
        <ul class="lines">
          {shown.slice(0, MOST).map((alert) => (
            <li key={alert.id}>
              <a class="line" href={href(['alerts'], { id: alert.id })}>
                <Badge {...alertSeverity(alert.severity)} />
                <span class="line-text">
                  <strong>{alert.rule}</strong> {alert.summary}
                </span>
                {alert.state === Alert_State.ACKNOWLEDGED && <Badge {...alertState(alert.state)} plain />}
                <Ago ms={timeMs(alert.fireTime ?? alert.startTime)} />
              </a>
            </li>
          ))}
          {shown.length > MOST && (
            <li class="lines-more">
              <a href={href(['alerts'])}>{shown.length - MOST} more</a>
            </li>
          )}
        </ul>
      )}
    </Card>
  );
}
