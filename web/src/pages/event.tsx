import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Moment } from '../components/age.tsx';
import { Badge } from '../components/badge.tsx';
import { Card, Empty, Fact, Facts, Loading } from '../components/card.tsx';
import { eventSeverity } from '../components/states.ts';
import { millis } from '../lib/format.ts';
import { durationMs, timeMs } from '../lib/time.ts';
import { href, namespace, place } from '../router.ts';
import { useCall } from '../store/query.ts';
import { Timeline } from './events/timeline.tsx';

/** One event between what led to it and what came of it. */
export function EventPage() {
  const id = place.value.path[1] ?? '';
  const { value, error } = useCall(
    'MonitoringService',
    'getEvent',
    { namespace: namespace.value, eventId: id },
    `${namespace.value} ${id}`,
  ).value;
  if (value?.event === undefined) {
    if (error === undefined) return <Loading what={`event ${id}`} />;
    return <Empty title={`Event ${id} cannot be shown`}>{error}</Empty>;
  }
  const { event, causes, consequences, truncated } = value;
  return (
    <div class="stack-of-cards one-column">
      <Card title={causes.length === 0 ? 'What led to it' : 'What led to it, nearest first'} flush>
        {causes.length === 0 ? (
          <Empty
            title={
              event.causeId === ''
                ? 'No event caused it'
                : `Its cause, event ${event.causeId}, is not kept any more`
            }
          />
        ) : (
          <Timeline events={causes} />
        )}
      </Card>
      <EventCard event={event} />
      <Card title="What came of it, oldest first" flush>
        {consequences.length === 0 ? (
          <Empty title="No event names it as a cause, directly or by way of others" />
        ) : (
          <Timeline events={consequences} />
        )}
        {truncated && <p class="more-note muted">There may be more than these.</p>}
      </Card>
    </div>
  );
}

function EventCard({ event }: { event: Event }) {
  const { verdict } = event;
  return (
    <Card title={event.type} aside={<Badge {...eventSeverity(event.severity)} />}>
      <p class="event-message">{event.message}</p>
      <Facts>
        <Fact name="when">
          <Moment ms={timeMs(event.time)} />
        </Fact>
        {event.agentId !== '' && (
          <Fact name="agent">
            <a href={href(['agents', event.agentId])}>{event.agentId}</a>
          </Fact>
        )}
        <Fact name="by">{event.actor || '–'}</Fact>
        <Fact name="written by">{event.replicaId || '–'}</Fact>
        <Fact name="id">
          <span class="mono">{event.id}</span>
        </Fact>
        {Object.entries(event.attributes).map(([name, text]) => (
          <Fact key={name} name={name.replaceAll('_', ' ')}>
            {text}
          </Fact>
        ))}
        {verdict !== undefined && (
          <>
            <Fact name="rule">{verdict.rule}</Fact>
            <Fact name="silence">{millis(durationMs(verdict.silence))}</Fact>
            <Fact name="suspicion (phi)">{verdict.phi.toFixed(1)}</Fact>
            <Fact name="observer's own delay">{millis(durationMs(verdict.observer?.eventLoopDelay))}</Fact>
          </>
        )}
      </Facts>
    </Card>
  );
}
