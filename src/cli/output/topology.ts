import type {
  GetTopologyResponse,
  TopologyEdge,
  TopologyNode,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { livenessSpan, shareTone } from './agent-cells.ts';
import { formatFigure } from './figures.ts';
import { type Column, renderTable } from './table.ts';
import { bad, dim, plain, renderLine, type Span, type Style, strong, warn } from './text.ts';
import { formatDuration } from './time.ts';

/** Each agent (or group) that has to do with others, and below it with whom. */
export function renderTopology(response: GetTopologyResponse, style: Style, all: boolean): string[] {
  const nodes = new Map(response.nodes.map((node) => [node.id, node]));
  const from = new Map<string, TopologyEdge[]>();
  const touched = new Set<string>();
  for (const edge of response.edges) {
    from.set(edge.fromId, [...(from.get(edge.fromId) ?? []), edge]);
    touched.add(edge.fromId).add(edge.toId);
  }
  const columns: Column[] = [
    { title: response.groupBy === '' ? 'AGENT' : response.groupBy.toUpperCase(), shrinkTo: 14 },
    { title: 'STATE' },
    { title: 'HEALTH', align: 'right' },
    { title: 'WHAT', shrinkTo: 10 },
    { title: 'RATE', align: 'right' },
    { title: 'MESSAGES', align: 'right', dropOrder: 2 },
    { title: 'FAILED', align: 'right' },
    { title: 'P95', align: 'right', dropOrder: 1 },
  ];
  const rows = response.nodes
    .filter(({ id }) => all || touched.has(id))
    .flatMap((node): Span[][] => [
      nodeCells(node),
      ...(from.get(node.id) ?? []).map((edge) => edgeCells(edge, nodes)),
    ]);
  if (rows.length === 0) return [];
  const head = `${response.agents} agents, ${response.nodes.length} shown, ${response.edges.length} connections`;
  return [...renderTable(columns, rows, style), renderLine([dim(head)], style)];
}

function nodeCells(node: TopologyNode): Span[] {
  const { id, kind, agents, health } = node;
  return [
    strong(id === '' ? '(none)' : id),
    stateOf(node),
    health === undefined ? dim('–') : { text: health.toFixed(2), tone: shareTone(health) },
    dim(agents > 1 ? `${agents} agents` : kind),
  ];
}

function stateOf({ missing, agents, connected, liveness }: TopologyNode): Span {
  if (missing) return bad('NOT REGISTERED');
  if (agents <= 1) return livenessSpan(liveness);
  return connected < agents ? warn(`${connected}/${agents}`) : plain(`${connected}/${agents}`);
}

function edgeCells(edge: TopologyEdge, nodes: ReadonlyMap<string, TopologyNode>): Span[] {
  const { toId, relationship, count, rate, messages, failed, latencyP95 } = edge;
  const to = nodes.get(toId);
  const talks = relationship === '';
  const what = talks ? 'messages' : relationship.toLowerCase().replaceAll('_', ' ');
  return [
    plain(`  → ${toId === '' ? '(none)' : toId}`),
    to === undefined ? plain('') : stateOf(to),
    plain(''),
    plain(count > 1 ? `${what} ×${count}` : what),
    talks ? plain(formatFigure(rate, 'per_second')) : plain(''),
    talks ? plain(String(messages)) : plain(''),
    failed > 0n ? bad(String(failed)) : plain(talks ? '0' : ''),
    talks ? plain(formatDuration(latencyP95)) : plain(''),
  ];
}
