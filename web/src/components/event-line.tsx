import type { Event } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { timeMs } from '../lib/time.ts';
import { href } from '../router.ts';
import { Moment } from './age.tsx';
import { Shape } from './shape.tsx';
import { eventSeverity } from './states.ts';

/** An event in a line: when, how serious, what, about whom. */
export function EventLine({ event, withAgent = true }: { event: Event; withAgent?: boolean }) {
  const { tone, mark, word } = eventSeverity(event.severity);
  return (
    <div class="event-line">
      <Moment ms={timeMs(event.time)} />
      <span class={`event-mark tone-${tone}`} title={word}>
        <Shape mark={mark} />
        <span class="unseen">{word}</span>
      </span>
      <span class="event-type">{event.type}</span>
      <span class="line-text">
        {withAgent && event.agentId !== '' && (
          <>
            <a href={href(['agents', event.agentId])}>{event.agentId}</a>{' '}
          </>
        )}
        {withAgent ? withoutName(event) : event.message}
      </span>
    </div>
  );
}

/** Most messages begin with the agent, which stands before them as a link already. */
function withoutName({ agentId, message }: Event): string {
  return agentId !== '' && message.startsWith(`${agentId} `) ? message.slice(agentId.length + 1) : message;
}
