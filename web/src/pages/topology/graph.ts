import type {
  GetTopologyResponse,
  TopologyEdge,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { durationMs } from '../../lib/time.ts';

export interface GraphNode {
  id: string;
  name: string;
  kind: string;
  zone: string;
  agents: number;
  connected: number;
  /** Mean over the agents of which it is known; undefined: of none. */
  health: number | undefined;
  missing: boolean;
  /** Whether it is one agent, with a page of its own. */
  isAgent: boolean;
}

export interface GraphEdge {
  from: string;
  to: string;
  /** Empty: messages. */
  relationship: string;
  count: number;
  rate: number;
  messages: number;
  failed: number;
  /** Of several, the worst. */
  p95: number | undefined;
}

export interface Graph {
  nodes: Map<string, GraphNode>;
  edges: GraphEdge[];
}

export type Grouping = 'none' | 'kind' | 'zone';

const keyOf = ({ from, to, relationship }: GraphEdge): string => `${from}\u0000${to}\u0000${relationship}`;

/** Nodes as they came, or put together by kind or zone; names that no agent has stay apart. */
export function graphOf({ nodes, edges, groupBy }: GetTopologyResponse, grouping: Grouping): Graph {
  const place = new Map<string, string>();
  const found = new Map<string, GraphNode & { weight: number }>();
  for (const node of nodes) {
    const isStranger = node.agents === 0;
    const value = grouping === 'kind' ? node.kind : node.zone;
    const isTogether = grouping !== 'none' && !isStranger;
    const id = isTogether ? `group ${value}` : node.id;
    place.set(node.id, id);
    const has = found.get(id);
    const weight = node.health === undefined ? 0 : node.agents;
    if (has === undefined) {
      found.set(id, {
        id,
        name: isTogether ? value || `no ${grouping}` : node.name,
        kind: grouping === 'zone' ? '' : node.kind,
        zone: grouping === 'kind' ? '' : node.zone,
        agents: node.agents,
        connected: node.connected,
        health: node.health,
        missing: node.missing,
        isAgent: !isTogether && groupBy === '' && node.agents === 1,
        weight,
      });
      continue;
    }
    if (node.health !== undefined)
      has.health = ((has.health ?? 0) * has.weight + node.health * weight) / Math.max(1, has.weight + weight);
    has.weight += weight;
    has.agents += node.agents;
    has.connected += node.connected;
  }
  return { nodes: found, edges: together(edges, place) };
}

function together(edges: readonly TopologyEdge[], place: ReadonlyMap<string, string>): GraphEdge[] {
  const found = new Map<string, GraphEdge>();
  for (const edge of edges) {
    const made: GraphEdge = {
      from: place.get(edge.fromId) ?? edge.fromId,
      to: place.get(edge.toId) ?? edge.toId,
      relationship: edge.relationship,
      count: edge.count,
      rate: edge.rate,
      messages: Number(edge.messages),
      failed: Number(edge.failed),
      p95: durationMs(edge.latencyP95),
    };
    const has = found.get(keyOf(made));
    if (has === undefined) {
      found.set(keyOf(made), made);
      continue;
    }
    has.count += made.count;
    has.rate += made.rate;
    has.messages += made.messages;
    has.failed += made.failed;
    if (made.p95 !== undefined) has.p95 = Math.max(has.p95 ?? 0, made.p95);
  }
  return [...found.values()];
}

export interface Placed {
  node: GraphNode;
  x: number;
  y: number;
}

export interface Layout {
  placed: Map<string, Placed>;
  /** There are more than a picture can show: none is placed. */
  isTooMuch: boolean;
  /** Nodes that nothing leads to or from. */
  alone: GraphNode[];
  width: number;
  height: number;
}

export const NODE_WIDTH = 168;
export const NODE_HEIGHT = 44;
const COLUMN = NODE_WIDTH + 110;
const ROW = NODE_HEIGHT + 16;
const MARGIN = 12;
/** Room for what goes from one to another of the same column. */
const BESIDE = 60;
const MAX_LAYERS = 8;
/** A picture of more says nothing any more. */
const MOST_DRAWN = 300;
const SWEEPS = 6;

/** Columns from those that need or talk to others to those that are needed; in each, neighbours near to each other. */
export function layoutOf({ nodes, edges }: Graph): Layout {
  const between = edges.filter(({ from, to }) => from !== to && nodes.has(from) && nodes.has(to));
  const joined = new Set(edges.flatMap(({ from, to }) => [from, to]));
  const alone = [...nodes.values()].filter(({ id }) => !joined.has(id));
  if (joined.size > MOST_DRAWN) return { placed: new Map(), isTooMuch: true, alone, width: 0, height: 0 };
  const rank = ranks(
    [...joined].filter((id) => nodes.has(id)),
    between,
  );
  const layers: string[][] = [];
  for (const [id, layer] of [...rank].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const own = layers[layer] ?? [];
    layers[layer] = own;
    own.push(id);
  }
  const used = layers.filter((layer) => layer !== undefined && layer.length > 0);
  order(used, between);
  const tallest = Math.max(0, ...used.map((layer) => layer.length));
  const placed = new Map<string, Placed>();
  for (const [column, layer] of used.entries()) {
    const top = ((tallest - layer.length) * ROW) / 2;
    for (const [row, id] of layer.entries()) {
      const node = nodes.get(id);
      if (node !== undefined)
        placed.set(id, { node, x: MARGIN + column * COLUMN, y: MARGIN + top + row * ROW });
    }
  }
  return {
    placed,
    isTooMuch: false,
    alone,
    width: MARGIN + Math.max(0, used.length - 1) * COLUMN + NODE_WIDTH + BESIDE,
    height: MARGIN * 2 + tallest * ROW - (ROW - NODE_HEIGHT),
  };
}

/**
 * How far right each has to stand. What agents declare goes before messages: of a circle, the messages that close it are drawn
 * backwards (Kahn's order, in which a circle is opened at the node that the fewest messages lead to).
 */
function ranks(ids: readonly string[], edges: readonly GraphEdge[]): Map<string, number> {
  const declared = withoutCircles(edges.filter(({ relationship }) => relationship !== ''));
  const talks = edges.filter(({ relationship }) => relationship === '');
  const into = (all: readonly GraphEdge[]): Map<string, GraphEdge[]> => grouped(all, ({ to }) => to);
  const [declaredInto, talksInto] = [into(declared), into(talks)];
  const rank = new Map<string, number>();
  const left = new Set(ids);
  const open = (all: readonly GraphEdge[] | undefined): number =>
    all?.reduce((sum, { from }) => sum + (left.has(from) ? 1 : 0), 0) ?? 0;
  while (left.size > 0) {
    let best: string | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const id of left) {
      if (open(declaredInto.get(id)) > 0) continue;
      const waiting = open(talksInto.get(id));
      if (waiting >= fewest) continue;
      best = id;
      fewest = waiting;
      if (waiting === 0) break;
    }
    if (best === undefined) break;
    left.delete(best);
    let own = 0;
    for (const { from } of [...(declaredInto.get(best) ?? []), ...(talksInto.get(best) ?? [])]) {
      const before = rank.get(from);
      if (before !== undefined) own = Math.max(own, Math.min(MAX_LAYERS - 1, before + 1));
    }
    rank.set(best, own);
  }
  return rank;
}

