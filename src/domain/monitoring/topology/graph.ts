import { create } from '@bufbuild/protobuf';
import {
  type Agent_Liveness,
  Relationship_Type,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type TopologyEdge,
  TopologyEdgeSchema,
  type TopologyNode,
  TopologyNodeSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { durationFromMs } from '../../../lib/proto-time.ts';
import { Latency } from '../../coordination/traffic/latency.ts';
import type { LinkFigures } from '../../coordination/traffic/link-counts.ts';

/** What a node stands for: an agent, a group of them, or a name that no agent has. */
export interface Place {
  /** Tells nodes apart, whatever they are called. */
  key: string;
  id: string;
  name: string;
  kind: string;
  zone: string;
}

/** An agent, as much as goes into its node. */
export interface Member {
  connected: boolean;
  health: number | undefined;
  liveness: Agent_Liveness;
}

interface Node {
  place: Place;
  agents: number;
  connected: number;
  health: number;
  measured: number;
  liveness: Agent_Liveness;
  missing: boolean;
}

interface Edge {
  from: Node;
  to: Node;
  relationship: string;
  count: number;
  rate: number;
  messages: number;
  failed: number;
  latency: Latency | undefined;
}

const RELATIONSHIPS: ReadonlyMap<Relationship_Type, string> = new Map([
  [Relationship_Type.DEPENDS_ON, 'DEPENDS_ON'],
  [Relationship_Type.SUPERVISED_BY, 'SUPERVISED_BY'],
]);

/** Collects nodes and what is between them. */
export class Graph {
  readonly #nodes = new Map<string, Node>();
  readonly #edges = new Map<string, Edge>();

  get size(): number {
    return this.#nodes.size;
  }

  /** One more agent in a node. */
  add(place: Place, member: Member): void {
    const node = this.#node(place);
    node.agents += 1;
    if (member.connected) node.connected += 1;
    if (member.health !== undefined) {
      node.health += member.health;
      node.measured += 1;
    }
    // Liveness is that of one agent; that of several is told by how many are connected.
    node.liveness = node.agents === 1 ? member.liveness : 0;
  }

  relate(from: Place, to: Place, type: Relationship_Type, isMissing: boolean): void {
    const relationship = RELATIONSHIPS.get(type) ?? `${type}`;
    const edge = this.#edge(from, to, relationship);
    edge.count += 1;
    if (isMissing) edge.to.missing = true;
  }

  link(from: Place, to: Place, figures: LinkFigures): void {
    const edge = this.#edge(from, to, '');
    edge.count += 1;
    edge.rate += figures.rate;
    edge.messages += figures.sent;
    edge.failed += figures.failed;
    if (figures.doneLatency === undefined) return;
    edge.latency ??= new Latency();
    edge.latency.merge(figures.doneLatency);
  }

  /** At most so many nodes and edges: of nodes those with most agents, then most edges; of edges the busiest. */
  shown(
    maxNodes: number,
    maxEdges: number,
  ): { nodes: TopologyNode[]; edges: TopologyEdge[]; truncated: boolean } {
    const degrees = new Map<Node, number>();
    for (const { from, to } of this.#edges.values()) {
      degrees.set(from, (degrees.get(from) ?? 0) + 1);
      degrees.set(to, (degrees.get(to) ?? 0) + 1);
    }
    const nodes = [...this.#nodes.values()];
    const kept = new Set(
      nodes.length <= maxNodes
        ? nodes
        : nodes
            .sort((a, b) => b.agents - a.agents || (degrees.get(b) ?? 0) - (degrees.get(a) ?? 0))
            .slice(0, maxNodes),
    );
    const between = [...this.#edges.values()].filter(({ from, to }) => kept.has(from) && kept.has(to));
    const busiest =
      between.length <= maxEdges
        ? between
        : between.sort((a, b) => b.rate - a.rate || b.count - a.count).slice(0, maxEdges);
    const ids = idsOf(kept);
    return {
      nodes: [...kept].map((node) => shownNode(node, ids)).sort((a, b) => (a.id < b.id ? -1 : 1)),
      edges: busiest.map((edge) => shownEdge(edge, ids)).sort(byEnds),
      truncated: kept.size < this.#nodes.size || busiest.length < this.#edges.size,
    };
  }

  #node(place: Place): Node {
    const found = this.#nodes.get(place.key);
    if (found !== undefined) return found;
    const node = {
      place,
      agents: 0,
      connected: 0,
      health: 0,
      measured: 0,
      liveness: 0 as Agent_Liveness,
      missing: false,
    };
    this.#nodes.set(place.key, node);
    return node;
  }

  #edge(from: Place, to: Place, relationship: string): Edge {
    // Neither namespace nor agent has a NUL, and what else has a name is visible text.
    const key = `${from.key}\0${to.key}\0${relationship}`;
    const found = this.#edges.get(key);
    if (found !== undefined) return found;
    const edge: Edge = {
      ...{ from: this.#node(from), to: this.#node(to), relationship },
      ...{ count: 0, rate: 0, messages: 0, failed: 0, latency: undefined },
    };
    this.#edges.set(key, edge);
    return edge;
  }
}

/** A group and a sender may have the same name: each node has an id of its own. */
function idsOf(nodes: ReadonlySet<Node>): ReadonlyMap<Node, string> {
  const ids = new Map<Node, string>();
  const taken = new Set<string>();
  for (const node of nodes) {
    let { id } = node.place;
    while (taken.has(id)) id += '*';
    taken.add(id);
    ids.set(node, id);
  }
  return ids;
}

function shownNode(node: Node, ids: ReadonlyMap<Node, string>): TopologyNode {
  const { place, agents, connected, health, measured, liveness, missing } = node;
  const { name, kind, zone } = place;
  const shown = create(TopologyNodeSchema, { name, kind, zone, agents, connected, liveness, missing });
  shown.id = ids.get(node) ?? place.id;
  // Rounded, so that what did not change is told once.
  if (measured > 0) shown.health = Math.round((health / measured) * 100) / 100;
  return shown;
}

function shownEdge(edge: Edge, ids: ReadonlyMap<Node, string>): TopologyEdge {
  const { from, to, relationship, count, rate, messages, failed } = edge;
  const shown = create(TopologyEdgeSchema, {
    ...{ relationship, count },
    fromId: ids.get(from) ?? from.place.id,
    toId: ids.get(to) ?? to.place.id,
    rate: Math.round(rate * 100) / 100,
    messages: BigInt(messages),
    failed: BigInt(failed),
  });
  const p95 = edge.latency?.quantile(0.95);
  if (p95 !== undefined) shown.latencyP95 = durationFromMs(p95);
  return shown;
}

const byEnds = (a: TopologyEdge, b: TopologyEdge): number =>
  order(a.fromId, b.fromId) || order(a.toId, b.toId) || order(a.relationship, b.relationship);
const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
