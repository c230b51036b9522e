import { Badge } from '../../components/badge.tsx';
import { Card, Fact, Facts } from '../../components/card.tsx';
import { count, percent } from '../../lib/format.ts';
import { href, setQuery } from '../../router.ts';
import { noteOf, titleOf, toneOf } from './drawing.tsx';
import type { Graph, GraphEdge, GraphNode } from './graph.ts';

/** The node that is looked at, and what leads to and from it. */
export function NodeCard({ node, graph }: { node: GraphNode; graph: Graph }) {
  const tone = toneOf(node);
  const names = (which: (edge: GraphEdge) => string | undefined): string => {
    const ids = new Set(graph.edges.flatMap((edge) => which(edge) ?? []));
    const found = [...ids].map((id) => nameIn(graph, id));
    return found.length === 0
      ? 'nobody'
      : found.length > 8
        ? `${found.slice(0, 8).join(', ')} and ${found.length - 8} more`
        : found.join(', ');
  };
  const isMessage = ({ relationship }: GraphEdge) => relationship === '';
  return (
    <Card
      title={titleOf(node)}
      aside={
        <>
          <Badge
            tone={tone}
            mark={tone === 'ok' ? 'dot' : tone === 'idle' ? 'ring' : tone === 'warn' ? 'half' : 'cross'}
            word={noteOf(node)}
          />
          <button type="button" class="quiet" onClick={() => setQuery({ node: '' })}>
            Close
          </button>
        </>
      }
    >
      <Facts>
        {node.isAgent && (
          <Fact name="page">
            <a href={href(['agents', node.id])}>{node.id}</a>
          </Fact>
        )}
        <Fact name="attached">
          {count(node.connected)} of {count(node.agents)}
        </Fact>
        <Fact name="health">{percent(node.health)}</Fact>
        {node.zone !== '' && <Fact name="zone">{node.zone}</Fact>}
        <Fact name="depends on">
          {names((edge) =>
            edge.relationship === 'DEPENDS_ON' && edge.from === node.id ? edge.to : undefined,
          )}
        </Fact>
        <Fact name="needed by">
          {names((edge) =>
            edge.relationship === 'DEPENDS_ON' && edge.to === node.id ? edge.from : undefined,
          )}
        </Fact>
        <Fact name="sends to">
          {names((edge) => (isMessage(edge) && edge.from === node.id ? edge.to : undefined))}
        </Fact>
        <Fact name="hears from">
          {names((edge) => (isMessage(edge) && edge.to === node.id ? edge.from : undefined))}
        </Fact>
      </Facts>
    </Card>
  );
}

export function nameIn(graph: Graph, id: string): string {
  const node = graph.nodes.get(id);
  return node === undefined ? id : titleOf(node);
}
