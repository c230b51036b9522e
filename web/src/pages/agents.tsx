import { useMemo, useRef } from 'preact/hooks';
import { Empty, Loading } from '../components/card.tsx';
import { type Sorting, VirtualTable } from '../components/virtual-table.tsx';
import { count } from '../lib/format.ts';
import type { AgentRow } from '../live/agent-row.ts';
import { place, setQuery } from '../router.ts';
import { agents } from '../store/live.ts';
import { throttled } from '../store/throttled.ts';
import { AGENT_COLUMNS } from './agents/columns.tsx';
import { type AgentFilter, filterOf, matches } from './agents/filter.ts';
import { AgentFilters } from './agents/filters.tsx';
import { isSoft, sorted } from './agents/sorting.ts';

/** Sorting and filtering 10,000 agents costs some milliseconds: twice a second is enough. */
const version = throttled(agents.version, 500);

/** All agents: searched, filtered, sorted. What is chosen stands in the address. */
export function AgentsPage() {
  const held = useRef(false);
  const before = useRef<readonly AgentRow[]>([]);
  const moved = version.value;
  const { query } = place.value;
  const filter = filterOf(query);
  const sorting: Sorting = { column: query.get('sort') ?? 'id', down: query.get('down') === '1' };
  const chosen = JSON.stringify([filter, sorting]);
  const wasChosen = useRef(chosen);
  const rows = useMemo(() => {
    const shown = [...agents.values()].filter((row) => matches(row, filter));
    const isSame = wasChosen.current === chosen;
    wasChosen.current = chosen;
    // Whoever points at a row does not want it to jump away.
    const result =
      held.current && isSame && isSoft(sorting) ? inOrderOf(before.current, shown) : sorted(shown, sorting);
    before.current = result;
    return result;
  }, [moved, chosen]);

  if (agents.size === 0) {
    if (!agents.complete.value) return <Loading what="agents" />;
    return (
      <Empty title="No agents in this namespace">
        <p>
          An agent appears here as soon as it has registered. <code>npm run demo</code> attaches some twenty
          of all kinds.
        </p>
      </Empty>
    );
  }
  return (
    <div class="full-page">
      <AgentFilters filter={filter} version={moved} />
      <p class="result-count" role="status">
        {rows.length === agents.size ? count(agents.size) : `${count(rows.length)} of ${count(agents.size)}`}{' '}
        agents
        {!agents.complete.value && ', more are coming'}
      </p>
      {rows.length === 0 ? (
        <Empty title="No agent is like that">
          <button type="button" onClick={() => clear(filter)}>
            Show all
          </button>
        </Empty>
      ) : (
        <VirtualTable
          label="Agents"
          rows={rows}
          columns={AGENT_COLUMNS}
          keyOf={(row) => row.id}
          sorting={sorting}
          onSort={({ column, down }) =>
            setQuery({ sort: column === 'id' ? '' : column, down: down ? '1' : '' })
          }
          onHold={(hold) => {
            held.current = hold;
          }}
        />
      )}
    </div>
  );
}

function clear(filter: AgentFilter): void {
  setQuery(Object.fromEntries(Object.keys(filter).map((name) => [name === 'text' ? 'q' : name, ''])));
}

/** The same agents in the same order, with what is new at the end. */
function inOrderOf(before: readonly AgentRow[], shown: readonly AgentRow[]): AgentRow[] {
  const left = new Map(shown.map((row) => [row.id, row]));
  const kept: AgentRow[] = [];
  for (const { id } of before) {
    const row = left.get(id);
    if (row === undefined) continue;
    kept.push(row);
    left.delete(id);
  }
  return [...kept, ...left.values()];
}
