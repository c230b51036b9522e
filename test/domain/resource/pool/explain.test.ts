import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  AffinitySchema,
  PendingReason,
  PlacementSchema,
  Scope,
  SpreadSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { AgentPool } from '../../../../src/domain/resource/pool/agent-pool.ts';
import type { ExplainOptions, PoolAgent, Want } from '../../../../src/domain/resource/pool/types.ts';
import { anAgent, newPool } from './pool-fixture.ts';

type Fields = Parameters<typeof create<typeof PlacementSchema>>[1];

const render = (resources: Record<string, number>, fields?: Fields): Want => ({
  capability: 'render',
  placement: fields === undefined ? undefined : create(PlacementSchema, fields),
  resources,
});

function explain(pool: AgentPool, want: Want, options: ExplainOptions = {}) {
  return pool.explain(pool.classOf(want), options);
}

const zoned = (id: string, zone: string): PoolAgent => ({ ...anAgent(id, { cpu: 8 }), zone });
const away = (id: string, why: string): PoolAgent => ({
  ...anAgent(id, { cpu: 8 }),
  available: false,
  unavailableWhy: why,
});
const three = (): PoolAgent[] => [
  anAgent('a', { cpu: 8 }),
  anAgent('b', { cpu: 4 }),
  anAgent('c', { cpu: 2 }),
];

/** Holds so much of the agent's resources. */
function take(pool: AgentPool, agentId: string, resources: Record<string, number>, group = 'render'): void {
  pool.hold(`${agentId}/${group}`, { agentId, resources, group, kind: 'task' });
}

test.each<{
  reason: keyof typeof PendingReason;
  agents: PoolAgent[];
  prepare?: (pool: AgentPool) => void;
  want: Want;
  options?: ExplainOptions;
  detail: string;
}>([
  {
    reason: 'UNSPECIFIED',
    agents: three(),
    want: render({ cpu: 3 }),
    detail: 'a is the best of 2 agents that fit',
  },
  { reason: 'NO_CAPABILITY', agents: [], want: render({}), detail: 'the namespace has no agents' },
  {
    reason: 'NO_CAPABILITY',
    agents: three(),
    want: { ...render({}), capability: 'paint' },
    detail: 'none of 3 agents has capability "paint"',
  },
  {
    reason: 'NO_CAPABILITY',
    agents: three(),
    want: render({}, { capabilityVersion: '^2' }),
    detail: 'none of 3 agents with capability "render" has it in version "^2"; they have "1.4.0"',
  },
  {
    reason: 'CONSTRAINTS',
    agents: three(),
    want: render({}, { selector: 'gpu=a100' }),
    detail:
      'constraints exclude all 3 agents with capability "render": selector 3 (labels do not match "gpu=a100": a, b, c)',
  },
  {
    reason: 'CONSTRAINTS',
    agents: [anAgent('a', { cpu: 8 })],
    prepare: (pool) => take(pool, 'a', { cpu: 1 }),
    want: render({ cpu: 1 }, { maxPerAgent: 1 }),
    detail: 'the only agent that could have it now is excluded: 1 max_per_agent (a)',
  },
  {
    reason: 'CONSTRAINTS',
    agents: [zoned('a', 'z1'), zoned('b', 'z2')],
    prepare: (pool) => take(pool, 'a', {}, 'db'),
    want: render(
      { cpu: 1 },
      {
        affinities: [
          create(AffinitySchema, { group: 'db', scope: Scope.ZONE, apart: true, required: true }),
          create(AffinitySchema, { group: 'db', scope: Scope.ZONE, required: true }),
        ],
      },
    ),
    detail: 'all 2 agents that could have it now are excluded: 2 affinity (a, b)',
  },
  {
    reason: 'TOO_LARGE',
    agents: [...three(), away('d', 'lost')],
    want: render({ cpu: 9, gpu: 1 }),
    detail:
      'too large for all 4 agents that constraints leave: 9 cpu needed, the largest has 8 (a); 1 gpu needed, none has any',
  },
  {
    reason: 'TOO_LARGE',
    agents: [anAgent('a', { cpu: 8, gpu: 1 }), anAgent('b', { cpu: 1, gpu: 8 })],
    want: render({ cpu: 8, gpu: 8 }),
    detail: 'too large for all 2 agents that constraints leave: no single one has 8 cpu and 8 gpu',
  },
  {
    reason: 'AGENTS_AWAY',
    agents: [away('a', 'suspect'), away('b', 'draining'), away('d', 'suspect'), anAgent('c', { cpu: 1 })],
    want: render({ cpu: 2 }),
    detail: 'all 3 agents that could have it are away: 2 suspect, 1 draining (a, b, d)',
  },
  {
    reason: 'AGENTS_AWAY',
    agents: [anAgent('a', { cpu: 8 })],
    want: render({ cpu: 2 }),
    options: { whatIf: { drained: new Set(['a']), capacities: new Map() } },
    detail: 'the only agent that could have it is away: 1 supposed to be drained (a)',
  },
  {
    reason: 'DECLINED',
    agents: [anAgent('a', { cpu: 8 }), anAgent('b', { cpu: 8 }), away('d', 'lost')],
    want: render({ cpu: 2 }),
    options: {
      exclude: new Map([
        ['a', 'no licence'],
        ['b', ''],
      ]),
    },
    detail: 'all 2 agents that could have it declined: 1 "no licence" (a, b)',
  },
  {
    reason: 'NO_ROOM',
    agents: [...three(), away('d', 'lost')],
    prepare: (pool) => {
      take(pool, 'a', { cpu: 6 });
      take(pool, 'b', { cpu: 1, slots: 2 });
    },
    want: render({ cpu: 3, slots: 1 }),
    detail:
      'all 2 agents that could have it now are full: 3 cpu needed, 1 has less (at most 2 free, on a); 1 slots needed, 1 has less (at most 0 free, on b)',
  },
  {
    reason: 'TURN',
    agents: [anAgent('a', { cpu: 8 }), anAgent('b', { cpu: 1 })],
    want: render({ cpu: 2 }),
    options: { keptFree: new Map([['a', 'task/large']]), forKey: 'task/small' },
    detail: 'the only agent that has room is kept free for what has waited longer: 1 task/large (a)',
  },
])('why not: $reason, $detail', ({ reason, agents, prepare, want, options, detail }) => {
  const pool = newPool(agents);
  prepare?.(pool);
  const explained = explain(pool, want, options);
  expect(explained).toMatchObject({
    reason: PendingReason[reason],
    detail,
    placeable: reason === 'UNSPECIFIED',
  });
});

