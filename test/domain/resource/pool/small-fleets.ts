import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  AffinitySchema,
  PlacementSchema,
  SpreadSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { AgentPool } from '../../../../src/domain/resource/pool/agent-pool.ts';
import type { Hold, PoolAgent, Want } from '../../../../src/domain/resource/pool/types.ts';
import type { Ask, World } from './oracle.ts';

export const ids = ['a', 'b', 'c', 'd', 'e', 'f'];
const groups = ['render', 'db', 'web'];
const id = fc.constantFrom(...ids);
const group = fc.constantFrom(...groups);
const rarely = <T>(of: fc.Arbitrary<T>, otherwise: T) =>
  fc.oneof({ weight: 3, arbitrary: fc.constant(otherwise) }, { weight: 1, arbitrary: of });

const often = <T>(of: fc.Arbitrary<T>, otherwise: T) => fc.oneof(fc.constant(otherwise), of);

/** Few of everything, so that all that can meet does. */
export const agent: fc.Arbitrary<PoolAgent> = fc.record({
  id,
  uid: fc.constant('u'),
  labels: fc.constantFrom<Record<string, string>>({}, { gpu: 'x' }, { gpu: 'y' }),
  zone: fc.constantFrom('', 'z1', 'z2'),
  capabilities: fc.array(
    fc.record({
      name: fc.constantFrom('render', 'render', 'other'),
      version: fc.constantFrom('', '1.2.0', '2.0.0-rc.1', '2.1.0', 'blue'),
    }),
    { minLength: 1, maxLength: 2 },
  ),
  capacity: fc.constantFrom<Record<string, number>>(
    { cpu: 10, slots: 4 },
    { cpu: 10 },
    { cpu: 4, gpu: 2, slots: 3 },
    { cpu: 0 },
    {},
  ),
  available: rarely(fc.constant(false), true),
  unavailableWhy: fc.constantFrom('suspect', 'DISCONNECTED', 'draining'),
});

const amounts = fc.constantFrom<Record<string, number>>(
  { slots: 1 },
  { slots: 1, cpu: 3 },
  { slots: 1, cpu: 7 },
  { cpu: 5, gpu: 1 },
  { slots: 1, gpu: 5 },
  { slots: 1, tape: 1 },
  {},
);

export const want: fc.Arbitrary<Want> = fc.record({
  capability: fc.constantFrom('render', 'render', 'render', 'other', '', 'none'),
  resources: amounts,
  placement: fc.option(
    fc
      .record({
        capabilityVersion: rarely(fc.constantFrom('>=1', '^2.0.0', 'blue', '1.2.0', '2.0.0-rc.1'), ''),
        selector: rarely(fc.constantFrom('gpu=x', 'gpu=q'), ''),
        agentIds: rarely(fc.array(id, { maxLength: 3 }), []),
        notAgentIds: rarely(fc.array(id, { maxLength: 2 }), []),
        strategy: fc.constantFrom(0, 1, 2, 3),
        affinities: often(
          fc.array(
            fc
              .record({
                group,
                scope: fc.constantFrom(0, 1, 2),
                apart: fc.boolean(),
                required: fc.boolean(),
                weight: fc.constantFrom(0, 10, 100),
              })
              .map((one) => create(AffinitySchema, one)),
            { minLength: 1, maxLength: 3 },
          ),
          [],
        ),
        spreads: often(
          fc.uniqueArray(
            fc
              .record({
                scope: fc.constantFrom(1, 2),
                maxSkew: fc.constantFrom(0, 1, 2),
                required: fc.boolean(),
              })
              .map((one) => create(SpreadSchema, one)),
            { minLength: 1, maxLength: 2, selector: ({ scope }) => scope },
          ),
          [],
        ),
        maxPerAgent: rarely(fc.constantFrom(1, 2), 0),
        group: rarely(group, ''),
      })
      .map((fields) => create(PlacementSchema, fields)),
    { nil: undefined, freq: 4 },
  ),
});

const hold: fc.Arbitrary<Hold> = fc.record({
  agentId: id,
  resources: amounts,
  group,
  kind: fc.constantFrom('task', 'allocation'),
});

export type Step =
  | { do: 'agent'; agent: PoolAgent }
  | { do: 'remove'; id: string }
  | { do: 'hold'; key: string; hold: Hold }
  | { do: 'free'; key: string }
  | { do: 'load'; id: string; load: number | undefined; usage: Record<string, number> | undefined }
  | { do: 'ask'; ask: Ask };

const key = fc.constantFrom('t1', 't2', 't3', 't4', 't5', 't6');
export const ask: fc.Arbitrary<Ask> = fc.record({
  want,
  exclude: rarely(
    fc.array(id, { maxLength: 3 }).map((some) => new Set(some)),
    new Set<string>(),
  ),
  keptFree: rarely(
    fc.array(fc.tuple(id, key), { maxLength: 2 }).map((some) => new Map(some)),
    new Map<string, string>(),
  ),
  forKey: key,
  drained: often(
    fc.array(id, { maxLength: 3 }).map((some) => new Set(some)),
    new Set<string>(),
  ),
  capacities: rarely(
    fc
      .array(fc.tuple(id, fc.constantFrom<Record<string, number>>({ cpu: 20, gpu: 8 }, {}, { slots: 0 })), {
        maxLength: 2,
      })
      .map((some) => new Map(some)),
    new Map<string, Record<string, number>>(),
  ),
});

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: agent.map((one): Step => ({ do: 'agent', agent: one })) },
  { weight: 1, arbitrary: id.map((one): Step => ({ do: 'remove', id: one })) },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant('hold' as const), key, hold }),
  },
  { weight: 2, arbitrary: key.map((one): Step => ({ do: 'free', key: one })) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('load' as const),
      id,
      load: fc.option(fc.constantFrom(0, 0.3, 1), { nil: undefined }),
      usage: fc.option(fc.constantFrom({ cpu: 6 }, { cpu: 100, tape: 1 }), { nil: undefined }),
    }),
  },
  { weight: 4, arbitrary: ask.map((one): Step => ({ do: 'ask', ask: one })) },
);

export function newWorld(defaultStrategy: World['defaultStrategy']): World {
  return {
    ...{ agents: new Map(), loads: new Map(), holds: new Map() },
    ...{ overcommit: { cpu: 1.5 }, defaultSlots: 2, defaultStrategy },
  };
}

/** Does it to both. */
export function carryOut(pool: AgentPool, world: World, one: Exclude<Step, { do: 'ask' }>): void {
  switch (one.do) {
    case 'agent':
      pool.setAgent(one.agent);
      world.agents.set(one.agent.id, one.agent);
      break;
    case 'remove':
      pool.removeAgent(one.id);
      world.agents.delete(one.id);
      world.loads.delete(one.id);
      break;
    case 'hold':
      pool.hold(one.key, one.hold);
      world.holds.set(one.key, one.hold);
      break;
    case 'free':
      pool.free(one.key);
      world.holds.delete(one.key);
      break;
    case 'load':
      pool.setLoad(one.id, one.load, one.usage);
      if (world.agents.has(one.id)) world.loads.set(one.id, { load: one.load, usage: one.usage });
  }
}
