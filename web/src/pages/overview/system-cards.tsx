import type { SystemStatus } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Age, Ago } from '../../components/age.tsx';
import { Badge } from '../../components/badge.tsx';
import { Card, Fact, Facts } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { serviceState } from '../../components/states.ts';
import { bytes, count, millis, percent } from '../../lib/format.ts';
import { durationMs, timeMs } from '../../lib/time.ts';

export function ReplicasCard({ status, at }: { status: SystemStatus; at: number }) {
  const replicas = [...status.replicas].sort((a, b) => a.id.localeCompare(b.id));
  const versions = new Set(replicas.map(({ version }) => version).filter((version) => version !== ''));
  return (
    <Card
      title="Replicas"
      flush
      aside={versions.size > 1 ? <Badge tone="warn" mark="triangle" word="versions differ" /> : undefined}
    >
      <ScrollX label="Replicas">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Replica</th>
              <th scope="col" class="number">
                Sessions
              </th>
              <th scope="col" class="number">
                Loop p99
              </th>
              <th scope="col" class="number">
                CPU
              </th>
              <th scope="col" class="number">
                Memory
              </th>
              <th scope="col" class="number">
                Reading
              </th>
            </tr>
          </thead>
          <tbody>
            {replicas.map((replica) => {
              const loop = durationMs(replica.eventLoopDelayP99) ?? 0;
              return (
                <tr key={replica.id}>
                  <th scope="row">
                    {replica.id}
                    {replica.id === status.replica?.id && <span class="muted"> (answers)</span>}
                    {replica.draining && <Badge tone="info" mark="half" word="leaving" plain />}
                    {versions.size > 1 && <span class="muted"> {replica.version}</span>}
                  </th>
                  <td class="number">{count(replica.sessions)}</td>
                  <td class={`number${loop > 200 ? ' tone-bad' : loop > 100 ? ' tone-warn' : ''}`}>
                    {millis(loop)}
                  </td>
                  <td class="number">{replica.cpuCores.toFixed(2)}</td>
                  <td class="number">{bytes(Number(replica.memoryBytes))}</td>
                  <td class="number">
                    <Age at={at - (durationMs(replica.age) ?? 0)} />
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </ScrollX>
    </Card>
  );
}

export function StoreCard({ status }: { status: SystemStatus }) {
  const store = status.store;
  if (store === undefined) return null;
  return (
    <Card
      title="Store"
      aside={
        store.available ? (
          <Badge tone="ok" mark="dot" word="available" />
        ) : (
          <Badge tone="bad" mark="cross" word="away" />
        )
      }
    >
      {store.detail !== '' && <p class="note">{store.detail}</p>}
      <Facts>
        <Fact name="Kind">{store.kind}</Fact>
        <Fact name="An acknowledgement is worth">{store.durability}</Fact>
        <Fact name="Commit p99">{millis(durationMs(store.commitP99))}</Fact>
        <Fact name="Verdicts that wait">{count(store.pendingVerdicts)}</Fact>
        <Fact name="Since">
          <Ago ms={timeMs(store.since)} />
        </Fact>
      </Facts>
    </Card>
  );
}

export function ServicesCard({ status, at }: { status: SystemStatus; at: number }) {
  if (status.services.length === 0) return null;
  return (
    <Card title="System services" flush>
      <ScrollX label="System services">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">Service</th>
              <th scope="col">State</th>
              <th scope="col" class="number">
                Latency
              </th>
              <th scope="col" class="number">
                Last hour
              </th>
              <th scope="col" class="number">
                Asked
              </th>
            </tr>
          </thead>
          <tbody>
            {status.services.map((service) => (
              <tr key={service.name}>
                <th scope="row" title={service.target}>
                  {service.name} <span class="muted">{service.probe}</span>
                </th>
                <td>
                  <Badge {...serviceState(service.state)} plain title={service.detail} />
                  {service.detail !== '' && <div class="cell-note">{service.detail}</div>}
                </td>
                <td class="number">{millis(durationMs(service.latency))}</td>
                <td class="number">{percent(service.availability)}</td>
                <td class="number">
                  <Age at={at - (durationMs(service.age) ?? 0)} oldMs={120_000} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </ScrollX>
    </Card>
  );
}

export function SinksCard({ status }: { status: SystemStatus }) {
  if (status.sinks.length === 0) return null;
  return (
    <Card title="Where alerts go" flush>
      <ul class="lines">
        {status.sinks.map((sink) => (
          <li key={sink.name} class="line">
            {sink.healthy ? (
              <Badge tone="ok" mark="dot" word="works" />
            ) : (
              <Badge tone="bad" mark="cross" word="fails" />
            )}
            <span class="line-text">
              <strong>{sink.name}</strong> <span class="muted">{sink.kind}</span> {sink.error}
            </span>
            {sink.waiting > 0 && <span class="muted">{count(sink.waiting)} wait</span>}
            <span class="muted">
              {sink.successTime === undefined ? 'nothing sent' : <Ago ms={timeMs(sink.successTime)} />}
            </span>
          </li>
        ))}
      </ul>
    </Card>
  );
}
