import { create } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  AffinitySchema,
  Placement_Strategy,
  PlacementSchema,
  Scope,
  SpreadSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { CandidateSets } from '../../../../src/domain/resource/pool/candidate-sets.ts';
import { Fleet, reservableOf } from '../../../../src/domain/resource/pool/fleet.ts';
import type { Strategy, Want } from '../../../../src/domain/resource/pool/types.ts';
import { versionMatcher } from '../../../../src/domain/resource/pool/version.ts';
import { anAgent, newPool } from './pool-fixture.ts';

type Fields = Parameters<typeof create<typeof PlacementSchema>>[1];

const render = (resources: Record<string, number>, fields?: Fields): Want => ({
  capability: 'render',
  placement: fields === undefined ? undefined : create(PlacementSchema, fields),
  resources,
});

const agents = (count: number, capacity = { cpu: 8 }) =>
  Array.from({ length: count }, (_, index) => anAgent(`a${index}`, capacity));

test('equal agents share the work, also when nothing is left of one task when the next comes', () => {
  const pool = newPool(agents(100));
  const given = new Map<string, number>();
  for (let round = 0; round < 300; round++) {
    // Two kinds by turns, each forgotten at once.
    const wantClass = pool.classOf(render({ cpu: 1 + (round % 2) }));
    const { agentId } = pool.choose(wantClass) ?? { agentId: '' };
    given.set(agentId, (given.get(agentId) ?? 0) + 1);
    pool.hold('t', { agentId, resources: { cpu: 1 }, group: 'render', kind: 'task' });
    pool.free('t');
    pool.release(wantClass);
  }
  expect(given.size).toBe(100);
  expect([...given.values()].every((count) => count === 3)).toBe(true);
});

test.each<{ strategy: Strategy; order: string[] }>([
  { strategy: 'binpack', order: ['full', 'half', 'empty'] },
  { strategy: 'spread', order: ['empty', 'half', 'full'] },
  // "empty" has nothing reserved and says that it is busy.
  { strategy: 'least_loaded', order: ['half', 'empty', 'full'] },
])('$strategy puts first: $order', ({ strategy, order }) => {
  const pool = newPool(
    ['empty', 'half', 'full'].map((id) => anAgent(id, { cpu: 8 })),
    { defaultStrategy: strategy },
  );
  pool.hold('h', { agentId: 'half', resources: { cpu: 4 }, group: 'g', kind: 'task' });
  pool.hold('f', { agentId: 'full', resources: { cpu: 7 }, group: 'g', kind: 'task' });
  pool.setLoad('empty', 0.95, { cpu: 2 });
  pool.setLoad('half', undefined, { cpu: 1, unheard: 9 });
  const { scores } = pool.explain(pool.classOf(render({ cpu: 1 })));
  expect(scores.map(({ agentId }) => agentId)).toEqual(order);
});

test('the score is the mean of its parts by their weights', () => {
  const pool = newPool([
    { ...anAgent('a', { cpu: 10 }), zone: 'z1' },
    { ...anAgent('b', { cpu: 10 }), zone: 'z2' },
  ]);
  pool.hold('a1', { agentId: 'a', resources: { cpu: 2, slots: 1 }, group: 'render', kind: 'task' });
  pool.hold('a2', { agentId: 'a', resources: {}, group: 'render', kind: 'task' });
  pool.hold('db', { agentId: 'a', resources: {}, group: 'db', kind: 'allocation' });
  const wantClass = pool.classOf(
    render(
      { cpu: 4, slots: 1 },
      {
        strategy: Placement_Strategy.BINPACK,
        affinities: [
          create(AffinitySchema, { group: 'db', weight: 100 }),
          create(AffinitySchema, { group: 'db', scope: Scope.ZONE, apart: true }),
        ],
        spreads: [create(SpreadSchema, { scope: Scope.ZONE })],
      },
    ),
  );
  // a: 6 of 10 cpu and both slots; near to db (100 of 150); would have 3, the other zone has none (skew 3, 1 is wanted).
  const a = { fill: (0.6 + 1) / 2, affinity: 100 / 150, spread: 1 / 3 };
  // b: 4 of 10 cpu and 1 of 2 slots; only apart (50 of 150); would have 1.
  const b = { fill: (0.4 + 0.5) / 2, affinity: 50 / 150, spread: 1 };
  const { scores } = pool.explain(wantClass);
  expect(scores.map(({ agentId }) => agentId)).toEqual(['a', 'b']);
  for (const { agentId, score, parts } of scores) {
    const own = agentId === 'a' ? a : b;
    for (const [name, part] of Object.entries(own)) expect(parts[name]).toBeCloseTo(part, 12);
    expect(score).toBeCloseTo((own.fill + 3 * own.affinity + own.spread) / 5, 12);
  }
});

