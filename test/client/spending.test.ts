import { describe, expect, it } from 'vitest';
import { DeliveryUpdate_State as State } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { useAgent } from './agent-fixture.ts';
import { heldTasks, nameOf, taskService } from './task-fixture.ts';

const fixture = useAgent();
const { deliver, revoke, updates, answer, answerAll } = taskService(fixture);
const held = () => heldTasks((ms) => fixture.pass(ms));

describe('a task that spends', () => {
  const budgets = { tokens: 10n };
  const told = () => updates().map(({ state, spent }) => `${nameOf(state)} ${spent.tokens ?? 0n}`);

  it('asks first, and is told what is left; all of it goes with the outcome', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t', { budgets, spent: { tokens: 1n } });
    answer();
    const spending = task('t').spend({ tokens: 5 });
    await fixture.pass(0);
    expect(told()).toEqual(['ACCEPTED 0', 'ACCEPTED 5']);
    answer();
    expect(await spending).toEqual({ tokens: 4 });
    expect(task('t').left).toEqual({ tokens: 4 });
    await done('t');
    expect(told().at(-1)).toBe('SUCCEEDED 5');
  });

  it('may spend what is called as something that every object has', async () => {
    const named = (amount: number) => Object.fromEntries([['constructor', amount]]);
    const { handler, task } = held();
    await fixture.connected({ onTask: handler });
    deliver('t', { budgets: Object.fromEntries([['constructor', 10n]]) });
    answer();
    const spending = task('t').spend(named(5));
    await fixture.pass(0);
    answer();
    expect(await spending).toEqual(named(5));
  });

  it('asks one thing at a time; what comes meanwhile goes together', async () => {
    const { handler, task } = held();
    await fixture.connected({ onTask: handler });
    deliver('t', { budgets });
    answer();
    const all = [1, 2, 3].map((tokens) => task('t').spend({ tokens }));
    await fixture.pass(0);
    expect(told()).toEqual(['ACCEPTED 0', 'ACCEPTED 1']);
    answer();
    await fixture.pass(0);
    expect(told().at(-1)).toBe('ACCEPTED 6');
    answer();
    expect(await Promise.all(all)).toEqual([{ tokens: 9 }, { tokens: 4 }, { tokens: 4 }]);
  });

  it('more than there is rejects, and the rest goes on: together refused, one by one asked', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t', { budgets });
    answer();
    const refused = { code: 8, reason: 'BUDGET_SPENT', detail: '2 tokens are left' };
    const all = [8, 5, 2].map((tokens) => task('t').spend({ tokens }));
    const settled = Promise.allSettled(all);
    await fixture.pass(0);
    answer(); // 8
    await fixture.pass(0);
    expect(told().at(-1)).toBe('ACCEPTED 15');
    answer(refused);
    await fixture.pass(0);
    expect(told().at(-1)).toBe('ACCEPTED 13');
    answer(refused);
    await fixture.pass(0);
    expect(told().at(-1)).toBe('ACCEPTED 10');
    answer();
    expect(await settled).toMatchObject([
      { status: 'fulfilled', value: { tokens: 2 } },
      { status: 'rejected', reason: { name: 'AgentError', reason: 'BUDGET_SPENT', left: { tokens: 2 } } },
      { status: 'fulfilled', value: { tokens: 0 } },
    ]);
    await done('t');
    expect(told().at(-1)).toBe('SUCCEEDED 10');
  });

  it('and cannot go on without has failed for good', async () => {
    await fixture.connected({ onTask: async (task) => void (await task.spend({ tokens: 50 })) });
    deliver('t', { budgets });
    await fixture.pass(0);
    answer({ code: 8, reason: 'BUDGET_SPENT', detail: '10 tokens are left' });
    await fixture.pass(0);
    expect(updates().at(-1)).toMatchObject({
      state: State.FAILED,
      retryable: false,
      error: '10 tokens are left',
      spent: {},
    });
  });

  it('waits over a reconnect for its answer, and no longer than the work is its own', async () => {
    const { handler, task } = held();
    await fixture.connected({ onTask: handler, concurrency: 2 });
    deliver('t', { budgets });
    deliver('u', { budgets });
    answerAll();
    const first = task('t').spend({ tokens: 1 });
    const other = task('u')
      .spend({ tokens: 1 })
      .catch((error: unknown) => error);
    revoke('u');
    fixture.lost();
    expect(await other).toMatchObject({ reason: 'work_revoked' });
    await fixture.pass(1_500);
    fixture.network.stream.welcome(2n);
    answerAll();
    expect(await first).toEqual({ tokens: 9 });
    await expect(task('u').spend({ tokens: 1 })).rejects.toMatchObject({ reason: 'work_revoked' });
  });

  it.each([[-1], [1.5], [Number.NaN], [2 ** 53]])('cannot spend %s', async (tokens) => {
    const { handler, task } = held();
    await fixture.connected({ onTask: handler });
    deliver('t', { budgets });
    await expect(task('t').spend({ tokens })).rejects.toThrow(RangeError);
    expect(updates()).toHaveLength(1);
  });
});
