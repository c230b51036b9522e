import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PlanRebalanceRequestSchema } from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { nameOf } from '../../agent/conversation-fixture.ts';
import { rejection } from '../../agent/fleet-fixture.ts';
import { FREE_AGENTS, PLACE_WAITING, RELIEVE_HOT, Yard } from './yard.ts';

const roomy = { slots: 8, cpu: 100 };
let yard: Yard;

afterEach(() => yard.close());

/** "hot" has two tasks that take 90 of its 100 cpu, "cold" came later and has none. */
async function pileUp(flags: Record<string, string> = {}): Promise<void> {
  yard = await Yard.open(flags);
  await yard.agent('hot', roomy);
  await yard.task('t1', { cpu: 45 });
  await yard.task('t2', { cpu: 45 });
  await yard.agent('cold', roomy);
}

async function refusal(work: Promise<unknown>): Promise<{ reason: string; message: string }> {
  const error = await rejection(work);
  if (!(error instanceof DomainError)) throw error;
  return { reason: nameOf(error), message: error.message };
}

const storedPlans = () =>
  [...(yard.fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith('~plan/'),
  );

describe('a plan', () => {
  beforeEach(() => pileUp());

  it('is stored for ten minutes, and changes nothing', async () => {
    const plan = await yard.plan([RELIEVE_HOT]);
    expect(plan.moves).toMatchObject([
      { taskId: 't1', attempt: 1, fromAgentId: 'hot', toAgentId: 'cold', goal: RELIEVE_HOT },
    ]);
    expect(plan.moves[0]?.gain).toBeCloseTo(0.45);
    expect(plan.revision).toBeGreaterThan(0n);
    expect(storedPlans()).toEqual([`~plan/${plan.id}`]);
    expect(yard.on('t1')).toEqual(['hot']);
    await yard.chores();
    await yard.later(599_000);
    await yard.chores();
    expect(storedPlans()).toHaveLength(1);
    await yard.later(61_000);
    expect(await refusal(yard.apply(plan.id))).toMatchObject({ reason: 'PLAN_NOT_FOUND' });
    await yard.chores();
    expect(storedPlans()).toEqual([]);
  });

  it('of nothing has no id and is not stored', async () => {
    const plan = await yard.plan([FREE_AGENTS]);
    expect(plan).toMatchObject({ id: '', moves: [], summary: 'nothing to move' });
    expect(storedPlans()).toEqual([]);
  });

  it('for a namespace that is not there leaves nothing behind', async () => {
    const request = create(PlanRebalanceRequestSchema, { namespace: 'nowhere' });
    const { plan } = await yard.fleet.resources.rebalancing.plan(request);
    expect(plan).toMatchObject({ id: '', summary: 'there are no agents' });
    expect(yard.fleet.store.data.namespaces.has('nowhere')).toBe(false);
  });

  it('goes when there are too many, the oldest first', async () => {
    const first = await yard.plan();
    for (let count = 0; count < 64; count += 1) {
      await yard.later(1);
      await yard.plan();
    }
    expect(storedPlans()).toHaveLength(64);
    expect(storedPlans()).not.toContain(`~plan/${first.id}`);
  });
});

describe('a plan that is applied', () => {
  beforeEach(() => pileUp());

  it('gives the task a second attempt, and takes the first back once the second runs', async () => {
    const plan = await yard.plan([RELIEVE_HOT]);
    expect((await yard.apply(plan.id)).moves).toBe(1);
    expect(yard.on('t1')).toEqual(['hot', 'cold']);
    expect(yard.known('t1').record.task?.state).toBe(Task_State.RUNNING);
    expect(yard.known('t1').record.task?.agentId).toBe('hot');
    expect(yard.revoked('hot')).toBe(0);
    await yard.accept('cold', 't1');
    expect(yard.on('t1')).toEqual(['cold']);
    expect(yard.known('t1').record.moveToAgentId).toBe('');
    expect(yard.revoked('hot')).toBe(1);
    expect(yard.events('resource.rebalance')).toMatchObject([
      {
        type: 'resource.rebalance_applied',
        actor: 'operator',
        attributes: { plan_id: plan.id, moves: '1', goals: 'relieve_hot', not_movable: '0' },
      },
    ]);
  });

  it('leaves the task where it is when the other agent declines, and does not plan that move again at once', async () => {
    await yard.apply((await yard.plan([RELIEVE_HOT])).id);
    await yard.decline('cold', 't1');
    expect(yard.on('t1')).toEqual(['hot']);
    expect(yard.known('t1').record.moveToAgentId).toBe('');
    expect((await yard.plan([RELIEVE_HOT])).moves.map(({ taskId }) => taskId)).toEqual(['t2']);
  });

  it('takes the second attempt back when the first ends before', async () => {
    await yard.apply((await yard.plan([RELIEVE_HOT])).id);
    await yard.succeed('hot', 't1');
    expect(yard.known('t1').record.task?.state).toBe(Task_State.SUCCEEDED);
    expect(yard.on('t1')).toEqual([]);
    expect(yard.revoked('cold')).toBe(1);
  });

  it('is applied once; a repetition of the same request hears the same', async () => {
    const plan = await yard.plan();
    const first = await yard.apply(plan.id, { requestId: 'r1' });
    const again = await yard.apply(plan.id, { requestId: 'r1' });
    expect(again).toEqual(first);
    expect(await refusal(yard.apply(plan.id))).toMatchObject({ reason: 'PLAN_NOT_FOUND' });
    expect(await refusal(yard.apply('plan-other', { requestId: 'r1' }))).toMatchObject({
      reason: 'REQUEST_ID_REUSED',
    });
  });

  it('is applied once also when the same request comes twice at a time', async () => {
    const plan = await yard.plan();
    const both = await Promise.all([
      yard.apply(plan.id, { requestId: 'r1' }),
      yard.apply(plan.id, { requestId: 'r1' }),
    ]);
    expect(both[0]).toEqual(both[1]);
    expect(yard.events('resource.rebalance')).toHaveLength(1);
  });

  it('does not move the same task again for ten minutes', async () => {
    await yard.apply((await yard.plan()).id);
    expect((await yard.plan()).moves).toEqual([]);
    await yard.accept('cold', 't1');
    await yard.agent('colder', roomy);
    await yard.declare('cold', { slots: 8, cpu: 50 });
    await yard.declare('hot', { slots: 8, cpu: 50 });
    expect((await yard.plan([RELIEVE_HOT])).moves.map(({ taskId }) => taskId)).toEqual(['t2']);
    await yard.later(600_000);
    expect((await yard.plan([RELIEVE_HOT])).moves.map(({ taskId }) => taskId)).toEqual(['t1']);
  });

  it('makes room for a task that waits, which goes there', async () => {
    await yard.agent('third', { slots: 8, cpu: 90 });
    await yard.submit('large', { cpu: 100 }, { movable: false });
    await yard.accept(yard.on('large')[0] ?? '', 'large');
    await yard.submit('w', { cpu: 95 });
    expect(yard.on('w')).toEqual([]);
    const plan = await yard.plan([PLACE_WAITING]);
    expect(plan.moves.map(({ fromAgentId, toAgentId }) => `${fromAgentId}->${toAgentId}`)).toEqual([
      'hot->third',
      'hot->third',
    ]);
    await yard.apply(plan.id);
    for (const { taskId } of plan.moves) await yard.accept('third', taskId);
    expect(yard.on('w')).toEqual(['hot']);
  });
});

describe('a plan that is out of date moves nothing, and says what changed:', () => {
  let planId: string;
  beforeEach(async () => {
    await pileUp();
    planId = (await yard.plan([RELIEVE_HOT])).id;
  });

  const isStale = async (words: string, applied = 0): Promise<void> => {
    const { reason, message } = await refusal(yard.apply(planId));
    expect(reason).toBe('PLAN_STALE');
    expect(message).toContain(words);
    expect(yard.known('t2').record.moveToAgentId).toBe('');
    expect(yard.events('resource.rebalance_applied')).toHaveLength(applied);
  };

  it('a task has ended', async () => {
    await yard.succeed('hot', 't1');
    await isStale('task t1 has ended');
  });

  it('a task is at another attempt', async () => {
    const second = await yard.plan([RELIEVE_HOT]);
    await yard.apply(second.id);
    await isStale('task t1 is being moved to cold already', 1);
    await yard.accept('cold', 't1');
    await isStale('task t1 is on cold, not on hot', 1);
  });

  it('the target has no room any more', async () => {
    await yard.task('other', { cpu: 60 });
    expect(yard.on('other')).toEqual(['cold']);
    await isStale('agent cold has no room for task t1 any more');
  });

  it('the target has gone', async () => {
    yard.agents.get('cold')?.breakOff();
    await yard.settle();
    await isStale('agent cold is disconnected');
  });

  it('a task that was only offered was accepted, and is not movable', async () => {
    await yard.succeed('hot', 't1');
    await yard.succeed('hot', 't2');
    const made = yard;
    await made.agent('only', { slots: 8, gpu: 2 });
    await made.submit('g1', { gpu: 2 }, { movable: false });
    await made.agent('next', { slots: 8, gpu: 4 });
    const plan = await made.plan([RELIEVE_HOT]);
    expect(plan.moves.map(({ taskId, costSeconds }) => [taskId, costSeconds])).toEqual([['g1', 0]]);
    await made.accept('only', 'g1');
    const { reason, message } = await refusal(made.apply(plan.id));
    expect(reason).toBe('PLAN_STALE');
    expect(message).toContain('task g1 was accepted by only meanwhile, and is not movable');
  });

  it('a task changed between the look and the commit', async () => {
    yard.fleet.store.faults.before = async () => {
      yard.fleet.store.faults.before = undefined;
      await yard.succeed('hot', 't1');
    };
    await isStale('task t1 has ended');
  });
});

describe('on a schedule', () => {
  it('moves are told of and not made', async () => {
    await pileUp({ 'resources.rebalance_interval': '60s' });
    await yard.chores();
    await yard.later(59_000);
    await yard.chores();
    expect(yard.events()).toEqual([]);
    await yard.later(1000);
    await yard.chores();
    expect(yard.events()).toMatchObject([
      {
        type: 'resource.rebalance_proposed',
        actor: 'rule:rebalance',
        message: 'moves of tasks would help: 1 move: relieves 1 agent',
        attributes: { moves: '1', goals: 'relieve_hot', gain: '0.450' },
      },
    ]);
    expect(yard.on('t1')).toEqual(['hot']);
    const { plan_id: planId = '' } = yard.events()[0]?.attributes ?? {};
    expect((await yard.apply(planId)).moves).toBe(1);
  });

  it('they are made where that is configured, but not while automatic action is held back', async () => {
    await pileUp({ 'resources.rebalance_interval': '60s', 'resources.rebalance_mode': 'apply' });
    await yard.automate(false);
    await yard.chores();
    await yard.later(60_000);
    await yard.chores();
    expect(yard.events().map(({ type }) => type)).toEqual(['resource.rebalance_proposed']);
    await yard.automate(true);
    await yard.later(60_000);
    await yard.chores();
    expect(yard.on('t1')).toEqual(['hot', 'cold']);
    expect(yard.known('t1').record.moveActor).toBe('rule:rebalance');
  });

  it('nothing is told where there is nothing to move', async () => {
    yard = await Yard.open({ 'resources.rebalance_interval': '1s' });
    await yard.agent('one', roomy);
    await yard.task('t1', { cpu: 5 });
    await yard.chores();
    await yard.later(5000);
    await yard.chores();
    expect(yard.events('resource.rebalance')).toEqual([]);
  });

  it('nothing is looked for with an interval of 0', async () => {
    await pileUp();
    await yard.chores();
    await yard.later(3_600_000);
    await yard.chores();
    expect(yard.events('resource.rebalance')).toEqual([]);
  });
});
