import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Empty, Loading } from '../components/card.tsx';
import { count, plural } from '../lib/format.ts';
import { CallFailed, call } from '../live/client.ts';
import { namespace, place } from '../router.ts';
import { events, eventsSynced } from '../store/live.ts';
import { type Backlog, carriedOver, DRAWN, withPage } from './events/backlog.ts';
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
  const drawn = shown.slice(0, DRAWN);
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
          <Timeline events={drawn} />
        </section>
      )}
      <Older
        key={JSON.stringify([choice, namespace.value])}
        choice={choice}
        live={shown}
        last={drawn.at(-1)}
      />
    </div>
  );
}

interface OlderProps {
  choice: EventChoice;
  live: readonly Event[];
  /** The last of them that is drawn. */
  last: Event | undefined;
}

/** Events before the last one that is drawn, and those that the live list draws no more. */
function Older({ choice, live, last }: OlderProps) {
  const [backlog, setBacklog] = useState<Backlog>();
  const [failure, setFailure] = useState('');
  const [busy, setBusy] = useState(false);
  const drawnBefore = useRef<readonly Event[]>([]);
  useLayoutEffect(() => {
    const before = drawnBefore.current;
    drawnBefore.current = live.slice(0, DRAWN);
    setBacklog((known) => known && carriedOver(known, before, live));
  }, [live[0]?.id, live.length]);
  const found = backlog?.found ?? [];
  const token = backlog?.token;
  const ask = async () => {
    setBusy(true);
    setFailure('');
    const begun: Backlog = backlog ?? { from: last, token: undefined, found: [] };
    setBacklog(begun);
    const filter = requestFilter(choice);
    if (begun.from?.time !== undefined) {
      const { seconds, nanos } = begun.from.time;
      filter.endTime = { seconds, nanos: Math.min(999_999_999, nanos + 1_000_000) };
    }
    try {
      const request = { namespace: namespace.value, filter, pageSize: OLDER, pageToken: token ?? '' };
      const page = await call('MonitoringService', 'listEvents', request);
      const matching = page.events.filter((event) => matchesEvent(event, choice));
      setBacklog(
        (known) =>
          known && (known.from === begun.from ? withPage(known, matching, page.nextPageToken) : known),
      );
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