test('what is held before its agent is known counts once it is', () => {
  const pool = newPool([]);
  pool.hold('t', { agentId: 'a', resources: { cpu: 6 }, group: 'render', kind: 'task' });
  const two = pool.classOf(render({ cpu: 2 }, { maxPerAgent: 1, group: 'other' }));
  const three = pool.classOf(render({ cpu: 3 }));
  const own = pool.classOf(render({ cpu: 1 }, { maxPerAgent: 1 }));
  expect(pool.choose(two)).toBeUndefined();
  pool.setAgent(anAgent('a', { cpu: 8 }));
  expect([two, three, own].map((one) => pool.choose(one)?.agentId)).toEqual(['a', undefined, undefined]);
  pool.removeAgent('a');
  expect(pool.choose(two)).toBeUndefined();
  expect(pool.held('t')?.agentId).toBe('a');
  pool.setAgent(anAgent('a', { cpu: 9 }));
  expect(pool.choose(three)?.agentId).toBe('a');
  pool.free('t');
  expect(pool.choose(own)?.agentId).toBe('a');
});

test('an agent that is kept free for something is given to nothing else', () => {
  const pool = newPool(agents(2));
  const wantClass = pool.classOf(render({ cpu: 1 }));
  const keptFree = new Map([
    ['a0', 'task/large'],
    ['a1', 'task/large'],
  ]);
  expect(pool.choose(wantClass, { keptFree, forKey: 'task/small' })).toBeUndefined();
  expect(pool.choose(wantClass, { keptFree, forKey: 'task/large' })?.fitting).toBe(2);
  expect(pool.fits(wantClass, 'a0', { keptFree })).toBe(false);
  expect(pool.fits(wantClass, 'a0')).toBe(true);
});

test('the agent that is easiest to free is large enough, and lacks nothing but room', () => {
  const pool = newPool([
    anAgent('small', { cpu: 4 }),
    anAgent('half', { cpu: 8 }),
    anAgent('full', { cpu: 8 }),
    { ...anAgent('away', { cpu: 8 }), available: false },
  ]);
  pool.hold('h', { agentId: 'half', resources: { cpu: 5 }, group: 'g', kind: 'task' });
  pool.hold('f', { agentId: 'full', resources: { cpu: 8 }, group: 'g', kind: 'task' });
  const large = pool.classOf(render({ cpu: 6 }));
  expect(pool.choose(large)).toBeUndefined();
  expect(pool.easiestToFree(large)).toBe('half');
  const couldFit = ['small', 'half', 'full', 'away', 'nobody'].filter((id) => pool.couldFit(large, id));
  expect(couldFit).toEqual(['half', 'full']);
  expect(pool.easiestToFree(pool.classOf(render({ cpu: 9 })))).toBeUndefined();
});

test('equal wants share a class until all have released it', () => {
  const pool = newPool(agents(1));
  const first = pool.classOf(render({ cpu: 1, slots: 1 }, { agentIds: ['a0', 'a1'] }));
  const second = pool.classOf({
    ...render({ slots: 1, cpu: 1 }, { agentIds: ['a1', 'a0'] }),
    group: 'render',
  });
  expect(second).toBe(first);
  expect(pool.classOf(render({ cpu: 2, slots: 1 }, { agentIds: ['a0', 'a1'] }))).not.toBe(first);
  pool.release(first);
  expect(pool.classOf(first.want)).toBe(first);
  pool.release(first);
  pool.release(second);
  expect(pool.classOf(first.want)).not.toBe(first);
});

test('candidates are the same, found anew after they were forgotten or kept all the time', () => {
  const fleet = new Fleet({ overcommit: {}, defaultSlots: 1 });
  const sets = new CandidateSets({ fleet, mostKept: 5 });
  const set = (id: string, zone: string) => {
    const entry = fleet.entryFor(id);
    const before = entry.agent;
    const after = { ...anAgent(id), labels: { zone } };
    fleet.setAgent(entry, after);
    sets.changed(entry.slot, before, after);
  };
  for (const [at, id] of ['a', 'b', 'c', 'd'].entries()) set(id, `z${at % 2}`);
  const byZone = ['z0', 'z1', 'z2'].map((zone) => sets.setOf(render({}, { selector: `zone=${zone}` })));
  const all = sets.setOf(render({}));
  const idsOf = (one: typeof all) =>
    [...sets.slotsOf(one).subarray(0, one.size)].map((slot) => fleet.idAt(slot)).join('');
  expect([...byZone, all].map(idsOf)).toEqual(['ac', 'bd', '', 'abcd']);
  // More than five are not kept: the first were forgotten for the last.
  expect(byZone[0]?.slots).toBeUndefined();
  set('a', 'z2');
  set('e', 'z1');
  expect([...byZone, all].map(idsOf)).toEqual(['c', 'bde', 'a', 'abcde']);
});

