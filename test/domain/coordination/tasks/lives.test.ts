import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  GrantTaskBudgetRequestSchema,
  Task_State,
  TaskAttempt_State,
  TaskSpec_OnBudgetSpent,
  TaskSpec_OnLoss,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { OutcomeInput } from '../../../../src/domain/coordination/outcomes.ts';
import { TaskOutcomes } from '../../../../src/domain/coordination/tasks/task-outcomes.ts';
import { taskOf } from '../../../../src/domain/coordination/tasks/task-record.ts';
import type { TaskView } from '../../../../src/domain/coordination/tasks/task-view.ts';
import { DomainError } from '../../../../src/lib/errors.ts';
import { durationFromMs } from '../../../../src/lib/proto-time.ts';
import { rejection, turns } from '../../agent/fleet-fixture.ts';
import { ACCEPTED, ANN, FAILED, SUCCEEDED, startTasks, type TaskFleet, type Worker } from './task-fixture.ts';

const S = Task_State;
const { WAIT, RECONCILE } = TaskSpec_OnLoss;
const { DEGRADE, ASK } = TaskSpec_OnBudgetSpent;

let fleet: TaskFleet;
let a1: Worker;
beforeEach(async () => {
  fleet = await startTasks();
  await fleet.submit('first', { capability: 'nobody' });
  await fleet.cancel('first');
  a1 = await fleet.worker('a1', { capacity: { slots: 10n } });
});
afterEach(() => fleet.stop());

const runs = async (id: string, spec: Parameters<TaskFleet['submit']>[1] = {}, on = a1): Promise<void> => {
  await fleet.submit(id, spec);
  expect(await on.say(id, ACCEPTED)).toBe('');
};
const mail = () => fleet.mailboxes.count('default', 'a1');
const revoked = (who = a1) =>
  who.agent.frames().flatMap((frame) => (frame.case === 'revoke' ? frame.value.work : [])).length;

describe('time', () => {
  it('ends a task at its deadline, also one that waits', async () => {
    const deadline = durationFromMs(5000);
    await runs('t1', { deadline });
    await fleet.submit('t2', { capability: 'nobody', deadline });
    fleet.clock.advance(4900);
    await fleet.tick();
    expect((await fleet.task('t1')).state).toBe(S.RUNNING);
    fleet.clock.advance(200);
    await fleet.tick();
    for (const id of ['t1', 't2']) {
      expect(await fleet.task(id)).toMatchObject({
        state: S.TIMED_OUT,
        error: 'it had not ended 5 s after its submission',
      });
    }
    expect(mail()).toBe(0);
    expect(await a1.say('t1', SUCCEEDED)).toBe('DELIVERY_UNKNOWN');
    expect(fleet.reserved('a1')).toEqual({});
  });

  it('ends an attempt that runs for too long, and another one follows', async () => {
    await runs('t1', { attemptTimeout: durationFromMs(1000), retry: { minBackoff: durationFromMs(0) } });
    fleet.clock.advance(1100);
    await fleet.tick();
    const task = await fleet.task('t1');
    expect(task.attempts.map(({ state }) => state)).toEqual([
      TaskAttempt_State.TIMED_OUT,
      TaskAttempt_State.OFFERED,
    ]);
    expect(task.failures).toBe(1);
  });

  it('passes before a failed task is tried again', async () => {
    await runs('t1');
    await a1.say('t1', FAILED, { error: 'oh', retryable: true });
    expect((await fleet.task('t1')).pending?.reason).toBe(PendingReason.BACKOFF);
    fleet.clock.advance(800);
    await fleet.tick();
    expect(a1.tasks()).toEqual(['t1']);
    fleet.clock.advance(400);
    await fleet.tick();
    expect(a1.tasks()).toEqual(['t1', 't1']);
  });
});

describe('a result', () => {
  it('said twice is stored once', async () => {
    await runs('t1');
    const delivery = a1.of('t1');
    expect(await a1.agent.say(delivery, SUCCEEDED)).toBe('');
    const { revision } = await fleet.task('t1');
    expect(await a1.agent.say(delivery, SUCCEEDED)).toBe('');
    await fleet.comeBack(a1, []);
    expect(await a1.agent.say(delivery, SUCCEEDED)).toBe('');
    expect(await a1.agent.say(delivery, FAILED)).toBe('DELIVERY_UNKNOWN');
    expect((await fleet.task('t1')).revision).toBe(revision);
  });

  it('of an attempt that was replaced is refused', async () => {
    await runs('t1');
    const old = a1.of('t1');
    const a2 = await fleet.worker('a2');
    await fleet.lose(a1);
    expect(a2.tasks()).toEqual(['t1']);
    await fleet.comeBack(a1, [old]);
    expect(await a1.agent.say(old, SUCCEEDED)).toBe('DELIVERY_UNKNOWN');
    expect(await fleet.task('t1')).toMatchObject({ state: S.ASSIGNED, agentId: 'a2', failures: 1 });
    await a2.finish('t1');
    expect(await fleet.task('t1')).toMatchObject({ state: S.SUCCEEDED, agentId: 'a2' });
  });
});

