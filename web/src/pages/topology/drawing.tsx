import type { Tone } from '../../components/badge.tsx';
import { count, percent, plural } from '../../lib/format.ts';
import {
  type Graph,
  type GraphEdge,
  type GraphNode,
  type Layout,
  NODE_HEIGHT,
  NODE_WIDTH,
  type Placed,
} from './graph.ts';

export interface DrawingProps {
  graph: Graph;
  layout: Layout;
  /** The node that is looked at; empty: none. */
  chosen: string;
  onChoose(id: string): void;
}

export const titleOf = ({ id, name, agents, missing }: GraphNode): string =>
  agents === 0 ? (missing ? `${id} (not registered)` : id) : name === '' ? id : name;

export function toneOf({ agents, connected, health, missing }: GraphNode): Tone {
  if (missing) return 'bad';
  if (agents === 0) return 'idle';
  if (connected === 0) return health === undefined ? 'idle' : 'bad';
  if (connected < agents || (health ?? 1) < 0.9) return 'warn';
  return 'ok';
}

export function noteOf(node: GraphNode): string {
  const { agents, connected, health, kind, missing, isAgent } = node;
  if (missing) return 'not registered';
  if (agents === 0) return 'sends from outside';
  if (isAgent)
    return `${kind === '' ? 'agent' : kind}${health === undefined ? '' : `, ${percent(health)} health`}`;
  return `${count(connected)} of ${plural(agents, 'agent')}${health === undefined ? '' : `, ${percent(health)}`}`;
}

/** The graph as a picture that can be walked through: each node can be chosen, which shows what leads to and from it. */
export function Drawing({ graph, layout, chosen, onChoose }: DrawingProps) {
  const { placed, width, height } = layout;
  const near = new Set([chosen]);
  for (const { from, to } of graph.edges) {
    if (from === chosen) near.add(to);
    if (to === chosen) near.add(from);
  }
  const isPale = (id: string): boolean => chosen !== '' && !near.has(id);
  return (
    // biome-ignore lint/a11y/useSemanticElements: there are no fieldsets in a drawing
    <svg
      class="topology"
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      role="group"
      aria-label="Agents and what is between them"
    >
      <defs>
        <marker
          id="arrow"
          viewBox="0 0 8 8"
          refX="7"
          refY="4"
          markerWidth="7"
          markerHeight="7"
          orient="auto-start-reverse"
        >
          <path d="M0 0.600 7.500 4 0 7.400z" fill="context-stroke" />
        </marker>
      </defs>
      <g>
        {graph.edges.map((edge) => {
          const [from, to] = [placed.get(edge.from), placed.get(edge.to)];
          if (from === undefined || to === undefined || edge.from === edge.to) return null;
          const pale = chosen !== '' && edge.from !== chosen && edge.to !== chosen;
          return (
            <path
              key={`${edge.from} ${edge.to} ${edge.relationship}`}
              class={`edge ${classOf(edge)}${pale ? ' pale' : ''}`}
              d={curve(from, to, edge.relationship === '' ? 6 : -6)}
              stroke-width={
                edge.relationship === '' ? Math.min(6, 1.2 + Math.log10(1 + edge.rate * 10)) : 1.3
              }
              marker-end="url(#arrow)"
            />
          );
        })}
      </g>
      {[...placed.values()].map(({ node, x, y }) => (
        // biome-ignore lint/a11y/useSemanticElements: there are no buttons in a drawing
        <g
          key={node.id}
          class={`node tone-${toneOf(node)}${isPale(node.id) ? ' pale' : ''}`}
          transform={`translate(${x} ${y})`}
          role="button"
          tabIndex={0}
          aria-pressed={node.id === chosen}
          onClick={() => onChoose(node.id === chosen ? '' : node.id)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' && event.key !== ' ') return;
            event.preventDefault();
            onChoose(node.id === chosen ? '' : node.id);
          }}
        >
          <title>{`${titleOf(node)}: ${noteOf(node)}`}</title>
          <rect class="node-box" width={NODE_WIDTH} height={NODE_HEIGHT} rx="7" />
          <rect class="node-mark" width="5" height={NODE_HEIGHT - 12} x="6" y="6" rx="2.5" />
          <text class="node-name" x="20" y="19">
            {shortened(titleOf(node), 20)}
          </text>
          <text class="node-note" x="20" y="34">
            {shortened(noteOf(node), 25)}
          </text>
        </g>
      ))}
    </svg>
  );
}

const classOf = ({ relationship, failed, messages }: GraphEdge): string => {
  if (relationship === 'SUPERVISED_BY') return 'supervised';
  if (relationship !== '') return 'depends';
  return messages > 0 && failed / messages > 0.05 ? 'talks failing' : 'talks';
};

/** From the right side of one to the left side of the other; backwards around below. */
function curve(from: Placed, to: Placed, shift: number): string {
  const y1 = from.y + NODE_HEIGHT / 2 + shift;
  const y2 = to.y + NODE_HEIGHT / 2 + shift;
  const forward = to.x > from.x;
  const x1 = forward ? from.x + NODE_WIDTH : from.x;
  const x2 = forward ? to.x : to.x + NODE_WIDTH;
  if (from.x === to.x) {
    const side = from.x + NODE_WIDTH;
    return `M${side} ${y1}C${side + 60} ${y1} ${side + 60} ${y2} ${side} ${y2}`;
  }
  const bend = (x2 - x1) / 2;
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}

const shortened = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most - 1)}…`;
