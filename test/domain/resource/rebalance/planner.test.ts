import { describe, expect, it } from 'vitest';
import { Scope } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { PlanRebalanceRequest_Goal } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { inShort, placed, SmallFleet } from './small-fleet.ts';

const { FREE_AGENTS, PLACE_WAITING, RELIEVE_HOT } = PlanRebalanceRequest_Goal;
const MINUTE = 60_000;
const roomy = { slots: 100, cpu: 100 };

describe('moves that free an agent', () => {
  const goal = new Set([FREE_AGENTS]);

  it('take all of what a nearly empty agent has to others that are in use', () => {
    const fleet = new SmallFleet()
      .agent('a', roomy)
      .agent('b', roomy)
      .agent('empty', roomy)
      .task('t1', 'a', { cpu: 5 })
      .task('t2', 'a', { cpu: 5 })
      .task('t3', 'b', { cpu: 40 });
    const plan = fleet.plan(goal);
    expect(inShort(plan)).toEqual(['t1: a->b', 't2: a->b']);
    expect(plan.moves.map(({ gain }) => gain)).toEqual([0.5, 0.5]);
    expect(plan.moves.map(({ costSeconds }) => costSeconds)).toEqual([1, 1]);
    expect(plan.summary).toBe('2 moves: frees 1 agent');
  });

  it('do not fill another one beyond 70 %', () => {
    const fleet = new SmallFleet()
      .agent('a', roomy)
      .agent('b', roomy)
      .task('t1', 'a', { cpu: 20 })
      .task('t2', 'b', { cpu: 55 });
    expect(inShort(fleet.plan(goal))).toEqual([]);
  });

  it('are not made where an allocation stays, and not in part', () => {
    const fleet = new SmallFleet()
      .agent('a', roomy)
      .agent('b', roomy)
      .agent('c', { slots: 100, cpu: 100, gpu: 4 })
      .task('t1', 'a', { cpu: 5 })
      .allocation('r', 'a', { cpu: 5 })
      .task('g1', 'c', { cpu: 5, gpu: 1 })
      .task('t2', 'c', { cpu: 5 })
      .task('t3', 'b', { cpu: 50 });
    expect(inShort(fleet.plan(goal))).toEqual([]);
  });

  it('count the running tasks that are in the way and may not be moved', () => {
    const fleet = new SmallFleet()
      .agent('a', roomy)
      .agent('b', roomy)
      .task('t1', 'a', { cpu: 5 }, { movable: false })
      .task('t2', 'b', { cpu: 30 });
    const plan = fleet.plan(goal);
    expect(plan.moves).toEqual([]);
    expect(plan.notMovable).toBe(1);
    expect(plan.summary).toBe('nothing to move; 1 task would have to be moved and may not be while running');
  });

  it('take a task that nobody has accepted although it is not movable', () => {
    const fleet = new SmallFleet()
      .agent('a', roomy)
      .agent('b', roomy)
      .task('t1', 'a', { cpu: 5 }, { movable: false, accepted: false, ranMs: 5 * MINUTE })
      .task('t2', 'b', { cpu: 30 });
    const plan = fleet.plan(goal);
    expect(inShort(plan)).toEqual(['t1: a->b']);
    expect(plan.moves[0]?.costSeconds).toBe(0);
  });

  it('are left where more work would be done again than a free agent is worth', () => {
    const ranFor = (ranMs: number) =>
      new SmallFleet()
        .agent('a', roomy)
        .agent('b', roomy)
        .task('t1', 'a', { cpu: 5 }, { ranMs })
        .task('t2', 'b', { cpu: 30 })
        .plan(goal);
    expect(inShort(ranFor(59 * MINUTE))).toEqual(['t1: a->b']);
    expect(inShort(ranFor(60 * MINUTE))).toEqual([]);
  });
});

