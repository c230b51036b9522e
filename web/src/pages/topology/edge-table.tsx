import { Card } from '../../components/card.tsx';
import { ScrollX } from '../../components/scroll-x.tsx';
import { count, measured, millis } from '../../lib/format.ts';
import type { Graph, GraphEdge } from './graph.ts';
import { nameIn } from './node-card.tsx';

const MOST = 200;

const WORDS: Readonly<Record<string, string>> = {
  '': 'sends to',
  DEPENDS_ON: 'depends on',
  SUPERVISED_BY: 'is supervised by',
};

/** What is between nodes, the busiest first: the picture in words and figures. */
export function EdgeTable({ graph, chosen }: { graph: Graph; chosen: string }) {
  const all = graph.edges
    .filter(({ from, to }) => chosen === '' || from === chosen || to === chosen)
    .sort((a, b) => b.rate - a.rate || b.messages - a.messages || order(a, b));
  return (
    <Card title={chosen === '' ? 'In figures' : `In figures: ${nameIn(graph, chosen)}`} flush>
      <ScrollX label="What is between them">
        <table class="table">
          <thead>
            <tr>
              <th scope="col">From</th>
              <th scope="col">What</th>
              <th scope="col">To</th>
              <th scope="col" class="number">
                A second
              </th>
              <th scope="col" class="number">
                Messages
              </th>
              <th scope="col" class="number">
                Failed
              </th>
              <th scope="col" class="number">
                Done within (p95)
              </th>
            </tr>
          </thead>
          <tbody>
            {all.slice(0, MOST).map((edge) => (
              <tr key={`${edge.from} ${edge.to} ${edge.relationship}`}>
                <th scope="row">{nameIn(graph, edge.from)}</th>
                <td>
                  {WORDS[edge.relationship] ?? edge.relationship}
                  {edge.relationship !== '' && edge.count > 1 && (
                    <span class="muted"> ×{count(edge.count)}</span>
                  )}
                </td>
                <td>{nameIn(graph, edge.to)}</td>
                <td class="number">{edge.relationship === '' ? measured('per_second', edge.rate) : '–'}</td>
                <td class="number">{edge.relationship === '' ? count(edge.messages) : '–'}</td>
                <td class={`number${edge.failed > 0 ? ' tone-bad' : ''}`}>
                  {edge.relationship === '' ? count(edge.failed) : '–'}
                </td>
                <td class="number">{millis(edge.p95)}</td>
              </tr>
            ))}
          </tbody>
        </table>
        {all.length > MOST && (
          <p class="more-note muted">
            The busiest {MOST} of {count(all.length)}: choose a node to see its own.
          </p>
        )}
      </ScrollX>
    </Card>
  );
}

const order = (a: GraphEdge, b: GraphEdge): number =>
  a.from < b.from ? -1 : a.from > b.from ? 1 : a.to < b.to ? -1 : 1;
