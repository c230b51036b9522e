import { durationFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Task,
  Task_State,
  TaskAttempt_State,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { strain } from '../support/faults/strain.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { type Given, RawFleet } from '../support/tasks/raw-fleet.ts';
import { until } from '../support/until.ts';

const { WAIT, RECONCILE } = TaskSpec_OnLoss;
/** Pings every 200 ms, LOST after 1.2 s of silence or 500 ms of a broken stream; never before the lease. */
const env = { ORCHESTRATOR_SESSION_LEASE: '1200ms', ORCHESTRATOR_SESSION_RECONNECT_GRACE: '500ms' };
const SPEC = { capabilities: [{ name: 'sum' }], capacity: { slots: 1n } };
/** What a task may wait after something has made room for it, on a machine that has the CPU for it. */
const SOON_MS = 100;
/** And after its agent was judged lost. */
const AFTER_LOSS_MS = 200;

/** A namespace of its own, with agents that keep what they are given. */
class Bench {
  readonly given: Given[] = [];
  readonly fleet: RawFleet;
  readonly #stack: Stack;
  readonly namespace: string;

  constructor(stack: Stack, namespace: string) {
    this.#stack = stack;
    this.namespace = namespace;
    const address = stack.service.grpc;
    this.fleet = new RawFleet({ address, namespace, onTask: (each) => this.given.push(each) });
  }

  join(...ids: string[]) {
    return this.fleet.join(ids.map((id) => ({ id, spec: SPEC })));
  }

  async submit(taskId: string, more: object = {}): Promise<void> {
    const { namespace } = this;
    await this.#stack.clients.tasks.submitTask({ namespace, taskId, spec: { capability: 'sum', ...more } });
  }

  /** The first task that anybody gets. */
  async first(): Promise<Given> {
    return this.#until('the task to be given', () => this.given[0]);
  }

  /** The task that an agent gets, or the so manyth. */
  async gets(agentId: string, count = 1): Promise<Given> {
    const nth = () => this.given.filter(({ agent }) => agent.id === agentId).at(count - 1);
    return this.#until(`${agentId} to get a task`, nth);
  }

  async is(taskId: string, accept: (found: Task) => boolean): Promise<Task> {
    const { namespace } = this;
    const look = async () => {
      const { task } = await this.#stack.clients.tasks.getTask({ namespace, taskId });
      return task !== undefined && accept(task) ? task : undefined;
    };
    return this.#until(`${taskId} to be as wanted`, look);
  }

  async lostMs(agentId: string): Promise<number> {
    const { namespace } = this;
    const filter = { types: ['agent.lost'], agentIds: [agentId] };
    const { time } = await this.#until(`${agentId} to be lost`, async () => {
      const { events } = await this.#stack.clients.monitoring.listEvents({ namespace, filter });
      return events[0];
    });
    if (time === undefined) throw new Error('no time');
    return timestampMs(time);
  }

  /** Somebody looks after agents that fail; whoever begins with that while one fails, collects them first. */
  async cared(): Promise<void> {
    await this.#until('the care of agents', () =>
      this.#stack.service.logs.find(
        ({ msg, namespace }) => namespace === this.namespace && msg.startsWith('this replica looks after'),
      ),
    );
  }

  async #until<T>(what: string, probe: () => T | undefined | Promise<T | undefined>): Promise<T> {
    const found = await until(probe, (each) => each !== undefined, { what, timeoutMs: 15_000, everyMs: 4 });
    if (found === undefined) throw new Error(what);
    return found;
  }
}

