import {
  type Event,
  Event_Severity as Severity,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Shape } from '../../components/shape.tsx';
import { eventSeverity } from '../../components/states.ts';
import { count, plural } from '../../lib/format.ts';
import { setQuery } from '../../router.ts';
import { Choice } from '../agents/filters.tsx';
import { type EventChoice, matchesEvent } from './choice.ts';

export interface EventFiltersProps {
  choice: EventChoice;
  events: readonly Event[];
  paused: boolean;
  /** Events that came since. */
  missed: number;
  onPause(pause: boolean): void;
}

const SHOWN = [
  [Severity.WARNING, 'warning'],
  [Severity.ERROR, 'error'],
] as const;

export function EventFilters({ choice, events, paused, missed, onPause }: EventFiltersProps) {
  const areas = new Set(events.map(({ type }) => type.split('.', 1)[0] ?? ''));
  if (choice.area !== '') areas.add(choice.area);
  const matching = events.filter((event) => matchesEvent(event, { ...choice, severity: 0 }));
  return (
    <search class="filters">
      <input
        type="search"
        aria-label="Search events"
        placeholder="Search type, agent, message, actor…"
        value={choice.text}
        onInput={(event) => setQuery({ q: event.currentTarget.value })}
      />
      <fieldset class="toggles">
        <legend class="unseen">At least so serious</legend>
        {SHOWN.map(([severity, name]) => {
          const { tone, mark, word } = eventSeverity(severity);
          const isChosen = choice.severity === severity;
          return (
            <button
              key={name}
              type="button"
              class={`toggle tone-${tone}`}
              aria-pressed={isChosen}
              onClick={() => setQuery({ severity: isChosen ? '' : name })}
            >
              <Shape mark={mark} />
              {severity === Severity.ERROR ? word : `${word} and worse`}{' '}
              <span class="toggle-count">
                {count(matching.filter((event) => event.severity >= severity).length)}
              </span>
            </button>
          );
        })}
      </fieldset>
      <Choice
        label="About"
        all="Everything"
        value={choice.area}
        options={[...areas]
          .filter((area) => area !== '')
          .sort()
          .map((area) => [area, area])}
        onChange={(area) => setQuery({ area })}
      />
      {choice.agent !== '' && (
        <button type="button" class="toggle" onClick={() => setQuery({ agent: '' })}>
          only {choice.agent} <span aria-hidden="true">×</span>
          <span class="unseen">: show all agents</span>
        </button>
      )}
      <button type="button" class="toggle" aria-pressed={paused} onClick={() => onPause(!paused)}>
        <Shape mark={paused ? 'play' : 'pause'} />
        {paused ? `Go on${missed > 0 ? ` (${plural(missed, 'new event')})` : ''}` : 'Hold still'}
      </button>
    </search>
  );
}
