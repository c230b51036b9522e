import { expect, test } from 'vitest';
import { parseLabelSelector } from '../../../../src/domain/agent/label-selector.ts';
import type { ResourceFigures } from '../../../../src/domain/resource/pool/types.ts';
import { anAgent, newPool } from './pool-fixture.ts';

function fleet() {
  const pool = newPool(
    [
      { ...anAgent('a', { cpu: 10, slots: 4 }), zone: 'z1', labels: { tier: 'x' } },
      { ...anAgent('b', { cpu: 6, slots: 4 }), zone: 'z1' },
      {
        ...anAgent('c', { cpu: 20, slots: 4 }),
        ...{ zone: 'z2', available: false, unavailableWhy: 'suspect' },
      },
    ],
    { overcommit: { cpu: 1.5 } },
  );
  pool.hold('t1', { agentId: 'a', resources: { cpu: 12, slots: 1 }, group: 'g', kind: 'task' });
  pool.hold('r1', { agentId: 'a', resources: { cpu: 1 }, group: 'g', kind: 'allocation' });
  pool.hold('t2', { agentId: 'c', resources: { cpu: 5, slots: 1 }, group: 'g', kind: 'task' });
  pool.setLoad('a', 0.4, { cpu: 7, disk: 3 }, 1_000);
  pool.setLoad('c', undefined, { cpu: 2 }, 400);
  return pool;
}

const figures = (resource: string, fields: Partial<ResourceFigures>): ResourceFigures => ({
  ...{ resource, capacity: 0, reservable: 0, reserved: 0, excess: 0 },
  ...{ used: undefined, usedAgents: 0, usedOldestMs: undefined },
  ...fields,
});

test('capacity is summed over agents that may be given work, what is held and used over all', () => {
  const { total, zones, agents } = fleet().usage();
  expect(total).toEqual([
    figures('cpu', {
      ...{ capacity: 16, reservable: 24, reserved: 18 },
      ...{ used: 9, usedAgents: 2, usedOldestMs: 400 },
    }),
    figures('disk', { used: 3, usedAgents: 1, usedOldestMs: 1_000 }),
    figures('slots', { capacity: 8, reservable: 8, reserved: 2 }),
  ]);
  expect(zones.map(({ zone, agents: count }) => [zone, count])).toEqual([
    ['z1', 2],
    ['z2', 1],
  ]);
  expect(zones[1]?.resources[0]).toEqual(
    figures('cpu', { reserved: 5, used: 2, usedAgents: 1, usedOldestMs: 400 }),
  );
  expect(agents.map(({ resources, ...rest }) => rest)).toEqual([
    { agentId: 'a', zone: 'z1', tasks: 1, allocations: 1, available: true, unavailableWhy: '' },
    { agentId: 'b', zone: 'z1', tasks: 0, allocations: 0, available: true, unavailableWhy: '' },
    { agentId: 'c', zone: 'z2', tasks: 1, allocations: 0, available: false, unavailableWhy: 'suspect' },
  ]);
  expect(agents[2]?.resources[0]).toMatchObject({ capacity: 20, reservable: 30, reserved: 5 });
});

test('what is reserved beyond what there is is named where it is, and not set off against room elsewhere', () => {
  const pool = fleet();
  pool.setAgent({ ...anAgent('a', { slots: 4 }), zone: 'z1' });
  expect(pool.usageOf('a')?.resources[0]).toEqual(
    figures('cpu', { reserved: 13, excess: 13, used: 7, usedAgents: 1, usedOldestMs: 1_000 }),
  );
  expect(pool.usage().total[0]).toMatchObject({ resource: 'cpu', capacity: 6, reserved: 18, excess: 13 });
  expect(pool.freeOn('a', 'cpu')).toBe(-13);
  pool.free('t1');
  pool.free('r1');
  expect(pool.usageOf('a')?.resources.map(({ resource }) => resource)).toEqual(['cpu', 'disk', 'slots']);
  pool.setLoad('a', undefined, undefined);
  expect(pool.usageOf('a')?.resources.map(({ resource }) => resource)).toEqual(['slots']);
});

test('a selector picks agents, for the sums too', () => {
  const { total, zones, agents } = fleet().usage({ selector: parseLabelSelector('tier=x') });
  expect(agents.map(({ agentId }) => agentId)).toEqual(['a']);
  expect(zones.map(({ zone }) => zone)).toEqual(['z1']);
  expect(total[0]).toMatchObject({ resource: 'cpu', capacity: 10, reservable: 15, reserved: 13 });
});

test('an agent that left counts nowhere, and what is held on it neither', () => {
  const pool = fleet();
  pool.removeAgent('a');
  expect(pool.usageOf('a')).toBeUndefined();
  expect(pool.usage().total[0]).toMatchObject({ resource: 'cpu', capacity: 6, reserved: 5 });
  expect([...pool.holds('a')].map(([key]) => key)).toEqual(['t1', 'r1']);
});