describe('moves that relieve a hot agent', () => {
  const goal = new Set([RELIEVE_HOT]);
  const fleetOf = (more: object = {}) => {
    const fleet = new SmallFleet().agent('a', roomy).agent('b', roomy).agent('c', roomy);
    for (const id of ['t1', 't2', 't3', 't4', 't5']) fleet.task(id, 'a', { cpu: 19 }, more);
    return fleet;
  };

  it('bring it to 70 % of what is reserved', () => {
    const plan = fleetOf().plan(goal);
    expect(plan.moves).toHaveLength(2);
    expect(plan.moves.every(({ task }) => task.agentId === 'a')).toBe(true);
    expect(plan.moves[0]?.gain).toBeCloseTo(0.19);
    expect(plan.moves[0]?.detail).toBe('a is at 95 % of its cpu, the mean is 32 %');
  });

  it('follow what an agent reports although little is reserved', () => {
    const fleet = new SmallFleet()
      .agent('a', roomy)
      .agent('b', roomy)
      .agent('c', roomy)
      .task('t1', 'a', { cpu: 10 })
      .task('t2', 'a', { cpu: 10 });
    expect(inShort(fleet.plan(goal))).toEqual([]);
    fleet.pool.setLoad('a', undefined, { cpu: 98 }, 1);
    expect(fleet.plan(goal).moves).toHaveLength(1);
  });

  it('start with those that have run for the shortest time', () => {
    const fleet = new SmallFleet().agent('a', roomy).agent('b', roomy);
    fleet.task('old', 'a', { cpu: 40 }, { ranMs: 10 * MINUTE });
    fleet.task('young', 'a', { cpu: 40 }, { ranMs: MINUTE }).task('x', 'b', { cpu: 1 });
    expect(inShort(fleet.plan(goal))).toEqual(['young: a->b']);
  });

  it('are not made where the other one would be as hot', () => {
    const fleet = new SmallFleet().agent('a', { slots: 1 }).agent('b', { slots: 1 }).task('t1', 'a', {});
    expect(inShort(fleet.plan(goal))).toEqual([]);
  });

  it('count what may not be moved', () => {
    const plan = fleetOf({ movable: false }).plan(goal);
    expect(plan.moves).toEqual([]);
    expect(plan.notMovable).toBe(5);
  });

  it('are not undone by moves that free agents, nor the other way round', () => {
    const fleet = fleetOf();
    for (let round = 0; round < 8; round += 1) {
      const { moves } = fleet.plan();
      if (moves.length === 0) return;
      for (const { task, to } of moves) {
        const at = fleet.tasks.indexOf(task);
        fleet.tasks[at] = { ...task, agentId: to };
        const hold = fleet.pool.held(task.key);
        if (hold !== undefined) fleet.pool.hold(task.key, { ...hold, agentId: to });
      }
    }
    expect.fail('plans never came to an end');
  });
});

