import { useMemo } from 'preact/hooks';
import {
  Task_State as State,
  type Task,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Empty, Loading } from '../components/card.tsx';
import { Shape } from '../components/shape.tsx';
import { taskState } from '../components/states.ts';
import { type Sorting, VirtualTable } from '../components/virtual-table.tsx';
import { count } from '../lib/format.ts';
import { OPEN_STATES } from '../lib/task-states.ts';
import { namespace, place, setQuery } from '../router.ts';
import { openings, tasks } from '../store/live.ts';
import { useCall } from '../store/query.ts';
import { throttled } from '../store/throttled.ts';
import { sortedTasks, TASK_COLUMNS, taskHaystack } from './tasks/columns.tsx';
import '../styles/work.css';

const version = throttled(tasks.version, 500);
/** The stream begins with so many that wait, and so many others that have not ended. */
const MOST_OPEN = 5_000;

const STATES: readonly State[] = [
  State.RUNNING,
  State.ASSIGNED,
  State.PENDING,
  State.SUCCEEDED,
  State.FAILED,
  State.CANCELLED,
  State.TIMED_OUT,
];
const nameOf = (state: State): string => taskState(state).word.replace(' ', '_');

/** Tasks live; those that had ended before are asked for once. */
export function TasksPage() {
  const moved = version.value;
  const { query } = place.value;
  const text = (query.get('q') ?? '').toLowerCase();
  const agent = query.get('agent') ?? '';
  const chosen = (query.get('state') ?? '')
    .split(',')
    .flatMap((name) => STATES.find((state) => nameOf(state) === name) ?? []);
  const shownStates = chosen.length > 0 ? chosen : agent === '' ? OPEN_STATES : STATES;
  const ended = shownStates.filter((state) => !OPEN_STATES.includes(state));
  const asked = useCall(
    'TaskService',
    'listTasks',
    {
      namespace: namespace.value,
      filter: { states: ended.length > 0 ? ended : [...OPEN_STATES], agentId: agent },
      pageSize: ended.length > 0 ? 500 : 1,
    },
    `${namespace.value} ${ended.join()} ${agent} ${openings.value}`,
  ).value;
  const sorting: Sorting = {
    column: query.get('sort') ?? 'created',
    down: (query.get('down') ?? '1') === '1',
  };
  const rows = useMemo(() => {
    const all = new Map<string, Task>();
    if (ended.length > 0) for (const task of asked.value?.tasks ?? []) all.set(task.id, task);
    for (const task of tasks.values()) all.set(task.id, task);
    const shown = [...all.values()].filter(
      (task) =>
        shownStates.includes(task.state) &&
        (agent === '' || task.agentId === agent) &&
        (text === '' || taskHaystack(task).includes(text)),
    );
    return sortedTasks(shown, sorting);
  }, [moved, asked.value, query.toString()]);
  const open = new Map<State, number>();
  for (const { state } of tasks.values()) open.set(state, (open.get(state) ?? 0) + 1);
  const toggle = (state: State) => {
    const next = chosen.includes(state) ? chosen.filter((each) => each !== state) : [...chosen, state];
    setQuery({ state: next.map(nameOf).join(',') });
  };
  if (!tasks.complete.value && tasks.size === 0 && asked.value === undefined) return <Loading what="tasks" />;
  return (
    <div class="full-page">
      <search class="filters">
        <input
          type="search"
          aria-label="Search tasks"
          placeholder="Search id, capability, owner, agent…"
          value={query.get('q') ?? ''}
          onInput={(event) => setQuery({ q: event.currentTarget.value })}
        />
        <fieldset class="toggles">
          <legend class="unseen">State</legend>
          {STATES.map((state) => {
            const { tone, mark, word } = taskState(state);
            const many = open.get(state) ?? 0;
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
                {OPEN_STATES.includes(state) && (
                  <span class="toggle-count">
                    {count(many)}
                    {many >= MOST_OPEN && '+'}
                  </span>
                )}
              </button>
            );
          })}
        </fieldset>
        {agent !== '' && (
          <button type="button" class="toggle" onClick={() => setQuery({ agent: '' })}>
            only {agent} <span aria-hidden="true">×</span>
            <span class="unseen">: show all agents</span>
          </button>
        )}
      </search>
      <p class="result-count" role="status">
        {count(rows.length)} shown
        {asked.error !== undefined && `; those that have ended cannot be told: ${asked.error}`}
        {(asked.value?.nextPageToken ?? '') !== '' &&
          ended.length > 0 &&
          '; of those that have ended the first 500 by id'}
      </p>
      {rows.length === 0 ? (
        <Empty
          title={
            text === '' && chosen.length === 0 ? 'Nothing waits and nothing runs' : 'No task is like that'
          }
        >
          Tasks are submitted by agents and by <code>orchestrator tasks submit</code>; those that have ended
          are found by their state.
        </Empty>
      ) : (
        <VirtualTable
          label="Tasks"
          rows={rows}
          columns={TASK_COLUMNS}
          keyOf={({ id }) => id}
          sorting={sorting}
          onSort={({ column, down }) => setQuery({ sort: column, down: down ? '1' : '0' })}
        />
      )}
    </div>
  );
}