test('each agent is counted at the first constraint that excludes it, in the order of the contract', () => {
  const pool = newPool([
    { ...anAgent('a'), capabilities: [] },
    { ...anAgent('b'), capabilities: [{ name: 'render', version: '0.9.0' }] },
    anAgent('c'),
    { ...anAgent('d'), labels: { gpu: 'x' } },
    ...['e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm'].map((id) => ({
      ...anAgent(id, { cpu: 8 }),
      labels: { gpu: 'x' },
      zone: id === 'k' ? 'z2' : 'z1',
      available: id !== 'f' && id !== 'g',
      unavailableWhy: id === 'f' ? 'quarantined' : 'suspect',
    })),
  ]);
  take(pool, 'i', {});
  take(pool, 'j', {}, 'db');
  take(pool, 'k', {}, 'noise');
  for (const key of ['k1', 'k2', 'k3']) {
    pool.hold(key, { agentId: 'k', resources: {}, group: 'render', kind: 'task' });
  }
  const fields: Fields = {
    capabilityVersion: '>=1',
    selector: 'gpu=x',
    agentIds: ['a', 'b', 'c', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm'],
    notAgentIds: ['e'],
    affinities: [create(AffinitySchema, { group: 'db', apart: true, required: true })],
    spreads: [create(SpreadSchema, { scope: Scope.AGENT, maxSkew: 1, required: true })],
  };
  const options: ExplainOptions = {
    exclude: new Map([['h', 'busy']]),
    keptFree: new Map([['l', 'task/9']]),
    whatIf: { drained: new Set(['m']), capacities: new Map() },
  };
  const counted = (want: Want) =>
    explain(pool, want, options).excluded.map(({ constraint, agents, examples, detail }) => [
      ...[constraint, agents, examples.join(), detail],
    ]);
  expect(counted(render({}, fields))).toEqual([
    ['capability', 1, 'a', 'without capability "render"'],
    ['capability_version', 1, 'b', 'version ">=1" is wanted; they have "0.9.0"'],
    ['selector', 1, 'c', 'labels do not match "gpu=x"'],
    ['agent_ids', 1, 'd', 'not among the 12 agents that may have it'],
    ['not_agent_ids', 1, 'e', 'ruled out by name'],
    ['phase', 1, 'f', '1 quarantined'],
    ['liveness', 1, 'g', '1 suspect'],
    ['declined', 1, 'h', 'declined it: 1 "busy"'],
    ['affinity', 1, 'j', 'no agent that has any of group "db"'],
    ['spread', 2, 'i,k', 'at most 1 more of group "render" than on the agent with the fewest'],
    ['reserved_for_waiting', 1, 'l', 'kept free for task/9'],
    ['what_if_drained', 1, 'm', 'supposed to be drained'],
  ]);
  expect(
    counted(render({}, { ...fields, maxPerAgent: 1 })).filter(([name]) => name === 'max_per_agent'),
  ).toEqual([['max_per_agent', 2, 'i,k', 'at most 1 of group "render" on one agent']]);
});

test('an agent counts at every resource that it lacks, with the most that is free and that there is', () => {
  const pool = newPool(three());
  take(pool, 'a', { cpu: 7, slots: 2 });
  take(pool, 'b', { cpu: 1 });
  const { exhausted, fitting, eligible } = explain(pool, render({ cpu: 3, slots: 1 }));
  expect(exhausted.map(({ $typeName, ...rest }) => rest)).toEqual([
    { resource: 'cpu', needed: 3n, agents: 2, mostFree: 2n, largestCapacity: 8n },
    { resource: 'slots', needed: 1n, agents: 1, mostFree: 0n, largestCapacity: 2n },
  ]);
  expect({ fitting, eligible }).toEqual({ fitting: 1, eligible: 2 });
});

test('a supposed capacity counts for the question alone', () => {
  const pool = newPool(three());
  const want = render({ cpu: 20 });
  const rooms: string[] = [];
  pool.listen({ room: (agentId) => rooms.push(agentId) });
  const whatIf = {
    drained: new Set<string>(),
    capacities: new Map([
      ['b', { cpu: 32 }],
      ['nobody', { cpu: 99 }],
    ]),
  };
  expect(explain(pool, want, { whatIf })).toMatchObject({ placeable: true, agentId: 'b', eligible: 1 });
  expect(explain(pool, want)).toMatchObject({ placeable: false, reason: PendingReason.TOO_LARGE });
  expect(rooms).toEqual([]);
  expect(pool.usageOf('b')?.resources.map(({ resource, capacity }) => [resource, capacity])).toEqual([
    ['cpu', 4],
    ['slots', 2],
  ]);
});

test('at most ten scores are told, the best first, and the first is who would be chosen', () => {
  const pool = newPool(Array.from({ length: 30 }, (_, index) => anAgent(`a${index}`, { cpu: 10 + index })));
  const wantClass = pool.classOf(render({ cpu: 10 }, { strategy: 1 }));
  const { scores, fitting } = pool.explain(wantClass);
  expect(fitting).toBe(30);
  expect(scores.map(({ agentId }) => agentId)).toEqual(Array.from({ length: 10 }, (_, index) => `a${index}`));
  expect(scores[0]).toMatchObject({ score: 1, parts: { fill: 1 } });
  expect(pool.choose(wantClass)?.agentId).toBe('a0');
});

test('a zone that is supposed to be drained, or whose agents are away, holds no other zone back', () => {
  const want = render({ cpu: 1 }, { spreads: [create(SpreadSchema, { scope: Scope.ZONE, required: true })] });
  const fleet = (available: boolean) => {
    const pool = newPool([zoned('a', 'z1'), { ...zoned('b', 'z2'), available, unavailableWhy: 'lost' }]);
    take(pool, 'a', { cpu: 1 });
    return pool;
  };
  expect(explain(fleet(true), want)).toMatchObject({ agentId: 'b', fitting: 1 });
  expect(explain(fleet(false), want)).toMatchObject({ agentId: 'a', fitting: 1 });
  const whatIf = { drained: new Set(['b']), capacities: new Map() };
  expect(explain(fleet(true), want, { whatIf })).toMatchObject({ agentId: 'a', fitting: 1 });
});
