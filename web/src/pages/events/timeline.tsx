import type { Event } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { EventLine } from '../../components/event-line.tsx';
import { timeMs } from '../../lib/time.ts';
import { href } from '../../router.ts';
import '../../styles/work.css';

const day = new Intl.DateTimeFormat('en-GB', {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
  year: 'numeric',
});

/** Events under their day, each with a way to what led to it and what came of it. */
export function Timeline({ events }: { events: readonly Event[] }) {
  const days = new Map<string, Event[]>();
  for (const event of events) {
    const ms = timeMs(event.time);
    const name = ms === undefined ? '' : day.format(ms);
    const own = days.get(name);
    if (own === undefined) days.set(name, [event]);
    else own.push(event);
  }
  return (
    <>
      {[...days].map(([name, own]) => (
        <section key={name} class="day" aria-label={name}>
          <h2 class="day-name">{name}</h2>
          <ul class="lines">
            {own.map((event) => (
              <li key={event.id} class="timeline-line">
                <EventLine event={event} />
                <a
                  class="chain-link"
                  href={href(['events', event.id])}
                  aria-label={`${event.causeId === '' ? 'more' : 'why'}: causes and consequences of ${event.type} ${event.id}`}
                >
                  {event.causeId === '' ? 'more' : 'why'}
                </a>
              </li>
            ))}
          </ul>
        </section>
      ))}
    </>
  );
}
