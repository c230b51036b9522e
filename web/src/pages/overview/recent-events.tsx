import { Card, Empty } from '../../components/card.tsx';
import { EventLine } from '../../components/event-line.tsx';
import { href } from '../../router.ts';
import { events, eventsSynced } from '../../store/live.ts';

export function RecentEvents() {
  const shown = events.value.slice(0, 12);
  return (
    <Card title="Latest events" flush aside={<a href={href(['events'])}>Timeline</a>}>
      {shown.length === 0 ? (
        <Empty title={eventsSynced.value ? 'Nothing has happened yet' : 'Waiting for events…'} />
      ) : (
        <ul class="lines">
          {shown.map((event) => (
            <li key={event.id}>
              <EventLine event={event} />
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
