import { Card, Empty } from '../../components/card.tsx';
import { EventLine } from '../../components/event-line.tsx';
import { href, namespace } from '../../router.ts';
import { events } from '../../store/live.ts';
import { useCall } from '../../store/query.ts';

const MOST = 25;

/** What happened to it: what was before by a call, what happens now by the stream. */
export function AgentEvents({ id, revision }: { id: string; revision: bigint }) {
  const { value, error } = useCall(
    'MonitoringService',
    'listEvents',
    { namespace: namespace.value, filter: { agentIds: [id] }, pageSize: MOST },
    `${namespace.value} ${id} ${revision}`,
  ).value;
  const live = events.value.filter(({ agentId }) => agentId === id);
  const known = new Set(live.map((event) => event.id));
  const shown = [...live, ...(value?.events ?? []).filter((event) => !known.has(event.id))].slice(0, MOST);
  return (
    <Card title="Events" flush aside={<a href={href(['events'], { agent: id })}>Timeline</a>}>
      {shown.length === 0 ? (
        <Empty
          title={error ?? (value === undefined ? 'Waiting for events…' : 'Nothing has happened to it')}
        />
      ) : (
        <ul class="lines">
          {shown.map((event) => (
            <li key={event.id}>
              <EventLine event={event} withAgent={false} />
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}
