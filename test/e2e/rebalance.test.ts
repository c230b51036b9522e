import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Task,
  Task_State,
  Task_StateSchema,
  type TaskAttempt,
  TaskAttempt_State,
  TaskAttempt_StateSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  type Move,
  PlanRebalanceRequest_Goal,
  type RebalancePlan,
} from '../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { failureOf } from '../support/clients.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { type Given, RawFleet } from '../support/tasks/raw-fleet.ts';
import { until } from '../support/until.ts';

const { RELIEVE_HOT } = PlanRebalanceRequest_Goal;
const env = { ORCHESTRATOR_RESOURCES_ON_SHRINK: 'move' };
const roomy = { slots: 8n, cpu: 100n };

describe.each(storeKinds)('moves of tasks, on %s', (kind) => {
  let stack: Stack;
  let fleet: RawFleet;
  let namespaces = 0;
  const given: Given[] = [];

  beforeAll(async () => {
    stack = await Stack.start(kind, { env });
    fleet = new RawFleet({ address: stack.service.grpc, onTask: (each) => given.push(each) });
  });
  afterAll(async () => {
    fleet?.close();
    await stack?.dispose();
  });

  /** A capability of its own for each test: their agents do not see each other's tasks. */
  const scene = () => {
    namespaces += 1;
    const name = `s${namespaces}`;
    const id = (short: string): string => `${name}-${short}`;
    const join = async (agent: string, capacity: Record<string, bigint> = roomy): Promise<void> => {
      await fleet.join([{ id: id(agent), spec: { capabilities: [{ name }], capacity } }]);
    };
    const gets = async (agent: string, task: string): Promise<Given> => {
      const found = () => given.findLast((each) => each.agent.id === id(agent) && each.task.id === id(task));
      const got = await until(found, (each) => each !== undefined, { what: `${agent} to get ${task}` });
      if (got === undefined) throw new Error('nothing was given');
      return got;
    };
    const submit = async (task: string, cpu: bigint, more: object = {}): Promise<void> => {
      const spec = { capability: name, resources: { cpu }, movable: true, ...more };
      await stack.clients.tasks.submitTask({ taskId: id(task), spec });
    };
    const runs = async (agent: string, task: string): Promise<Given> => {
      const got = await gets(agent, task);
      expect((await got.agent.accept(got.work)).reason).toBe('');
      return got;
    };
    const task = async (short: string): Promise<Task> => {
      const { task: found } = await stack.clients.tasks.getTask({ taskId: id(short) });
      if (found === undefined) throw new Error('no task');
      return found;
    };
    return { id, join, gets, submit, runs, task };
  };

  /** As `plan` made for one scene only: agents of the others are not moved from. */
  const planFor = async (id: (short: string) => string): Promise<{ plan: RebalancePlan; move: Move }> => {
    const { plan } = await stack.clients.resources.planRebalance({ goals: [RELIEVE_HOT], maxMoves: 100 });
    const [move] = plan?.moves ?? [];
    if (plan === undefined || move === undefined) throw new Error('nothing is to be moved');
    expect(plan.moves.map(({ fromAgentId, toAgentId }) => [fromAgentId, toAgentId])).toEqual([
      [id('hot'), id('cold')],
    ]);
    return { plan, move };
  };

  it('a hot agent is relieved, and the task runs on the other one before it is stopped on the first', async () => {
    const { id, join, submit, runs, gets, task } = scene();
    await join('hot');
    await submit('t1', 45n);
    const first = await runs('hot', 't1');
    await submit('t2', 45n);
    await runs('hot', 't2');
    await join('cold');
    const { plan, move } = await planFor(id);
    const moved = move.taskId;
    const seen: string[] = [];
    const abort = new AbortController();
    const watch = stack.clients.tasks.watchTasks({ taskId: moved }, { signal: abort.signal });
    const watching = (async () => {
      for await (const { changes } of watch) {
        for (const { task: now } of changes) if (now !== undefined) seen.push(inShort(now, id));
      }
    })();
    // It ends with the test, whatever comes of that.
    watching.catch(() => {});
    await until(
      () => seen,
      (all) => all.length > 0,
      { what: 'the snapshot' },
    );
    expect((await stack.clients.resources.applyRebalance({ planId: plan.id })).moves).toBe(1);
    const second = await gets('cold', moved.slice(id('').length));
    expect(first.agent.revoked).toEqual([]);
    await second.agent.accept(second.work);
    await until(
      () => first.agent.revoked.length,
      (count) => count === 1,
      { what: 'the first to be stopped' },
    );
    await second.agent.succeed(second.work);
    await until(
      () => seen.at(-1),
      (last) => last?.startsWith('SUCCEEDED') === true,
      { what: 'the end' },
    );
    abort.abort();
    const states = seen.filter((state, at) => state !== seen[at - 1]);
    expect(states).toEqual([
      'RUNNING: hot running',
      // Ordered, and then assigned: the first runs on.
      'RUNNING: hot running, cold offered',
      'RUNNING: hot withdrawn, cold running',
      'SUCCEEDED: hot withdrawn, cold succeeded',
    ]);
    const [attempt] = (await task(moved.slice(id('').length))).attempts;
    expect(attempt?.state).toBe(TaskAttempt_State.WITHDRAWN);
    const filter = { types: ['resource.rebalance_applied', 'task.moved'] };
    const { events } = await stack.clients.monitoring.listEvents({ filter });
    expect(events.map(({ type }) => type).sort()).toEqual(['resource.rebalance_applied', 'task.moved']);
    // Left as it was found.
    const left = moved === id('t1') ? 't2' : 't1';
    const other = await gets('hot', left);
    await other.agent.succeed(other.work);
  });

  it('a plan that is out of date is refused, names what changed, and moves nothing', async () => {
    const { id, join, submit, runs, task } = scene();
    await join('hot');
    await submit('t1', 45n);
    const first = await runs('hot', 't1');
    await submit('t2', 45n);
    const second = await runs('hot', 't2');
    await join('cold');
    const { plan, move } = await planFor(id);
    const mover = move.taskId === id('t1') ? first : second;
    const stays = move.taskId === id('t1') ? second : first;
    await mover.agent.succeed(mover.work);
    const failure = await failureOf(stack.clients.resources.applyRebalance({ planId: plan.id }));
    expect(failure).toMatchObject({ code: 'Aborted', reason: 'PLAN_STALE' });
    expect(failure.message).toContain(`task ${move.taskId} has ended`);
    const unknown = await failureOf(stack.clients.resources.applyRebalance({ planId: 'plan-none' }));
    expect(unknown).toMatchObject({ code: 'NotFound', reason: 'PLAN_NOT_FOUND' });
    const left = await task(stays.task.id.slice(id('').length));
    expect(left.attempts).toHaveLength(1);
    await stays.agent.succeed(stays.work);
  });

  it('work beyond a capacity that shrank is moved, the lowest priority first, and the excess has its events', async () => {
    const { id, join, submit, runs, task } = scene();
    await join('hot');
    await submit('low', 30n, { priority: -5 });
    const low = await runs('hot', 'low');
    await submit('high', 30n, { priority: 5 });
    await runs('hot', 'high');
    await join('cold');
    await stack.clients.agents.updateAgent({
      agentId: id('hot'),
      spec: { capacity: { ...roomy, cpu: 40n } },
      updateMask: { paths: ['capacity'] },
    });
    await runs('cold', 'low');
    await until(
      () => low.agent.revoked.length,
      (count) => count === 1,
      { what: 'the first to be stopped' },
    );
    const filter = { agentId: id('hot'), types: ['resource.over_reserved', 'resource.over_reserved_ended'] };
    const { events } = await until(
      () => stack.clients.monitoring.listEvents({ filter }),
      (page) => page.events.length === 2,
      { what: 'the end of the excess' },
    );
    const told = events.find(({ type }) => type === 'resource.over_reserved');
    expect(told?.attributes).toMatchObject({
      ...{ resource: 'cpu', reserved: '60', reservable: '40', excess: '20' },
    });
    const { state, agentId } = await task('high');
    expect([state, agentId]).toEqual([Task_State.RUNNING, id('hot')]);
  });
});

/** "RUNNING: hot running, cold offered" */
function inShort({ state, attempts }: Task, id: (short: string) => string): string {
  const words = ({ agentId, state: is }: TaskAttempt) =>
    `${agentId.slice(id('').length)} ${TaskAttempt_StateSchema.value[is]?.localName.toLowerCase()}`;
  return `${Task_StateSchema.value[state]?.localName}: ${attempts.map(words).join(', ')}`;
}
