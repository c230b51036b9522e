import { describe, expect, it } from 'vitest';
import { DeliveryUpdate_State as State } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { PermanentError } from '../../src/client/errors.ts';
import { useAgent } from './agent-fixture.ts';
import { heldTasks, taskService } from './task-fixture.ts';

const fixture = useAgent();
const { deliver, revoke, updates, updatesOf, states, answer, answerAll } = taskService(fixture);
const held = () => heldTasks((ms) => fixture.pass(ms));

describe('a task and its handler', () => {
  it('is accepted before the handler begins, which gets all that came and whose value is the output', async () => {
    const seen: unknown[] = [];
    await fixture.connected({
      onTask: (task) => {
        const { id, capability, input, attempt, labels, parentTaskId, granted, budgets, left } = task;
        seen.push({ accepted: states(), id, capability, input, attempt, labels, parentTaskId });
        seen.push({ granted, budgets, left, timeLeft: Math.round(task.timeLeftMs / 1_000) });
        return { width: 100 };
      },
    });
    deliver(
      't',
      {
        input: { data: { case: 'text', value: 'a.png' } },
        attempt: 3,
        labels: { owner: 'web' },
        parentTaskId: 'p',
        granted: { slots: 1n },
        budgets: { tokens: 10n },
        spent: { tokens: 4n },
      },
      { timeLeft: { seconds: 60n } },
    );
    await fixture.pass(0);
    expect(seen).toEqual([
      {
        accepted: ['t ACCEPTED'],
        id: 't',
        capability: 'resize',
        input: 'a.png',
        attempt: 3,
        labels: { owner: 'web' },
        parentTaskId: 'p',
      },
      { granted: { slots: 1 }, budgets: { tokens: 10 }, left: { tokens: 6 }, timeLeft: 60 },
    ]);
    expect(states()).toEqual(['t ACCEPTED', 't SUCCEEDED']);
    expect(updates()[1]?.output?.data.case).toBe('json');
  });

  it.each([
    ['throws', new Error('no'), { state: State.FAILED, error: 'no', retryable: true }],
    [
      'throws for good',
      new PermanentError('never'),
      { state: State.FAILED, error: 'never', retryable: false },
    ],
    ['throws anything', 'text', { state: State.FAILED, error: 'text', retryable: true }],
  ])('that %s says so', async (_, error, update) => {
    const { handler, fail } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    await fail('t', error);
    expect(updates()[1]).toMatchObject(update);
  });

  it('declines; one of another capability, or without a handler, is declined by what it is', async () => {
    const agent = await fixture.connected({ onTask: { 'image.*': (task) => task.decline('not today') } });
    deliver('a', { capability: 'image.resize' });
    deliver('b', { capability: 'sound' });
    await fixture.pass(0);
    const remove = agent.onTask(() => 'all');
    deliver('c', { capability: 'sound' });
    await fixture.pass(0);
    remove();
    deliver('d', { capability: 'sound' });
    await fixture.pass(0);
    expect(states()).toEqual(
      expect.arrayContaining([
        'a ACCEPTED',
        'a DECLINED',
        'b DECLINED',
        'c ACCEPTED',
        'c SUCCEEDED',
        'd DECLINED',
      ]),
    );
    const error = (id: string) => updatesOf(id).at(-1);
    expect(error('a')).toMatchObject({ error: 'not today', retryable: true });
    expect(error('b')).toMatchObject({ error: 'this agent takes no tasks' });
  });

  it('tells its progress with the reports, until it is done', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    await fixture.pass(1_000);
    task('t').progress(3, 10, 'pages');
    await fixture.pass(1_000);
    const reports = () => fixture.network.stream.frames('heartbeat').map(({ report }) => report?.progress);
    expect(reports().at(-1)).toMatchObject([
      { work: { deliveryId: 'task-t-1' }, name: 'pages', done: 3n, total: 10n },
    ]);
    await done('t');
    await fixture.pass(1_000);
    expect(reports().at(-1)).toEqual([]);
  });

  it('whose output the service cannot take has failed, with the reason', async () => {
    const { handler, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    answer();
    await done('t', 'x'.repeat(10));
    answer({ code: 3, reason: 'INVALID_FIELDS', detail: 'output: at most 64 KiB' });
    await fixture.pass(0);
    expect(updates().at(-1)).toMatchObject({
      state: State.FAILED,
      retryable: false,
      error: 'its outcome was not taken: output: at most 64 KiB',
    });
  });

  it('whose output is no content has failed', async () => {
    await fixture.connected({ onTask: () => ({ big: 1n }) });
    deliver('t');
    await fixture.pass(0);
    expect(updates()[1]).toMatchObject({ state: State.FAILED });
  });
});

it('a task that is not wanted now is declined before it is taken on', async () => {
  const { handler, running } = held();
  await fixture.connected({ onTask: handler, declineTask: ({ id }) => (id === 'a' ? 'no disk' : undefined) });
  deliver('a');
  deliver('b');
  await fixture.pass(0);
  expect(states().sort()).toEqual(['a DECLINED', 'b ACCEPTED']);
  expect(updatesOf('a')[0]).toMatchObject({ error: 'no disk', retryable: true });
  expect([...running.keys()]).toEqual(['b']);
});

