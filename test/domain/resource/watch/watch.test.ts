import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeregisterAgentRequestSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { Yard } from '../rebalance/yard.ts';

const roomy = { slots: 8, cpu: 100 };
let yard: Yard;
afterEach(() => yard.close());

const marks = () =>
  [...(yard.fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith('~watch/'),
  );
const types = () => yard.events().map(({ type }) => type);

describe('a capacity that shrinks below what is reserved', () => {
  beforeEach(async () => {
    yard = await Yard.open();
    await yard.agent('a', roomy);
    await yard.task('t1', { cpu: 40 });
    await yard.task('t2', { cpu: 40 });
    await yard.chores();
  });

  it('is told once, and once when it is over', async () => {
    expect(types()).toEqual([]);
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    expect(yard.events()).toMatchObject([
      {
        type: 'resource.over_reserved',
        agentId: 'a',
        actor: 'rule:capacity',
        message: 'on a 80 of cpu are reserved, 30 more than may be: 50',
        attributes: { resource: 'cpu', reserved: '80', reservable: '50', capacity: '50', excess: '30' },
      },
    ]);
    await yard.chores();
    await yard.declare('a', { slots: 8, cpu: 60 });
    await yard.chores();
    expect(types()).toHaveLength(1);
    expect(yard.on('t1')).toEqual(['a']);
    await yard.later(3000);
    await yard.succeed('a', 't1');
    await yard.chores();
    expect(yard.events()[1]).toMatchObject({
      type: 'resource.over_reserved_ended',
      attributes: { resource: 'cpu', reserved: '40', reservable: '60', seconds: '3' },
    });
    expect(marks()).toEqual([]);
    await yard.chores();
    expect(types()).toHaveLength(2);
  });

  it('is told for each resource, and again when it happens again', async () => {
    await yard.declare('a', { slots: 1, cpu: 50 });
    await yard.chores();
    expect(yard.events().map(({ attributes }) => attributes.resource)).toEqual(['cpu', 'slots']);
    await yard.declare('a', roomy);
    await yard.chores();
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    expect(types().filter((type) => type === 'resource.over_reserved')).toHaveLength(3);
  });

  it('is not told again by whoever takes the watch over, who tells of its end', async () => {
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    await yard.handOver();
    await yard.chores();
    expect(types()).toHaveLength(1);
    await yard.declare('a', roomy);
    await yard.chores();
    expect(types()).toEqual(['resource.over_reserved', 'resource.over_reserved_ended']);
  });

  it('is over when its agent is gone', async () => {
    await yard.agent('b', roomy);
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    const request = create(DeregisterAgentRequestSchema, { agentId: 'a' });
    await yard.fleet.agents.deregister(request, { principal: 'operator', token: undefined });
    await yard.settle();
    await yard.chores();
    expect(types().at(-1)).toBe('resource.over_reserved_ended');
    expect(marks()).toEqual([]);
  });
});

describe('with on_shrink: move', () => {
  it('moves tasks of the lowest priority until it fits, and none that must stay', async () => {
    yard = await Yard.open({ 'resources.on_shrink': 'move' });
    await yard.agent('a', roomy);
    await yard.task('fixed', { cpu: 20 }, { priority: -9, movable: false });
    await yard.task('high', { cpu: 20 }, { priority: 5 });
    await yard.task('low', { cpu: 20 }, { priority: -5 });
    await yard.task('middle', { cpu: 20 });
    await yard.agent('b', roomy);
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    expect(yard.on('low')).toEqual(['a', 'b']);
    expect(yard.on('middle')).toEqual(['a', 'b']);
    expect(yard.on('high')).toEqual(['a']);
    expect(yard.on('fixed')).toEqual(['a']);
    expect(yard.known('low').record.moveActor).toBe('rule:on_shrink');
    // What is on its way is not moved again, nor are others in its place.
    await yard.later(10_000);
    await yard.chores();
    expect(yard.on('high')).toEqual(['a']);
    await yard.accept('b', 'low');
    await yard.accept('b', 'middle');
    await yard.chores();
    expect(yard.on('low')).toEqual(['b']);
    expect(types()).toEqual(['resource.over_reserved', 'resource.over_reserved_ended']);
  });

  it('takes what was only offered although it is not movable', async () => {
    yard = await Yard.open({ 'resources.on_shrink': 'move' });
    await yard.agent('a', roomy);
    await yard.submit('offered', { cpu: 60 }, { movable: false });
    await yard.agent('b', roomy);
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    expect(yard.on('offered')).toEqual(['a', 'b']);
  });

  it('leaves everything where nobody else has room, until somebody has', async () => {
    yard = await Yard.open({ 'resources.on_shrink': 'move' });
    await yard.agent('a', roomy);
    await yard.task('t1', { cpu: 60 });
    await yard.agent('small', { slots: 8, cpu: 50 });
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    expect(yard.on('t1')).toEqual(['a']);
    await yard.agent('b', roomy);
    await yard.chores();
    expect(yard.on('t1')).toEqual(['a']);
    await yard.later(5000);
    await yard.chores();
    expect(yard.on('t1')).toEqual(['a', 'b']);
  });

  it('moves nothing while automatic action is held back', async () => {
    yard = await Yard.open({ 'resources.on_shrink': 'move' });
    await yard.agent('a', roomy);
    await yard.task('t1', { cpu: 60 });
    await yard.agent('b', roomy);
    await yard.automate(false);
    await yard.declare('a', { slots: 8, cpu: 50 });
    await yard.chores();
    expect(types()).toEqual(['resource.over_reserved']);
    expect(yard.on('t1')).toEqual(['a']);
    await yard.automate(true);
    await yard.chores();
    expect(yard.on('t1')).toEqual(['a', 'b']);
  });
});

describe('usage', () => {
  beforeEach(async () => {
    yard = await Yard.open();
    await yard.agent('a', roomy);
    for (const id of ['t1', 't2', 't3', 't4', 't5', 't6']) await yard.task(id, { cpu: 10 });
    await yard.chores();
  });

  const reportFor = async (used: number, ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 15_000) {
      await yard.later(15_000);
      await yard.report('a', { cpu: used });
      await yard.later(1000);
      await yard.chores();
    }
  };

  it('far above what has been reserved for a minute is an event with the numbers and tasks', async () => {
    await reportFor(90, 45_000);
    expect(types()).toEqual([]);
    await reportFor(90, 30_000);
    expect(yard.events()).toMatchObject([
      {
        type: 'resource.usage_above_reservation',
        agentId: 'a',
        actor: 'rule:usage',
        message: 'a uses 90 of cpu, far more than the 60 that are reserved there',
        attributes: {
          ...{ resource: 'cpu', used: '90', reserved: '60', ratio: '1.500', threshold: '1.25' },
          ...{ age_seconds: '1.0', tasks: 't1,t2,t3,t4,t5', task_count: '6' },
        },
      },
    ]);
    await reportFor(90, 600_000);
    expect(types()).toHaveLength(1);
  });

  it('far below is another event', async () => {
    await reportFor(3, 75_000);
    expect(types()).toEqual(['resource.usage_below_reservation']);
  });

  it('within bounds, not reported or long ago is none', async () => {
    await reportFor(60, 90_000);
    await yard.report('a', { cpu: 99 });
    await yard.later(61_000);
    await yard.chores();
    expect(types()).toEqual([]);
  });

  it('is not told again by whoever takes the watch over', async () => {
    await reportFor(90, 75_000);
    expect(marks()).toEqual(['~watch/a']);
    await yard.handOver();
    for (let passed = 0; passed < 10; passed += 1) {
      await yard.later(15_000);
      yard.fleet.tasks.scheduling
        .ledger('default')
        .pool.setLoad('a', undefined, { cpu: 90 }, yard.fleet.clock.wallMs());
      await yard.chores();
    }
    expect(types()).toHaveLength(1);
  });

  it('is forgotten once nothing is reserved any more', async () => {
    await reportFor(90, 75_000);
    for (const id of ['t1', 't2', 't3', 't4', 't5', 't6']) await yard.succeed('a', id);
    await reportFor(90, 30_000);
    expect(marks()).toEqual(['~watch/a']);
    await reportFor(90, 300_000);
    expect(marks()).toEqual([]);
  });
});
