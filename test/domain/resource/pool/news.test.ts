import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  AffinitySchema,
  PlacementSchema,
  Scope,
  SpreadSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { AgentPool } from '../../../../src/domain/resource/pool/agent-pool.ts';
import type { Want } from '../../../../src/domain/resource/pool/types.ts';
import type { WantClass } from '../../../../src/domain/resource/pool/want-class.ts';
import { anAgent, newPool } from './pool-fixture.ts';
import { agent, carryOut, ids, newWorld, step, want } from './small-fleets.ts';

function listening(pool: AgentPool): { rooms: string[]; loosened: WantClass[] } {
  const heard: { rooms: string[]; loosened: WantClass[] } = { rooms: [], loosened: [] };
  pool.listen({
    room: (agentId) => heard.rooms.push(agentId),
    loosened: (wantClass) => heard.loosened.push(wantClass),
  });
  return heard;
}

const task = (agentId: string, resources: Record<string, number>, group = 'render') =>
  ({ agentId, resources, group, kind: 'task' }) as const;

test('whatever fits where it did not before is told, whatever changed', () => {
  fc.assert(
    fc.property(
      fc.array(agent, { minLength: 3, maxLength: 6 }),
      fc.array(want, { minLength: 2, maxLength: 4 }),
      fc.array(
        step.filter((one) => one.do !== 'ask'),
        { minLength: 5, maxLength: 25 },
      ),
      (agents, wants, steps) => {
        const world = newWorld('spread');
        const pool = new AgentPool(world);
        for (const one of agents) carryOut(pool, world, { do: 'agent', agent: one });
        const classes = wants.map((one) => pool.classOf(one));
        const heard = listening(pool);
        const where = () => classes.map((one) => ids.filter((agentId) => pool.fits(one, agentId)));
        for (const one of steps) {
          const before = where();
          heard.rooms.length = 0;
          heard.loosened.length = 0;
          carryOut(pool, world, one);
          const after = where();
          for (const [at, wantClass] of classes.entries()) {
            for (const agentId of after[at] ?? []) {
              if (before[at]?.includes(agentId) === true) continue;
              expect(heard.rooms.includes(agentId) || heard.loosened.includes(wantClass)).toBe(true);
            }
          }
        }
      },
    ),
    { numRuns: 1000, seed: 20261122 },
  );
}, 60_000);

test('room is told of the agent where it came free, and of no other', () => {
  const pool = newPool([anAgent('a', { cpu: 10 }), anAgent('b', { cpu: 10 })]);
  const { rooms } = listening(pool);
  pool.hold('t', task('a', { cpu: 4 }));
  pool.hold('t', task('a', { cpu: 6 }));
  expect(rooms).toEqual([]);
  pool.hold('t', task('a', { cpu: 5 }));
  expect(rooms).toEqual(['a']);
  pool.hold('t', task('b', { cpu: 5 }));
  expect(rooms).toEqual(['a', 'a']);
  pool.free('t');
  pool.free('t');
  expect(rooms).toEqual(['a', 'a', 'b']);
});

test('what comes free where more is held than there is gives no room', () => {
  const pool = newPool([anAgent('a', { cpu: 10 })]);
  pool.hold('t1', task('a', { cpu: 8 }));
  pool.hold('t2', task('a', { cpu: 2 }));
  pool.setAgent(anAgent('a', { cpu: 5 }));
  const { rooms } = listening(pool);
  pool.free('t2');
  expect(rooms).toEqual([]);
  pool.free('t1');
  expect(rooms).toEqual(['a']);
});

test('an agent gives room when it comes, is there again, grows or has other labels, and not when it stays as it is', () => {
  const pool = newPool([]);
  const { rooms } = listening(pool);
  const changes: [string, ReturnType<typeof anAgent>, boolean][] = [
    ['it comes', anAgent('a', { cpu: 4 }), true],
    ['nothing', anAgent('a', { cpu: 4 }), false],
    ['it is away', { ...anAgent('a', { cpu: 4 }), available: false, unavailableWhy: 'suspect' }, false],
    ['it grows while it is away', { ...anAgent('a', { cpu: 8 }), available: false }, false],
    ['it is there', anAgent('a', { cpu: 8 }), true],
    ['it shrinks', anAgent('a', { cpu: 6 }), false],
    ['it has something new', anAgent('a', { cpu: 6, gpu: 1 }), true],
    ['it has another label', { ...anAgent('a', { cpu: 6, gpu: 1 }), labels: { gpu: 'x' } }, true],
    ['it is registered anew', { ...anAgent('a', { cpu: 6, gpu: 1 }), labels: { gpu: 'x' }, uid: '2' }, false],
  ];
  for (const [what, one, told] of changes) {
    rooms.length = 0;
    pool.setAgent(one);
    expect([what, rooms]).toEqual([what, told ? ['a'] : []]);
  }
  pool.hold('t', task('a', { cpu: 6 }));
  pool.removeAgent('a');
  rooms.length = 0;
  pool.free('t');
  expect(rooms).toEqual([]);
});

const counted = (fields: Parameters<typeof create<typeof PlacementSchema>>[1]): Want => ({
  capability: 'render',
  placement: create(PlacementSchema, fields),
  resources: {},
});

test.each<{ what: string; want: Want; loosens: (pool: AgentPool) => void; not: (pool: AgentPool) => void }>([
  {
    what: 'max_per_agent: one of as many as may be there goes',
    want: counted({ maxPerAgent: 1 }),
    loosens: (pool) => pool.free('own-a'),
    not: (pool) => pool.free('db-a'),
  },
  {
    what: 'apart: the last of the group leaves the agent',
    want: counted({ affinities: [create(AffinitySchema, { group: 'db', apart: true, required: true })] }),
    loosens: (pool) => pool.free('db-a'),
    not: (pool) => pool.free('own-a'),
  },
  {
    what: 'near: the first of the group comes to the zone',
    want: counted({
      affinities: [create(AffinitySchema, { group: 'db', scope: Scope.ZONE, required: true })],
    }),
    loosens: (pool) => pool.hold('new', task('b', {}, 'db')),
    not: (pool) => pool.hold('new', task('a', {}, 'db')),
  },
  {
    what: 'spread: an agent that it is spread over goes',
    want: counted({ spreads: [create(SpreadSchema, { required: true })] }),
    loosens: (pool) => pool.removeAgent('b'),
    not: (pool) => pool.free('db-a'),
  },
  {
    what: 'spread: the emptiest gets one',
    want: counted({ spreads: [create(SpreadSchema, { required: true })] }),
    loosens: (pool) => pool.hold('new', task('b', {})),
    not: (pool) => pool.hold('new', task('b', {}, 'db')),
  },
  {
    what: 'a wish is never in the way',
    want: counted({ affinities: [create(AffinitySchema, { group: 'db', apart: true })] }),
    loosens: () => {},
    not: (pool) => pool.free('db-a'),
  },
])('a class that counts groups hears of it: $what', ({ what, want: asked, loosens, not }) => {
  const world = () => {
    const pool = newPool([
      { ...anAgent('a', { cpu: 9 }), zone: 'z1' },
      { ...anAgent('b', { cpu: 9 }), zone: 'z2' },
    ]);
    pool.hold('own-a', task('a', {}));
    pool.hold('db-a', task('a', {}, 'db'));
    return { pool, wantClass: pool.classOf(asked), heard: listening(pool) };
  };
  const one = world();
  loosens(one.pool);
  expect(one.heard.loosened).toEqual(what.startsWith('a wish') ? [] : [one.wantClass]);
  const other = world();
  not(other.pool);
  expect(other.heard.loosened).toEqual([]);
});