describe('the signal of a task', () => {
  it('fires at once when it is cancelled, and what the handler does then is not told', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    const { signal } = task('t');
    revoke('t', 'the user gave up');
    expect(signal.reason).toMatchObject({ reason: 'work_revoked', message: 'the user gave up' });
    await done('t', 'late');
    expect(states()).toEqual(['t ACCEPTED']);
  });

  it('fires at the deadline, at which the service ends it', async () => {
    const { handler, task, fail } = held();
    await fixture.connected({ onTask: handler });
    deliver('t', {}, { timeLeft: { seconds: 2n } });
    const { signal } = task('t');
    await fixture.pass(1_999);
    expect(signal.aborted).toBe(false);
    await fixture.pass(1);
    expect(signal.reason).toMatchObject({ reason: 'deadline_passed' });
    expect(task('t').timeLeftMs).toBe(0);
    await fail('t', signal.reason);
    expect(states()).toEqual(['t ACCEPTED']);
  });

  it('fires when the agent was out of touch for its lease, not before', async () => {
    const { handler, task } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    const { signal } = task('t');
    fixture.lost();
    await fixture.pass(29_000);
    expect(signal.aborted).toBe(false);
    await fixture.pass(1_500);
    expect(signal.reason).toMatchObject({ reason: 'lease_expired' });
  });

  it('fires when the service says that the attempt is over, at acceptance', async () => {
    const { handler, task } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    const { signal } = task('t');
    answer({ code: 10, reason: 'ATTEMPT_STALE', detail: 'task t is at attempt 2' });
    await fixture.pass(0);
    expect(signal.reason).toMatchObject({ message: 'task t is at attempt 2' });
  });
});

describe('many tasks', () => {
  const slots = () => fixture.network.registrations.at(-1)?.request.spec?.capacity;
  const window = () => fixture.network.stream.frames('hello')[0]?.maxInFlight;

  it.each([
    ['one at a time, unless it is said', {}, 1n, 1],
    ['as many as is said', { concurrency: 4 }, 4n, 4],
    ['as many as there are slots', { spec: { capacity: { slots: 3n, cpu: 8n } } }, 3n, 3],
    ['fewer than slots, where that is said', { concurrency: 2, spec: { capacity: { slots: 3n } } }, 3n, 2],
  ])('run %s', async (_, options, declared, inFlight) => {
    await fixture.connected({ onTask: () => {}, ...options });
    expect(slots()).toMatchObject({ slots: declared });
    expect(window()).toBe(inFlight);
  });

  it('an agent that takes none declares no slots', async () => {
    await fixture.connected();
    expect(slots()).toEqual({});
  });

  it('one too many waits for a place, and is declined as busy when none came', async () => {
    const { handler, running, done } = held();
    await fixture.connected({ onTask: handler, concurrency: 2 });
    for (const id of ['a', 'b', 'c', 'd']) deliver(id);
    await fixture.pass(0);
    expect([...running.keys()]).toEqual(['a', 'b']);
    await done('a');
    expect([...running.keys()]).toEqual(['b', 'c']);
    await fixture.pass(4_999);
    expect(states().filter((state) => state.startsWith('d'))).toEqual([]);
    await fixture.pass(1);
    expect(updates().at(-1)).toMatchObject({ state: State.DECLINED, retryable: true });
    expect(updates().at(-1)?.error).toContain('2 tasks');
  });

  it('the place of one that was taken back is free when its handler has ended; one taken back in waiting never begins', async () => {
    const { handler, running, fail } = held();
    await fixture.connected({ onTask: handler });
    for (const id of ['a', 'b', 'c']) deliver(id);
    revoke('a');
    revoke('b');
    await fixture.pass(0);
    expect([...running.keys()]).toEqual(['a']);
    await fail('a', new Error('cancelled'));
    expect([...running.keys()]).toEqual(['c']);
    expect(states()).toEqual(['a ACCEPTED', 'c ACCEPTED']);
  });

  it('a drain lets finish what runs, declines what comes or waits, and a resume ends it', async () => {
    const { handler, running, done } = held();
    await fixture.connected({ onTask: handler });
    const order = (type: string) =>
      fixture.network.stream.down({
        case: 'delivery',
        value: { work: { deliveryId: type, attempt: 1n }, item: { case: 'command', value: { type } } },
      });
    deliver('a');
    deliver('b');
    order('drain');
    deliver('c');
    await fixture.pass(0);
    answerAll();
    const declined = states().filter((state) => state.includes('DECLINED'));
    expect(declined.sort()).toEqual(['b DECLINED', 'c DECLINED']);
    await fixture.pass(1_000);
    expect(updates().at(-1)?.running).toEqual(['task resize a']);
    await done('a'); // while the service has not answered that yet
    answerAll();
    await fixture.pass(0);
    answerAll();
    await fixture.pass(1_000);
    answerAll();
    await fixture.pass(0);
    expect(updates().at(-1)).toMatchObject({ work: { deliveryId: 'drain' }, state: State.SUCCEEDED });
    order('resume');
    await fixture.pass(0);
    deliver('d');
    await fixture.pass(0);
    expect([...running.keys()]).toEqual(['d']);
    await done('d');
  });
});