/** Without the edges that lead back to where a walk came from. */
function withoutCircles(edges: readonly GraphEdge[]): GraphEdge[] {
  const out = grouped(edges, ({ from }) => from);
  const done = new Set<string>();
  const path = new Set<string>();
  const kept: GraphEdge[] = [];
  const visit = (id: string): void => {
    if (done.has(id)) return;
    path.add(id);
    for (const edge of out.get(id) ?? []) {
      if (path.has(edge.to)) continue;
      kept.push(edge);
      visit(edge.to);
    }
    path.delete(id);
    done.add(id);
  };
  for (const id of out.keys()) visit(id);
  return kept;
}

function grouped(edges: readonly GraphEdge[], by: (edge: GraphEdge) => string): Map<string, GraphEdge[]> {
  const groups = new Map<string, GraphEdge[]>();
  for (const edge of edges) {
    const own = groups.get(by(edge));
    if (own === undefined) groups.set(by(edge), [edge]);
    else own.push(edge);
  }
  return groups;
}

/** Moves each node to where its neighbours are on average, there and back (Sugiyama's barycentres). */
function order(layers: string[][], edges: readonly GraphEdge[]): void {
  const neighbours = new Map<string, string[]>();
  const add = (id: string, other: string): void => {
    const own = neighbours.get(id);
    if (own === undefined) neighbours.set(id, [other]);
    else own.push(other);
  };
  for (const { from, to } of edges) {
    add(from, to);
    add(to, from);
  }
  const at = new Map<string, number>();
  const number = (layer: readonly string[]): void => {
    for (const [row, id] of layer.entries()) at.set(id, (row + 0.5) / layer.length);
  };
  for (const layer of layers) number(layer);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const layer of sweep % 2 === 0 ? layers : [...layers].reverse()) {
      const centre = new Map(
        layer.map((id) => {
          const own = neighbours.get(id) ?? [];
          const sum = own.reduce((total, other) => total + (at.get(other) ?? 0.5), 0);
          return [id, own.length === 0 ? (at.get(id) ?? 0.5) : sum / own.length];
        }),
      );
      layer.sort((a, b) => (centre.get(a) ?? 0) - (centre.get(b) ?? 0) || (a < b ? -1 : 1));
      number(layer);
    }
  }
}
