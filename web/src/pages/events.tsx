import { useState } from 'preact/hooks';
import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Empty, Loading } from '../components/card.tsx';
import { count, plural } from '../lib/format.ts';
import { CallFailed, call } from '../live/client.ts';
import { namespace, place } from '../router.ts';
import { events, eventsSynced } from '../store/live.ts';
import { type EventChoice, eventChoice, matchesEvent, requestFilter } from './events/choice.ts';
import { EventFilters } from './events/filters.tsx';
import { Timeline } from './events/timeline.tsx';

const OLDER = 200;

/** What happened, newest first: live, filtered, and further back page by page. */
export function EventsPage() {
  const choice = eventChoice(place.value.query);
  const [held, setHeld] = useState<readonly Event[]>();
  const all = held ?? events.value;
  const shown = all.filter((event) => matchesEvent(event, choice));
  const missed = held === undefined ? 0 : events.value.length - held.length;
  return (
    <div>
      <EventFilters
        choice={choice}
        events={all}
        paused={held !== undefined}
        missed={missed}
        onPause={(pause) => setHeld(pause ? events.value : undefined)}
      />
      {shown.length === 0 && !eventsSynced.value ? (
        <Loading what="events" />
      ) : shown.length === 0 ? (
        <div class="card">
          <Empty title="No event of late is like that">Further back there may be some.</Empty>
        </div>
      ) : (
        <section class="card" aria-label="Events, newest first">
          <Timeline events={shown} />
        </section>
      )}
      <Older key={JSON.stringify(choice)} choice={choice} last={shown.at(-1)} />
    </div>
  );
}

/** Events before the last one that is shown. */
function Older({ choice, last }: { choice: EventChoice; last: Event | undefined }) {
  const [found, setFound] = useState<readonly Event[]>([]);
  const [token, setToken] = useState<string>();
  const [failure, setFailure] = useState('');
  const [busy, setBusy] = useState(false);
  const [from, setFrom] = useState<Event>();
  const ask = async () => {
    setBusy(true);
    setFailure('');
    const before = from ?? last;
    setFrom(before);
    const filter = requestFilter(choice);
    if (before?.time !== undefined) {
      const { seconds, nanos } = before.time;
      filter.endTime = { seconds, nanos: Math.min(999_999_999, nanos + 1_000_000) };
    }
    try {
      const request = { namespace: namespace.value, filter, pageSize: OLDER, pageToken: token ?? '' };
      const page = await call('MonitoringService', 'listEvents', request);
      const known = new Set(found.map(({ id }) => id));
      const fresh = page.events.filter(
        (event) => !known.has(event.id) && isBefore(event, before) && matchesEvent(event, choice),
      );
      setFound([...found, ...fresh]);
      setToken(page.nextPageToken);
    } catch (error) {
      setFailure(error instanceof CallFailed ? error.message : String(error));
    }
    setBusy(false);
  };
  return (
    <div class="older">
      {found.length > 0 && (
        <section class="card" aria-label="Older events">
          <Timeline events={found} />
        </section>
      )}
      {failure !== '' && (
        <p class="failure" role="alert">
          {failure}
        </p>
      )}
      {token === '' ? (
        <p class="muted" role="status">
          {found.length === 0
            ? 'Nothing older is kept.'
            : `All of it: ${plural(found.length, 'older event')}.`}
        </p>
      ) : (
        <button type="button" disabled={busy} onClick={() => void ask()}>
          {busy
            ? 'Asking…'
            : found.length === 0
              ? 'Show older events'
              : `Show older events (${count(found.length)} shown)`}
        </button>
      )}
    </div>
  );
}

function isBefore(event: Event, other: Event | undefined): boolean {
  if (other === undefined) return true;
  if (event.revision !== other.revision) return event.revision < other.revision;
  return Number(event.id.split('-')[1]) < Number(other.id.split('-')[1]);
}