describe.each(storeKinds)('work and those who have it, on %s', (kind) => {
  let stack: Stack;
  const benches: Bench[] = [];

  beforeAll(async () => {
    stack = await Stack.start(kind, { env });
  });
  afterAll(async () => {
    for (const { fleet } of benches) fleet.close();
    await stack?.dispose();
  });
  const bench = (): Bench => {
    const made = new Bench(stack, `n${benches.length}`);
    benches.push(made);
    return made;
  };

  it.concurrent('a task that waits begins at once when what it waits for is there: room, a capacity, an agent', async () => {
    const own = bench();
    const [agent] = await own.join('a1');
    if (agent === undefined) throw new Error('no agent');
    const tookMs: number[] = [];
    const took = (fromMs: number, { atMs }: Given) => tookMs.push(atMs - fromMs);
    // Room.
    await own.submit('t1');
    await own.submit('t2');
    const first = await own.gets('a1');
    const { pending } = await own.is('t2', ({ state }) => state === Task_State.PENDING);
    expect(pending?.reason).toBe(PendingReason.NO_ROOM);
    const doneMs = performance.now();
    await agent.succeed(first.work);
    took(doneMs, await own.gets('a1', 2));
    // Capacity.
    await own.submit('t3');
    await own.is('t3', ({ pending: why }) => why?.reason === PendingReason.NO_ROOM);
    const moreMs = performance.now();
    await stack.clients.agents.updateAgent({
      ...{ namespace: own.namespace, agentId: 'a1' },
      spec: { ...SPEC, capacity: { slots: 2n } },
      updateMask: { paths: ['capacity'] },
    });
    took(moreMs, await own.gets('a1', 3));
    // An agent.
    await own.submit('t4', { capability: 'draw' });
    await own.is('t4', ({ pending: why }) => why?.reason === PendingReason.NO_CAPABILITY);
    const joinMs = performance.now();
    await own.fleet.join([{ id: 'a2', spec: { capabilities: [{ name: 'draw' }] } }]);
    took(joinMs, await own.gets('a2'));
    expect(Math.max(...tookMs), tookMs.map(Math.round).join()).toBeLessThan(SOON_MS * strain());
  });

  it.concurrent('the late result of an agent that was paused is refused, and its attempt is superseded', async () => {
    const own = bench();
    await own.join('a1', 'a2');
    await own.submit('t1');
    const late = await own.first();
    const { agent } = late;
    await agent.accept(late.work);
    await own.cared();
    agent.paused = true;
    const now = await own.gets(agent.id === 'a1' ? 'a2' : 'a1');
    await now.agent.accept(now.work);
    // It comes back with what is not its own any more, and with the result.
    const welcome = await agent.attach([late.work]);
    expect(welcome.revoked.map(({ deliveryId }) => deliveryId)).toEqual([late.work.deliveryId]);
    expect((await agent.succeed(late.work, 'late')).code).not.toBe(0);
    expect((await now.agent.succeed(now.work, 'in time')).code).toBe(0);
    const ended = await own.is('t1', ({ state }) => state === Task_State.SUCCEEDED);
    expect(ended.output?.data).toEqual({ case: 'text', value: 'in time' });
    expect(ended.attempts.map(({ state }) => state)).toEqual([
      TaskAttempt_State.AGENT_LOST,
      TaskAttempt_State.SUCCEEDED,
    ]);
  });

  it.concurrent('runs on another agent within 200 ms of the verdict', async () => {
    const own = bench();
    const ids = ['a1', 'a2'];
    await own.join(...ids);
    await own.submit('t1');
    const before = await own.first();
    await before.agent.accept(before.work);
    await own.cared();
    before.agent.kill();
    const other = ids.find((id) => id !== before.agent.id) ?? '';
    const now = await own.gets(other);
    await now.agent.accept(now.work);
    const { attempts } = await own.is('t1', ({ state }) => state === Task_State.RUNNING);
    const second = attempts[1]?.acceptTime;
    if (second === undefined) throw new Error('the second attempt does not run');
    const tookMs = timestampMs(second) - (await own.lostMs(before.agent.id));
    expect(tookMs).toBeLessThan(AFTER_LOSS_MS * strain());
  });

  it.concurrent('an attempt that a lost agent has not taken on goes to nobody else: the task has another one', async () => {
    const own = bench();
    await own.join('a1', 'a2');
    await own.submit('t1');
    const { agent } = await own.first();
    await own.cared();
    agent.kill();
    const now = await own.gets(agent.id === 'a1' ? 'a2' : 'a1');
    expect(now.task.attempt).toBe(2);
    await now.agent.succeed(now.work);
    const ended = await own.is('t1', ({ state }) => state === Task_State.SUCCEEDED);
    // What had not begun has not failed.
    expect(ended).toMatchObject({ attemptCount: 2, failures: 0 });
    expect(own.given.map(({ task }) => task.attempt)).toEqual([1, 2]);
  });

  it.concurrent('waits for its agent where it is told to, and goes on with it', async () => {
    const own = bench();
    const [agent] = await own.join('a1', 'a2');
    if (agent === undefined) throw new Error('no agent');
    await own.submit('t1', { onLoss: WAIT, placement: { agentIds: ['a1', 'a2'], notAgentIds: ['a2'] } });
    const work = await own.gets('a1');
    await agent.accept(work.work);
    await own.cared();
    agent.kill();
    await own.lostMs('a1');
    const waits = await own.is('t1', ({ pending }) => pending?.reason === PendingReason.AGENT_LOST);
    expect(waits.attemptCount).toBe(1);
    const welcome = await agent.attach([work.work]);
    expect(welcome.revoked).toEqual([]);
    await own.is('t1', ({ state }) => state === Task_State.RUNNING);
    const result = await agent.succeed(work.work, 'after all');
    expect(result.code).toBe(0);
    const ended = await own.is('t1', ({ state }) => state === Task_State.SUCCEEDED);
    expect(ended).toMatchObject({ attemptCount: 1, failures: 0 });
  });

  it.concurrent('waits no longer than it is told to', async () => {
    const own = bench();
    const [agent] = await own.join('a1', 'a2');
    if (agent === undefined) throw new Error('no agent');
    await own.submit('t0', { placement: { agentIds: ['a2'] } });
    const blocking = await own.gets('a2');
    await own.submit('t1', { onLoss: WAIT, waitForAgent: durationFromMs(1_000) });
    const work = await own.gets('a1');
    await agent.accept(work.work);
    await own.cared();
    agent.kill();
    await own.is('t1', ({ pending }) => pending?.reason === PendingReason.AGENT_LOST);
    await blocking.agent.succeed(blocking.work);
    const now = await own.gets('a2', 2);
    expect(now.task).toMatchObject({ id: 't1', attempt: 2 });
    await now.agent.succeed(now.work);
    const ended = await own.is('t1', ({ state }) => state === Task_State.SUCCEEDED);
    expect(ended.attempts.map(({ state }) => state)).toEqual([
      TaskAttempt_State.AGENT_LOST,
      TaskAttempt_State.SUCCEEDED,
    ]);
  });

  it.concurrent.each([
    ['the first result', TaskSpec_Winner.FIRST_RESULT],
    ['the original', TaskSpec_Winner.ORIGINAL],
    ['the replacement', TaskSpec_Winner.REPLACEMENT],
  ])('goes on in one of two attempts when its agent comes back: %s', async (_, winner) => {
    const own = bench();
    await own.join('a1', 'a2');
    await own.submit('t1', { onLoss: RECONCILE, winner });
    const original = await own.first();
    await original.agent.accept(original.work);
    await own.cared();
    original.agent.kill();
    const replacement = await own.gets(original.agent.id === 'a1' ? 'a2' : 'a1');
    await replacement.agent.accept(replacement.work);
    const welcome = await original.agent.attach([original.work]);
    const kept = welcome.revoked.length === 0;
    expect(kept).toBe(winner !== TaskSpec_Winner.REPLACEMENT);
    const [one, other] =
      winner === TaskSpec_Winner.REPLACEMENT ? [replacement, original] : [original, replacement];
    const result = await one.agent.succeed(one.work, 'the one');
    expect(result.code).toBe(0);
    const late = await other.agent.succeed(other.work, 'the other');
    expect(late.code).not.toBe(0);
    const ended = await own.is('t1', ({ state }) => state === Task_State.SUCCEEDED);
    expect(ended.output?.data).toEqual({ case: 'text', value: 'the one' });
  });
});