describe('a lost agent', () => {
  it('is waited for, and goes on with what it brings back', async () => {
    await runs('t1', { onLoss: WAIT });
    const held = a1.of('t1');
    await fleet.worker('a2');
    await fleet.lose(a1);
    const waiting = await fleet.task('t1');
    expect(waiting).toMatchObject({ state: S.PENDING, agentId: '' });
    expect(waiting.pending?.reason).toBe(PendingReason.AGENT_LOST);
    expect(waiting.attempts[0]?.state).toBe(TaskAttempt_State.AGENT_LOST);
    expect(fleet.reserved('a1')).toEqual({ slots: 1 });
    await fleet.comeBack(a1, [held]);
    expect(await fleet.task('t1')).toMatchObject({ state: S.RUNNING, agentId: 'a1', failures: 0 });
    expect(await a1.agent.say(held, SUCCEEDED)).toBe('');
    await fleet.settled();
    expect(await fleet.task('t1')).toMatchObject({ state: S.SUCCEEDED, attemptCount: 1 });
  });

  it('is waited for no longer than told', async () => {
    await runs('t1', { onLoss: WAIT, waitForAgent: durationFromMs(3000) });
    const a2 = await fleet.worker('a2');
    await fleet.lose(a1);
    fleet.clock.advance(2900);
    await fleet.tick();
    expect(a2.tasks()).toEqual([]);
    fleet.clock.advance(200);
    await fleet.tick();
    expect(a2.tasks()).toEqual(['t1']);
    expect(mail()).toBe(0);
  });

  it('that comes back without it has lost it', async () => {
    await runs('t1', { onLoss: WAIT });
    await fleet.lose(a1);
    await fleet.comeBack(a1, []);
    expect(await fleet.task('t1')).toMatchObject({ state: S.ASSIGNED, failures: 1, attemptCount: 2 });
  });

  it('may compete with its replacement: the first result counts, and the other one is stopped', async () => {
    await runs('t1', { onLoss: RECONCILE });
    const held = a1.of('t1');
    const a2 = await fleet.worker('a2');
    await fleet.lose(a1);
    expect(await a2.say('t1', ACCEPTED)).toBe('');
    await fleet.comeBack(a1, [held]);
    expect(fleet.record('t1').live.map(({ agentId }) => agentId)).toEqual(['a1', 'a2']);
    expect(await a1.agent.say(held, SUCCEEDED)).toBe('');
    await fleet.settled();
    expect(await fleet.task('t1')).toMatchObject({ state: S.SUCCEEDED, agentId: 'a1' });
    expect(revoked(a2)).toBe(1);
    expect(await a2.say('t1', SUCCEEDED)).toBe('DELIVERY_UNKNOWN');
    expect(fleet.reserved('a1')).toEqual({});
    expect(fleet.reserved('a2')).toEqual({});
  });
});

describe('a cancellation', () => {
  it('reaches the agent at once, and all tasks below', async () => {
    await runs('top');
    await runs('child', { parentTaskId: 'top' });
    await runs('grandchild', { parentTaskId: 'child' });
    await fleet.submit('waits', { parentTaskId: 'top', capability: 'nobody' });
    expect((await fleet.task('top')).openChildren).toBe(2);
    expect((await fleet.cancel('top', 'enough')).cancelled).toBe(true);
    for (const id of ['top', 'child', 'grandchild', 'waits'])
      expect((await fleet.task(id)).state).toBe(S.CANCELLED);
    expect((await fleet.task('top')).error).toBe('ann cancelled it: enough');
    expect((await fleet.task('child')).error).toContain('its parent top has ended');
    expect(mail()).toBe(0);
    expect(revoked()).toBe(3);
    expect((await fleet.cancel('top')).cancelled).toBe(false);
    expect(await rejection(fleet.submit('late', { parentTaskId: 'top' }))).toMatchObject({
      message: expect.stringContaining('task top has ended'),
    });
  });

  it('follows from the success of the parent as well', async () => {
    await runs('top');
    await runs('child', { parentTaskId: 'top' });
    await a1.say('top', SUCCEEDED);
    expect((await fleet.task('child')).state).toBe(S.CANCELLED);
  });
});

