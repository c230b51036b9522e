import {
  type Alert,
  Alert_State as State,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { Empty, Loading } from '../../components/card.tsx';
import { Shape } from '../../components/shape.tsx';
import { alertState } from '../../components/states.ts';
import { count } from '../../lib/format.ts';
import { timeMs } from '../../lib/time.ts';
import { namespace, place, setQuery } from '../../router.ts';
import { alerts } from '../../store/live.ts';
import { useCall } from '../../store/query.ts';
import { throttled } from '../../store/throttled.ts';
import { AlertItem } from './alert-item.tsx';

const STATES: readonly State[] = [State.FIRING, State.ACKNOWLEDGED, State.PENDING, State.RESOLVED];
const NAMES: Readonly<Record<string, State>> = {
  firing: State.FIRING,
  acknowledged: State.ACKNOWLEDGED,
  pending: State.PENDING,
  resolved: State.RESOLVED,
};
const OPEN: readonly State[] = [State.FIRING, State.ACKNOWLEDGED, State.PENDING];
/** More than these are found by the search or the state. */
const MOST = 300;

const version = throttled(alerts.version, 500);

export function AlertList() {
  version.value;
  const { query } = place.value;
  const text = (query.get('q') ?? '').toLowerCase();
  const chosen = (query.get('state') ?? '').split(',').flatMap((name) => NAMES[name] ?? []);
  const picked = query.get('id') ?? '';
  const resolved = useCall(
    'AlertService',
    'listAlerts',
    { namespace: namespace.value, states: [State.RESOLVED], pageSize: 200, withGrouped: true },
    `${namespace.value} ${[...alerts.values()].filter(({ state }) => OPEN.includes(state)).length}`,
  ).value;
  const all = new Map<string, Alert>();
  for (const alert of resolved.value?.alerts ?? []) all.set(alert.id, alert);
  for (const alert of alerts.values()) all.set(alert.id, alert);
  const under = new Map<string, Alert[]>();
  for (const alert of all.values()) {
    if (alert.groupedUnder === '') continue;
    const others = under.get(alert.groupedUnder);
    if (others === undefined) under.set(alert.groupedUnder, [alert]);
    else others.push(alert);
  }
  const leading = [...all.values()].filter(
    (alert) => alert.groupedUnder === '' || !all.has(alert.groupedUnder),
  );
  const shown = leading
    .filter(
      ({ state, id }) => (chosen.length > 0 ? chosen.includes(state) : OPEN.includes(state)) || id === picked,
    )
    .filter((alert) => text === '' || haystack(alert).includes(text))
    .sort(byUrgency);
  const toggle = (state: State) => {
    const next = chosen.includes(state) ? chosen.filter((each) => each !== state) : [...chosen, state];
    setQuery({ state: next.map((each) => alertState(each).word).join(',') });
  };
  return (
    <>
      <search class="filters">
        <input
          type="search"
          aria-label="Search alerts"
          placeholder="Search rule, summary, label…"
          value={query.get('q') ?? ''}
          onInput={(event) => setQuery({ q: event.currentTarget.value })}
        />
        <fieldset class="toggles">
          <legend class="unseen">State</legend>
          {STATES.map((state) => {
            const { tone, mark, word } = alertState(state);
            return (
              <button
                key={word}
                type="button"
                class={`toggle tone-${tone}`}
                aria-pressed={chosen.includes(state)}
                onClick={() => toggle(state)}
              >
                <Shape mark={mark} />
                {word}{' '}
                <span class="toggle-count">
                  {count(leading.filter((alert) => alert.state === state).length)}
                </span>
              </button>
            );
          })}
        </fieldset>
      </search>
      {!alerts.complete.value && all.size === 0 && resolved.pending ? (
        <Loading what="alerts" />
      ) : shown.length === 0 ? (
        <div class="card">
          <Empty
            title={
              text === '' && chosen.length === 0
                ? 'Nothing fires, and nothing is about to'
                : 'No alert is like that'
            }
          />
        </div>
      ) : (
        <ul class="alert-list">
          {shown.slice(0, MOST).map((alert) => (
            <AlertItem
              key={alert.id}
              alert={alert}
              isPicked={alert.id === picked}
              under={under.get(alert.id) ?? []}
            />
          ))}
          {shown.length > MOST && (
            <li class="muted">{count(shown.length - MOST)} more: search, or choose a state</li>
          )}
        </ul>
      )}
    </>
  );
}

function haystack({ id, rule, summary, namespace: where, labels }: Alert): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return [id, rule, summary, where, ...pairs].join(' ').toLowerCase();
}

const ORDER: readonly State[] = [State.FIRING, State.ACKNOWLEDGED, State.PENDING, State.RESOLVED];

function byUrgency(a: Alert, b: Alert): number {
  const began = ({ resolveTime, fireTime, startTime }: Alert) =>
    timeMs(resolveTime ?? fireTime ?? startTime) ?? 0;
  return ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || b.severity - a.severity || began(b) - began(a);
}
