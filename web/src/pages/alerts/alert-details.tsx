import type { Alert } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Ago, Moment } from '../../components/age.tsx';
import { Badge, Chip } from '../../components/badge.tsx';
import { Fact, Facts } from '../../components/card.tsx';
import { Sparkline } from '../../components/sparkline.tsx';
import { measured, millis, plural } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';
import { href } from '../../router.ts';
import { useCall } from '../../store/query.ts';

/** What it rests on, what was done about it, and whom it was told. */
export function AlertDetails({ alert, under }: { alert: Alert; under: readonly Alert[] }) {
  const rules = useCall('AlertService', 'listAlertRules', {}, '').value.value?.rules ?? [];
  const metrics = useCall('MonitoringService', 'listMetrics', {}, '').value.value?.metrics ?? [];
  const metric = rules.find(({ name }) => name === alert.rule)?.metric;
  const unit = metrics.find(({ name }) => name === metric)?.unit ?? '';
  const { acknowledgement: taken, samples } = alert;
  return (
    <div class="alert-details">
      {alert.description !== '' && <p>{alert.description}</p>}
      {isWebAddress(alert.runbookUrl) && (
        <p>
          <a href={alert.runbookUrl} target="_blank" rel="noreferrer noopener">
            Run book
          </a>
        </p>
      )}
      {taken !== undefined && (
        <p>
          Looked after by <strong>{taken.actor}</strong> <Ago ms={timeMs(taken.time)} />
          {taken.comment === '' ? '' : `: ${taken.comment}`}
        </p>
      )}
      <Facts>
        {alert.value !== undefined && <Fact name="Value">{measured(unit, alert.value)}</Fact>}
        {alert.threshold !== undefined && <Fact name="Threshold">{measured(unit, alert.threshold)}</Fact>}
        <Fact name="Since">
          <Moment ms={timeMs(alert.startTime)} />
        </Fact>
        {alert.fireTime !== undefined && (
          <Fact name="Fired">
            <Moment ms={timeMs(alert.fireTime)} />
          </Fact>
        )}
        {alert.resolveTime !== undefined && (
          <Fact name="Resolved">
            <Moment ms={timeMs(alert.resolveTime)} /> {alert.resolveReason}
          </Fact>
        )}
        {alert.fires > 1 && <Fact name="Within the last hour">fired {plural(alert.fires, 'time')}</Fact>}
        <Fact name="Judged by">
          {alert.replicaId || '–'}
          {alert.observerDelay !== undefined && (
            <span class="muted"> own delay {millis(durationMs(alert.observerDelay))}</span>
          )}
        </Fact>
        {alert.causeEventId !== '' && (
          <Fact name="Cause">
            <a href={href(['events', alert.causeEventId], {}, alert.namespace)}>event {alert.causeEventId}</a>
          </Fact>
        )}
      </Facts>
      {samples.length > 1 && (
        <div class="evidence-samples">
          <Sparkline
            values={samples.map(({ value }) => value)}
            limit={alert.threshold}
            label="What was judged"
          />
          <p class="cell-note">the last {samples.length} measurements</p>
        </div>
      )}
      <div class="chips">
        {Object.entries(alert.labels).map(([name, value]) => (
          <Chip key={name}>
            <span class="muted">{name}=</span>
            {value}
          </Chip>
        ))}
      </div>
      <Grouped alert={alert} under={under} />
      {alert.deliveries.length > 0 && (
        <ul class="plain-list">
          {alert.deliveries.map(({ sink, told, done, time, tries, error }) => (
            <li key={sink}>
              {done ? (
                <Badge tone="ok" mark="check" word={`told ${told}`} plain />
              ) : (
                <Badge
                  tone={error === '' ? 'info' : 'bad'}
                  mark={error === '' ? 'clock' : 'cross'}
                  word={`to tell ${told}`}
                  plain
                />
              )}
              <strong>{sink}</strong> <Ago ms={timeMs(time)} />
              {error !== '' && (
                <span class="muted">
                  {error} ({plural(tries, 'try', 'tries')})
                </span>
              )}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}

function Grouped({ alert, under }: { alert: Alert; under: readonly Alert[] }) {
  if (alert.groupedUnder !== '')
    return (
      <p class="note">
        Explained by <a href={href(['alerts'], { id: alert.groupedUnder })}>another alert</a>, and not sent by
        itself.
      </p>
    );
  if (alert.groupSize === 0) return null;
  const subjects =
    alert.groupSubjects.length > 0 ? alert.groupSubjects : under.map(({ labels }) => labels.agent_id ?? '');
  return (
    <div>
      <p class="note">It explains {plural(alert.groupSize, 'other alert')}, about</p>
      <div class="chips">
        {subjects
          .filter(Boolean)
          .slice(0, 16)
          .map((subject) => (
            <Chip key={subject}>{subject}</Chip>
          ))}
        {alert.groupSize > subjects.length && (
          <span class="muted">and {alert.groupSize - subjects.length} more</span>
        )}
      </div>
    </div>
  );
}

/** Run books come from the configuration: anything but a web address stays text. */
const isWebAddress = (text: string): boolean => /^https?:\/\//i.test(text);