test.each<[wanted: string, version: string, satisfied: boolean]>([
  ['', '', true],
  ['', 'anything', true],
  ['1.2.3', '1.2.3', true],
  ['1.2.3', 'v1.2.3', true],
  ['1.2.3', '1.2.4', false],
  ['^1.4', '1.9.0', true],
  ['^1.4', '2.0.0', false],
  ['>=1.2 <2', '1.2.0', true],
  ['^1.4', '1.5.0-rc.1', false],
  ['>=1', 'blue', false],
  ['>=1', '', false],
  ['blue', 'blue', true],
  ['blue', 'green', false],
  ['2024-01', '2024-01', true],
  ['1.4', '1.4', true],
])('version %j takes %j: %j', (wanted, version, satisfied) => {
  const takes = versionMatcher(wanted);
  expect([takes(version), takes(version)]).toEqual([satisfied, satisfied]);
});

test.each<[capacity: number, ratio: number, reservable: number]>([
  [10, 1, 10],
  [10, 1.5, 15],
  [100, 1.15, 115],
  [3, 1.5, 4],
  [7, 0.5, 3],
  [0, 4, 0],
  [Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER],
  [Number.MAX_SAFE_INTEGER, 2, Number.MAX_SAFE_INTEGER],
])('of a capacity of %d, over-committed %d times, %d may be reserved', (capacity, ratio, reservable) => {
  expect(reservableOf(capacity, ratio)).toBe(reservable);
});

test('an agent without "slots" has the configured number, and more only where over-commit says so', () => {
  const pool = newPool([anAgent('a'), anAgent('b', { slots: 0 })], {
    defaultSlots: 2,
    overcommit: { slots: 1.5 },
  });
  const wantClass = pool.classOf(render({ slots: 1 }));
  const given = [1, 2, 3, 4].map((round) => {
    const agentId = pool.choose(wantClass)?.agentId;
    if (agentId !== undefined) {
      pool.hold(`${round}`, { agentId, resources: { slots: 1 }, group: 'render', kind: 'task' });
    }
    return agentId;
  });
  expect(given).toEqual(['a', 'a', 'a', undefined]);
});

test('a name such as "__proto__" or "constructor" is a resource like others', () => {
  const odd = JSON.parse('{"__proto__": 3, "constructor": 2}') as Record<string, number>;
  const pool = newPool([anAgent('a', odd), anAgent('b', { cpu: 1 })]);
  const wantClass = pool.classOf(render(JSON.parse('{"__proto__": 2, "constructor": 1}')));
  expect(pool.choose(wantClass)).toMatchObject({ agentId: 'a', eligible: 1 });
  pool.hold('t', { agentId: 'a', resources: odd, group: 'constructor', kind: 'task' });
  expect(pool.choose(wantClass)).toBeUndefined();
  expect(pool.freeOn('a', '__proto__')).toBe(0);
});

test('a copy answers the same and goes its own way', () => {
  const pool = newPool(agents(2));
  pool.hold('t', { agentId: 'a0', resources: { cpu: 8 }, group: 'render', kind: 'task' });
  pool.setLoad('a1', 0.5, { cpu: 1 }, 77);
  pool.hold('early', { agentId: 'late', resources: { cpu: 5 }, group: 'render', kind: 'task' });
  const copy = pool.copy();
  expect(copy.usage()).toEqual(pool.usage());
  copy.free('t');
  expect(copy.freeOn('a0', 'cpu')).toBe(8);
  expect(pool.freeOn('a0', 'cpu')).toBe(0);
  copy.setAgent(anAgent('late', { cpu: 8 }));
  expect(copy.freeOn('late', 'cpu')).toBe(3);
  copy.free('early');
  expect(copy.freeOn('late', 'cpu')).toBe(8);
  expect([pool.agent('late'), pool.held('early')?.agentId]).toEqual([undefined, 'late']);
});