describe('moves that make room for a waiting task', () => {
  const goal = new Set([PLACE_WAITING]);

  it('take the cheapest that leave enough behind', () => {
    const fleet = new SmallFleet().agent('a', { slots: 8, cpu: 10 }).agent('b', { slots: 8, cpu: 10 });
    fleet.task('small', 'a', { cpu: 2 }, { ranMs: 1000 }).task('large', 'a', { cpu: 5 }, { ranMs: 2000 });
    fleet.task('other', 'b', { cpu: 5 }, { movable: false }).waits('w', { cpu: 8 });
    const plan = fleet.plan(goal);
    expect(inShort(plan)).toEqual(['large: a->b']);
    expect(plan.moves[0]).toMatchObject({ gain: 0.8, costSeconds: 2 });
  });

  it('are none where it fits already or never will', () => {
    const fits = new SmallFleet().agent('a', roomy).task('t', 'a', { cpu: 5 }).waits('w', { cpu: 8 });
    expect(fits.plan(goal).moves).toEqual([]);
    const large = new SmallFleet().agent('a', roomy).task('t', 'a', { cpu: 5 }).waits('w', { cpu: 101 });
    expect(large.plan(goal).moves).toEqual([]);
  });

  it('count what stands in its way and may not be moved', () => {
    const fleet = new SmallFleet()
      .agent('a', { slots: 8, cpu: 10 })
      .agent('b', { slots: 8, cpu: 5 })
      .task('t', 'a', { cpu: 5 }, { movable: false })
      .waits('w', { cpu: 8 });
    const plan = fleet.plan(goal);
    expect(plan.moves).toEqual([]);
    expect(plan.notMovable).toBe(1);
  });

  it('leave what one waiting task gets to it', () => {
    const fleet = new SmallFleet().agent('a', { slots: 8, cpu: 10 }).agent('b', { slots: 8, cpu: 10 });
    fleet.task('t1', 'a', { cpu: 3 }).task('t2', 'b', { cpu: 3 });
    fleet.waits('w1', { cpu: 10 }).waits('w2', { cpu: 10 });
    expect(fleet.plan(goal).moves).toHaveLength(1);
  });
});

describe('constraints', () => {
  const goal = new Set([FREE_AGENTS]);
  const twoAgents = () => new SmallFleet().agent('a', roomy).agent('b', roomy);

  it('of the task itself hold where it goes', () => {
    const placement = placed({ agentIds: ['a'] });
    const fleet = twoAgents().task('t1', 'a', { cpu: 5 }, { placement }).task('t2', 'b', { cpu: 30 });
    expect(inShort(fleet.plan(goal))).toEqual([]);
  });

  it('of another one hold when it comes near', () => {
    const alone = placed({
      group: 'db',
      affinities: [{ group: 'noise', scope: Scope.AGENT, apart: true, required: true }],
    });
    const fleet = twoAgents()
      .task('noisy', 'a', { cpu: 5 }, { placement: placed({ group: 'noise' }) })
      .task('db', 'b', { cpu: 30 }, { placement: alone });
    expect(inShort(fleet.plan(goal))).toEqual([]);
  });

  it('of another one hold when it goes away', () => {
    const near = placed({
      group: 'web',
      affinities: [{ group: 'cache', scope: Scope.AGENT, required: true }],
    });
    const fleet = new SmallFleet().agent('a', roomy).agent('b', { cpu: 100, slots: 100, gpu: 1 });
    fleet.task('cache', 'a', { cpu: 5 }, { placement: placed({ group: 'cache' }) });
    fleet.task('web', 'a', { cpu: 90 }, { placement: near, movable: false }).task('x', 'b', { cpu: 1 });
    expect(inShort(fleet.plan(new Set([RELIEVE_HOT])))).toEqual([]);
  });

  it('of how many there may be on an agent count the others', () => {
    const placement = placed({ maxPerAgent: 1 });
    const fleet = twoAgents().task('t1', 'a', { cpu: 5 }, { placement });
    fleet.task('t2', 'b', { cpu: 30 }, { placement });
    expect(inShort(fleet.plan(goal))).toEqual([]);
  });

  it('keep everything away from agents that refused it, are kept free or not available', () => {
    const exclude = new Set(['b']);
    const refused = twoAgents().task('t1', 'a', { cpu: 5 }, { exclude }).task('t2', 'b', { cpu: 30 });
    expect(inShort(refused.plan(goal))).toEqual([]);
    const kept = twoAgents().task('t1', 'a', { cpu: 5 }).task('t2', 'b', { cpu: 30 });
    kept.keptFree.add('b');
    expect(inShort(kept.plan(goal))).toEqual([]);
    const away = twoAgents().task('t1', 'a', { cpu: 5 }).task('t2', 'b', { cpu: 30 });
    away.agent('b', roomy, { available: false, unavailableWhy: 'SUSPECT' });
    expect(inShort(away.plan(goal))).toEqual([]);
  });
});
