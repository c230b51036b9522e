import { Ago } from '../../components/age.tsx';
import { Badge } from '../../components/badge.tsx';
import { Card, Empty } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { count, span } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';
import { status } from '../../store/live.ts';

/** Where alerts and events are sent, as the status tells. */
export function SinkTable() {
  const sinks = status.value?.value.sinks ?? [];
  return (
    <Card title="Sinks" flush>
      {sinks.length === 0 ? (
        <Empty title="Alerts are sent nowhere">
          Name a webhook, an Alertmanager or a command under <code>alerts.sinks</code> in the configuration.
        </Empty>
      ) : (
        <ScrollX label="Sinks">
          <table class="table">
            <thead>
              <tr>
                <th scope="col">Sink</th>
                <th scope="col">State</th>
                <th scope="col">Last taken</th>
                <th scope="col" class="number">
                  Waiting
                </th>
                <th scope="col" class="number">
                  Sent
                </th>
                <th scope="col">Sent by</th>
              </tr>
            </thead>
            <tbody>
              {sinks.map((sink) => (
                <tr key={sink.name}>
                  <th scope="row">
                    {sink.name}
                    <div class="cell-note">
                      {sink.kind} {sink.target}
                    </div>
                  </th>
                  <td>
                    {sink.healthy ? (
                      <Badge tone="ok" mark="dot" word="works" plain />
                    ) : (
                      <Badge tone="bad" mark="cross" word="fails" plain />
                    )}
                    {sink.error !== '' && (
                      <div class="cell-note">
                        {sink.error} ({count(sink.failures)} in a row)
                        {sink.retryIn !== undefined &&
                          `, tried again in ${span(durationMs(sink.retryIn) ?? 0)}`}
                      </div>
                    )}
                  </td>
                  <td>
                    {sink.successTime === undefined ? (
                      <span class="muted">nothing yet</span>
                    ) : (
                      <Ago ms={timeMs(sink.successTime)} />
                    )}
                  </td>
                  <td class="number">{count(sink.waiting)}</td>
                  <td class="number">{count(sink.sent)}</td>
                  <td>{sink.replicaId}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </ScrollX>
      )}
    </Card>
  );
}