describe('attempts', () => {
  it('have rising numbers, handed out at once or when the agent comes back', async () => {
    const numbers: bigint[] = [];
    const note = () => numbers.push(a1.of('t1').work?.attempt ?? 0n);
    await runs('t1', { retry: { maxAttempts: 5 } });
    note();
    for (let round = 0; round < 2; round += 1) {
      await a1.say('t1', FAILED, { error: 'no', retryable: true });
      fleet.clock.advance(5000);
      await fleet.tick();
      if (round === 1) {
        // Its offer is handed out anew to the next session.
        await fleet.comeBack(a1, []);
        await fleet.tick();
      }
      note();
      await a1.say('t1', ACCEPTED);
    }
    expect(new Set(numbers).size).toBe(3);
    expect([...numbers].sort((a, b) => Number(a - b))).toEqual(numbers);
  });
});

describe('an outcome', () => {
  it('of an attempt that the view does not show yet is not lost', async () => {
    await runs('t1');
    const shown = fleet.tasks.view.get('default', 't1');
    if (shown === undefined) throw new Error('no task');
    const before = { ...shown, record: { ...shown.record, live: [] } };
    const lagging = { get: () => before } as unknown as TaskView;
    const outcomes = new TaskOutcomes({ store: fleet.store, tasks: lagging, maxAttempts: 3 });
    const known = { namespace: 'default', agentId: 'a1', id: 'task-t1-1' };
    const input = { known, state: 'succeeded', update: undefined, storeMs: fleet.storeTime.ms() };
    const { puts } = await outcomes.effects(input as unknown as OutcomeInput, false);
    expect(puts?.map(({ key }) => key)).toContain('task/t1');
  });
});

