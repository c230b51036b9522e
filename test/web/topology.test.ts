import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { GetTopologyResponseSchema } from '../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { graphOf, layoutOf } from '../../web/src/pages/topology/graph.ts';

type Init = Exclude<MessageInitShape<typeof GetTopologyResponseSchema>, { $typeName: string }>;
const told = (init: Init) => create(GetTopologyResponseSchema, init);
const node = (id: string, more: object = {}) => ({
  id,
  kind: id.replace(/\d/, ''),
  agents: 1,
  connected: 1,
  ...more,
});
const edge = (fromId: string, toId: string, relationship = '') => ({
  fromId,
  toId,
  relationship,
  count: 1,
  rate: 1,
  messages: 10n,
});

/** Ids by column, from left to right. */
function columns(init: Init): string[][] {
  const byX = new Map<number, string[]>();
  for (const { node: placed, x } of layoutOf(graphOf(told(init), 'none')).placed.values())
    byX.set(x, [...(byX.get(x) ?? []), placed.id]);
  return [...byX].sort(([a], [b]) => a - b).map(([, ids]) => ids.sort());
}

test('who needs or talks to others stands left of them', () => {
  const nodes = ['web1', 'web2', 'api', 'db'].map((id) => node(id));
  const edges = [edge('web1', 'api'), edge('web2', 'api'), edge('api', 'db', 'DEPENDS_ON')];
  expect(columns({ nodes, edges })).toEqual([['web1', 'web2'], ['api'], ['db']]);
});

test('a circle that messages close is opened there: what agents declare decides', () => {
  const nodes = ['worker', 'planner', 'billing'].map((id) => node(id));
  const edges = [
    edge('worker', 'planner', 'DEPENDS_ON'),
    edge('planner', 'worker'),
    edge('billing', 'worker'),
  ];
  expect(columns({ nodes, edges })).toEqual([['billing'], ['worker'], ['planner']]);
});

test('circles of what agents declare, and one that talks to itself, are drawn all the same', () => {
  const nodes = ['a', 'b', 'c'].map((id) => node(id));
  const edges = [
    edge('a', 'b', 'DEPENDS_ON'),
    edge('b', 'c', 'DEPENDS_ON'),
    edge('c', 'a', 'DEPENDS_ON'),
    edge('a', 'a'),
  ];
  expect(columns({ nodes, edges }).flat().sort()).toEqual(['a', 'b', 'c']);
});

test('agents are put together by kind, with the mean of their health and the sum of what is between them', () => {
  const nodes = [
    node('web1', { health: 1 }),
    node('web2', { health: 0, connected: 0 }),
    node('web3'),
    node('db', { health: 0.5 }),
    { id: 'billing', agents: 0 },
  ];
  const edges = [
    edge('web1', 'db', 'DEPENDS_ON'),
    edge('web2', 'db', 'DEPENDS_ON'),
    edge('billing', 'web1'),
    edge('billing', 'web2'),
  ];
  const graph = graphOf(told({ nodes, edges }), 'kind');
  expect([...graph.nodes.values()]).toMatchObject([
    { name: 'web', agents: 3, connected: 2, health: 0.5, isAgent: false },
    { name: 'db', agents: 1, health: 0.5 },
    { id: 'billing', agents: 0, isAgent: false },
  ]);
  expect(graph.edges).toMatchObject([
    { from: 'group web', to: 'group db', relationship: 'DEPENDS_ON', count: 2 },
    { from: 'billing', to: 'group web', relationship: '', count: 2, rate: 2, messages: 20 },
  ]);
});

test('more than a picture can show is not laid out, and those with nothing between them stand apart', () => {
  const nodes = Array.from({ length: 400 }, (_, index) => node(`n${index}`));
  const edges = nodes.slice(1).map(({ id }) => edge(id, 'n0'));
  expect(layoutOf(graphOf(told({ nodes, edges }), 'none'))).toMatchObject({ isTooMuch: true, alone: [] });
  const few = layoutOf(graphOf(told({ nodes, edges: edges.slice(0, 1) }), 'none'));
  expect([few.isTooMuch, few.placed.size, few.alone.length]).toEqual([false, 2, 398]);
});
