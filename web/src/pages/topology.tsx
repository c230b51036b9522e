import { useMemo } from 'preact/hooks';
import { Age } from '../components/age.tsx';
import { Card, Empty, Loading } from '../components/card.tsx';
import { ScrollX } from '../components/scroll-x.tsx';
import { count, plural } from '../lib/format.ts';
import { place, setQuery } from '../router.ts';
import { faults, topology } from '../store/live.ts';
import { Choice } from './agents/filters.tsx';
import { Drawing } from './topology/drawing.tsx';
import { EdgeTable } from './topology/edge-table.tsx';
import { type GraphEdge, type Grouping, graphOf, layoutOf } from './topology/graph.ts';
import { NodeCard } from './topology/node-card.tsx';
import '../styles/work.css';

const PART_TRAFFIC = 8;
/** More nodes than these are put together by kind, unless somebody wants them all. */
const MANY = 60;

const KINDS = [
  ['', 'messages'],
  ['DEPENDS_ON', 'depends on'],
  ['SUPERVISED_BY', 'supervised by'],
] as const;

/** Who depends on whom, and who talks to whom, how much and how fast. */
export function TopologyPage() {
  const told = topology.value;
  const fault = faults.value.get(PART_TRAFFIC);
  const { query } = place.value;
  const wanted = query.get('by') ?? '';
  const hidden = (query.get('hide') ?? '').split(',');
  const chosen = query.get('node') ?? '';
  const nodes = told?.value.nodes.length ?? 0;
  const grouping: Grouping =
    wanted === 'kind' || wanted === 'zone' || wanted === 'none' ? wanted : nodes > MANY ? 'kind' : 'none';
  const drawn = useMemo(() => {
    if (told === undefined) return undefined;
    const graph = graphOf(told.value, grouping);
    const edges = graph.edges.filter(({ relationship }) => !hidden.includes(nameOf(relationship)));
    const shown = { nodes: graph.nodes, edges };
    return { graph: shown, all: graph, layout: layoutOf(shown) };
  }, [told, grouping, query.get('hide')]);
  if (told === undefined || drawn === undefined) {
    if (fault !== undefined) return <Empty title="The topology cannot be told">{fault.message}</Empty>;
    return <Loading what="the topology" />;
  }
  const { agents, truncated, groupBy } = told.value;
  if (agents === 0) {
    return (
      <Empty title="No agents in this namespace">
        Once agents declare whom they depend on, or send messages to each other, it is drawn here.
      </Empty>
    );
  }
  const { graph, all, layout } = drawn;
  const node = graph.nodes.get(chosen);
  const rate = all.edges.reduce((sum, edge) => sum + edge.rate, 0);
  const toggle = (name: string) => {
    const next = hidden.includes(name) ? hidden.filter((each) => each !== name) : [...hidden, name];
    setQuery({ hide: next.filter((each) => each !== '').join(',') });
  };
  return (
    <div class="stack-of-cards one-column">
      <search class="filters">
        <Choice
          label="Put together"
          all={nodes > MANY ? 'By kind, for there are many' : 'Each agent'}
          value={wanted}
          options={[
            ['none', 'Each agent'],
            ['kind', 'By kind'],
            ['zone', 'By zone'],
          ]}
          onChange={(by) => setQuery({ by, node: '' })}
        />
        <fieldset class="toggles">
          <legend class="unseen">What is drawn</legend>
          {KINDS.map(([relationship, word]) => (
            <button
              key={word}
              type="button"
              class={`toggle edge-toggle ${relationship === '' ? 'talks' : relationship === 'DEPENDS_ON' ? 'depends' : 'supervised'}`}
              aria-pressed={!hidden.includes(nameOf(relationship))}
              onClick={() => toggle(nameOf(relationship))}
            >
              <svg viewBox="0 0 24 8" width="24" height="8" aria-hidden="true">
                <path d="M1 4h22" />
              </svg>
              {word} <span class="toggle-count">{count(pairsOf(all.edges, relationship))}</span>
            </button>
          ))}
        </fieldset>
      </search>
      <p class="result-count" role="status">
        {plural(agents, 'agent')}
        {groupBy === '' ? '' : ', put together by zone, for there are many'}, {rate.toFixed(1)} messages a
        second
        {truncated && '; more than is shown was left out'}
        {' · told '}
        <Age at={told.at} oldMs={60_000} />
      </p>
      <Card title="Who has to do with whom" flush>
        {graph.edges.length === 0 ? (
          <Empty title="Nothing is between them">
            Agents declare whom they depend on when they register; messages are drawn as they are sent.
          </Empty>
        ) : layout.isTooMuch ? (
          <Empty title={`${count(graph.nodes.size)} are too many for a picture`}>
            Put them together by kind or zone; the table below has them all.
          </Empty>
        ) : (
          <ScrollX label="Topology">
            <Drawing
              graph={graph}
              layout={layout}
              chosen={chosen}
              onChoose={(id) => setQuery({ node: id })}
            />
          </ScrollX>
        )}
        {layout.alone.length > 0 && (
          <p class="more-note muted">
            {plural(
              layout.alone.reduce((sum, each) => sum + each.agents, 0),
              'agent',
            )}{' '}
            with nothing of that
            {layout.alone.length <= 12
              ? `: ${layout.alone.map((each) => each.name || each.id).join(', ')}`
              : ''}
          </p>
        )}
      </Card>
      {node !== undefined && <NodeCard node={node} graph={all} />}
      {graph.edges.length > 0 && <EdgeTable graph={graph} chosen={chosen} />}
    </div>
  );
}

const nameOf = (relationship: string): string =>
  relationship === '' ? 'messages' : relationship.toLowerCase();

const pairsOf = (edges: readonly GraphEdge[], relationship: string): number =>
  edges.filter((edge) => edge.relationship === relationship).reduce((sum, edge) => sum + edge.count, 0);