describe('budgets', () => {
  const tokens = (amount: bigint) => ({ tokens: amount });
  const spent = async (owner: string): Promise<bigint | undefined> => {
    const found = fleet.tasks.quotas.get('default', owner);
    return found?.record.quota?.budgets[0]?.spent;
  };
  beforeEach(() => fleet.quota('', { budgets: [{ name: 'tokens', limit: 100n }] }));

  it('that no quota declares are refused', async () => {
    expect(await rejection(fleet.submit('t1', { budgets: { money: 1n } }))).toMatchObject({
      message: expect.stringContaining('has a budget money'),
    });
  });

  it('are held as a whole until the task has ended, and then only what it spent is gone, once', async () => {
    await runs('t1', { budgets: tokens(80n) });
    const waiting = await fleet.submit('t2', { budgets: tokens(30n) });
    expect(waiting.pending?.reason).toBe(PendingReason.BUDGET);
    expect(await a1.say('t1', ACCEPTED, { spent: tokens(10n) })).toBe('');
    expect(await a1.say('t1', SUCCEEDED, { spent: tokens(25n) })).toBe('');
    await fleet.tick();
    expect(await spent('')).toBe(25n);
    expect(fleet.record('t1').settled).toBe(true);
    expect((await fleet.task('t2')).state).toBe(S.ASSIGNED);
    await fleet.readAnew();
    await fleet.tick();
    expect(await spent('')).toBe(25n);
    await a1.say('t2', ACCEPTED);
    await a1.say('t2', SUCCEEDED);
    await fleet.tick();
    expect(await spent('')).toBe(25n);
    expect(
      fleet.tasks.scheduling.ledger('default').accounts.quota('', fleet.storeTime.ms())?.budgets[0],
    ).toMatchObject({
      spent: 25n,
      reserved: 0n,
    });
  });

  it('run down the tree: children wait for their parent’s, and give back what they did not spend', async () => {
    await runs('top', { budgets: tokens(50n) });
    await runs('c1', { parentTaskId: 'top', budgets: tokens(40n) });
    expect(fleet.record('top').childrenHeld).toEqual(tokens(40n));
    await fleet.submit('c2', { parentTaskId: 'top', budgets: tokens(20n) });
    const waiting = await fleet.task('c2');
    expect(waiting.pending?.reason).toBe(PendingReason.BUDGET);
    expect(waiting.pending?.detail).toContain('10 tokens');
    expect(await rejection(fleet.submit('c3', { parentTaskId: 'top', budgets: tokens(51n) }))).toMatchObject({
      message: expect.stringContaining('its parent top has 50 in all'),
    });
    await a1.say('c1', SUCCEEDED, { spent: tokens(15n) });
    await fleet.tick();
    expect(fleet.record('top').childrenSpent).toEqual(tokens(15n));
    expect((await fleet.task('c2')).state).toBe(S.ASSIGNED);
    expect(await spent('')).toBe(0n);
    await a1.say('c2', ACCEPTED);
    await a1.say('c2', SUCCEEDED, { spent: tokens(5n) });
    expect(await a1.say('top', SUCCEEDED, { spent: tokens(30n) })).toBe('');
    await fleet.tick();
    await fleet.tick();
    expect((await fleet.task('top')).treeSpent).toEqual(tokens(50n));
    expect(await spent('')).toBe(50n);
  });

  it('that a parent only waits for are not its children’s to spend', async () => {
    await fleet.submit('top', { budgets: tokens(600n) });
    const other = { labels: { owner: 'other' } };
    await fleet.submit('child', { parentTaskId: 'top', budgets: tokens(50n), ...other });
    expect((await fleet.task('child')).pending?.reason).toBe(PendingReason.BUDGET);
    expect(a1.tasks()).toEqual([]);
    await fleet.quota('', { budgets: [{ name: 'tokens', limit: 600n }] });
    await fleet.tick();
    expect((await fleet.task('top')).state).toBe(S.ASSIGNED);
    expect((await fleet.task('child')).state).toBe(S.ASSIGNED);
    expect(fleet.record('top').childrenHeld).toEqual(tokens(50n));
  });

  it('may be called as what every object has', async () => {
    await fleet.quota('', { budgets: [{ name: 'constructor', limit: 100n }] });
    const named = (amount: bigint) => Object.fromEntries([['constructor', amount]]);
    await runs('top', { budgets: named(50n) });
    await runs('child', { parentTaskId: 'top', budgets: named(20n) });
    expect(await a1.say('child', SUCCEEDED, { spent: named(15n) })).toBe('');
    expect(await a1.say('top', SUCCEEDED, { spent: named(5n) })).toBe('');
    await fleet.tick();
    await fleet.tick();
    expect(await spent('')).toBe(20n);
  });

  it('that the task does not have leave nothing behind when an agent speaks of them', async () => {
    await runs('t1', { budgets: tokens(10n), onBudgetSpent: DEGRADE });
    expect(await a1.say('t1', ACCEPTED, { spent: { other: 1n } })).toBe('BUDGET_SPENT');
    expect(await a1.say('t1', ACCEPTED, { spent: { other: 0n, tokens: 0n } })).toBe('');
    expect(fleet.record('t1').live[0]?.spent).toEqual({});
    expect(await a1.say('t1', SUCCEEDED, { spent: { other: 7n } })).toBe('');
    expect(taskOf(fleet.record('t1')).spent).toEqual({});
    expect(fleet.types('a1')).toContain('task.overspent');
  });

  it('of a tree are given back, however many of it have ended at once', async () => {
    await runs('top', { budgets: tokens(50n) });
    const below = (level: string, parent: (at: number) => string) =>
      fleet.batch(
        Object.fromEntries(
          Array.from({ length: 260 }, (_, at) => [
            `${level}${at}`,
            { parentTaskId: parent(at), capability: 'nobody', budgets: tokens(1n) },
          ]),
        ),
      );
    await below('c', () => 'top');
    await below('g', (at) => `c${at}`);
    await fleet.cancel('top');
    for (let round = 0; round < 20 && !fleet.record('top').settled; round += 1) await fleet.tick();
    expect(fleet.record('top').settled).toBe(true);
    const { accounts } = fleet.tasks.scheduling.ledger('default');
    expect(accounts.quota('', fleet.storeTime.ms())?.budgets[0]).toMatchObject({ reserved: 0n });
  });

  it('of many children are taken of their parent one after the other, and all get theirs', async () => {
    await runs('top', { budgets: tokens(50n) });
    let tried = 0;
    fleet.store.faults.before = async () => {
      tried += 1;
    };
    await fleet.batch(
      Object.fromEntries(
        Array.from({ length: 8 }, (_, at) => [`c${at}`, { parentTaskId: 'top', budgets: tokens(2n) }]),
      ),
    );
    await fleet.settled();
    expect(fleet.record('top').childrenHeld).toEqual(tokens(16n));
    // The batch, and one commit for each.
    expect(tried).toBeLessThan(15);
  });

  it('that are spent stop the task and all below it', async () => {
    await runs('top', { budgets: tokens(10n) });
    await runs('child', { parentTaskId: 'top' });
    expect(await a1.say('top', ACCEPTED, { spent: tokens(11n) })).toBe('BUDGET_SPENT');
    const task = await fleet.task('top');
    expect(task).toMatchObject({ state: S.FAILED });
    expect(task.error).toContain('its budget tokens is spent');
    expect((await fleet.task('child')).state).toBe(S.CANCELLED);
  });

  it('that are spent are only told of where the task can do without', async () => {
    await runs('t1', { budgets: tokens(10n), onBudgetSpent: DEGRADE });
    expect(await a1.say('t1', ACCEPTED, { spent: tokens(11n) })).toBe('BUDGET_SPENT');
    expect(await a1.say('t1', ACCEPTED, { spent: tokens(10n) })).toBe('');
    expect((await fleet.task('t1')).state).toBe(S.RUNNING);
    // The end comes all the same: beyond what it had, all that it had counts.
    expect(await a1.say('t1', SUCCEEDED, { spent: tokens(99n) })).toBe('');
    await fleet.tick();
    expect(await spent('')).toBe(10n);
    expect(fleet.types('a1')).toContain('task.overspent');
  });

  it('can be asked for and granted, as far as there is', async () => {
    await runs('t1', { budgets: tokens(10n), onBudgetSpent: ASK });
    expect(await a1.say('t1', ACCEPTED, { spent: tokens(30n) })).toBe('BUDGET_SPENT');
    expect((await fleet.task('t1')).budgetAskedTime).toBeDefined();
    expect(fleet.types('a1')).toContain('task.budget_asked');
    const { task } = await fleet.grantBudget('t1', tokens(20n));
    expect(task?.budgets).toEqual(tokens(30n));
    expect(task?.budgetAskedTime).toBeUndefined();
    expect(await a1.say('t1', ACCEPTED, { spent: tokens(30n) })).toBe('');
    const refused = () => fleet.grantBudget('t1', tokens(71n), 'r1');
    expect(await rejection(refused())).toMatchObject({ message: expect.stringContaining('gets no more') });
    // Said again, it is no more granted than before.
    expect(await rejection(refused())).toMatchObject({ message: expect.stringContaining('gets no more') });
    expect(await rejection(fleet.grantBudget('t1', { money: 1n }))).toMatchObject({
      message: expect.stringContaining('no quota has a budget money'),
    });
    expect((await fleet.task('t1')).budgets).toEqual(tokens(30n));
  });

  it('that were granted stay granted when asked for again, whatever was asked for since', async () => {
    await runs('t1', { budgets: tokens(10n) });
    await fleet.grantBudget('t1', tokens(20n), 'first');
    expect(await rejection(fleet.grantBudget('t1', tokens(90n), 'second'))).toBeInstanceOf(DomainError);
    const { task } = await fleet.grantBudget('t1', tokens(20n), 'first');
    expect(task?.budgets).toEqual(tokens(30n));
    expect(await rejection(fleet.grantBudget('t1', tokens(90n), 'second'))).toBeInstanceOf(DomainError);
  });

  it('granted by a commit whose answer was lost stay reserved until it is seen', async () => {
    await runs('t1', { budgets: tokens(10n) });
    const { faults } = fleet.store;
    let asked = 0;
    faults.before = async ({ puts }) => {
      if (puts?.some(({ key }) => key === 'task/t1')) asked += 1;
      if (asked !== 2) return;
      // What the scheduler answers.
      faults.before = undefined;
      faults.loseAnswers = 1;
      faults.lagging = true;
    };
    const { accounts } = fleet.tasks.scheduling.ledger('default');
    const reserved = () => accounts.quota('', fleet.storeTime.ms())?.budgets[0]?.reserved;
    const request = create(GrantTaskBudgetRequestSchema, { taskId: 't1', budgets: tokens(50n) });
    const granted = fleet.tasks.change.grant(request, ANN);
    await turns(20);
    expect(faults.loseAnswers).toBe(0);
    expect(taskOf(fleet.record('t1')).budgets).toEqual(tokens(10n));
    expect(reserved()).toBe(60n);
    faults.lagging = false;
    fleet.store.catchUp();
    expect((await granted).task?.budgets).toEqual(tokens(60n));
    await fleet.settled();
    expect(reserved()).toBe(60n);
  });

  it('granted at the same time never add up to more than there is', async () => {
    await runs('t1', { budgets: tokens(10n) });
    await runs('t2', { budgets: tokens(10n) });
    const both = await Promise.allSettled(['t1', 't2'].map((id) => fleet.grantBudget(id, tokens(50n))));
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    const sums = ['t1', 't2'].map((id) => taskOf(fleet.record(id)).budgets.tokens ?? 0n);
    expect(sums.reduce((a, b) => a + b)).toBe(70n);
  });
});
