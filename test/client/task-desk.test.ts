import type { Message, MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  type DeliverySchema,
  DeliveryUpdate_State as State,
  DeliveryUpdate_StateSchema as StateSchema,
  type TaskSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { PermanentError } from '../../src/client/errors.ts';
import type { AgentTask } from '../../src/client/task.ts';
import { useAgent } from './agent-fixture.ts';

const fixture = useAgent();

type Fields = Exclude<MessageInitShape<typeof DeliverySchema>, Message>;
type TaskFields = Exclude<MessageInitShape<typeof TaskSchema>, Message>;

const nameOf = (state: State) => StateSchema.value[state]?.localName;

function deliver(id: string, task: TaskFields = {}, more: Fields = {}): void {
  const value = { id, capability: 'resize', attempt: 1, ...task };
  fixture.network.stream.down({
    case: 'delivery',
    value: {
      work: { deliveryId: `task-${id}-1`, attempt: 1n },
      acceptWithin: { seconds: 10n },
      item: { case: 'task', value },
      ...more,
    },
  });
}
function revoke(id: string, reason = 'cancelled'): void {
  const work = { deliveryId: `task-${id}-1`, attempt: 1n };
  fixture.network.stream.down({ case: 'revoke', value: { work, reason } });
}

const updates = () => fixture.network.stream.frames('deliveryUpdate');
const idOf = (deliveryId = '') => deliveryId.slice(5, -2);
const states = () => updates().map(({ work, state }) => `${idOf(work?.deliveryId)} ${nameOf(state)}`);
/** Answers the latest frame. */
function answer(result: { code?: number; reason?: string; detail?: string } = {}): void {
  const { frameId } = fixture.network.stream.up.findLast(({ frameId: id }) => id !== '') ?? {};
  fixture.network.stream.down({ case: 'result', value: { frameId: frameId ?? '', ...result } });
}
/** Answers all frames that were not answered. */
function answerAll(): void {
  for (const { frameId } of fixture.network.stream.up) {
    if (frameId !== '') fixture.network.stream.down({ case: 'result', value: { frameId } });
  }
}

/** A handler whose tasks are done when they are told. */
function held() {
  const running = new Map<string, AgentTask>();
  const ends = new Map<
    string,
    { resolve: (output?: object | string) => void; reject: (error: unknown) => void }
  >();
  const handler = (task: AgentTask) => {
    running.set(task.id, task);
    return new Promise<object | string | undefined>((resolve, reject) => {
      ends.set(task.id, { resolve, reject });
    }).finally(() => running.delete(task.id));
  };
  const end = async (how: 'resolve' | 'reject', id: string, value?: unknown) => {
    ends.get(id)?.[how](value as never);
    await fixture.pass(0);
  };
  const task = (id: string): AgentTask => {
    const found = running.get(id);
    if (found === undefined) throw new Error(`task ${id} does not run`);
    return found;
  };
  return {
    handler,
    running,
    task,
    done: (id: string, output?: object | string) => end('resolve', id, output),
    fail: (id: string, error: unknown) => end('reject', id, error),
  };
}

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
    const error = (id: string) =>
      updates().find(({ work, state }) => idOf(work?.deliveryId) === id && state === State.DECLINED);
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

describe('a task over a reconnect', () => {
  it('goes on, is named in hello, and its result is told when the session is back', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    answer();
    const { signal } = task('t');
    fixture.lost();
    await fixture.pass(1_500);
    expect(fixture.network.stream.frames('hello')[0]?.held).toMatchObject([
      { deliveryId: 'task-t-1', attempt: 1n },
    ]);
    await done('t', 'ready'); // not welcome yet
    expect(states()).toEqual([]);
    fixture.network.stream.welcome(2n);
    await fixture.pass(0);
    expect(signal.aborted).toBe(false);
    expect(updates()).toMatchObject([{ state: State.SUCCEEDED, output: { data: { value: 'ready' } } }]);
    deliver('t');
    await fixture.pass(0);
    expect(states(), 'not done twice').toEqual(['t SUCCEEDED', 't SUCCEEDED']);
  });

  it('is in hello while its result is not acknowledged', async () => {
    await fixture.connected({ onTask: () => {} });
    deliver('t');
    await fixture.pass(0);
    fixture.lost();
    await fixture.pass(1_500);
    expect(fixture.network.stream.frames('hello')[0]?.held).toMatchObject([{ deliveryId: 'task-t-1' }]);
  });

  it('is stopped when it was given to another meanwhile', async () => {
    const { handler, task, done } = held();
    await fixture.connected({ onTask: handler });
    deliver('t');
    const { signal } = task('t');
    fixture.lost();
    await fixture.pass(1_500);
    const revoked = [{ deliveryId: 'task-t-1', attempt: 1n }];
    fixture.network.stream.down({
      case: 'welcome',
      value: { epoch: 2n, lease: { seconds: 30n }, revoked },
    });
    expect(signal.reason).toMatchObject({ reason: 'work_revoked' });
    await done('t');
    expect(states().filter((state) => state.includes('SUCCEEDED'))).toEqual([]);
  });

  it('whose result is refused as stale is dropped, and the log says so', async () => {
    const logged: string[] = [];
    const note = (_: object, message: string) => void logged.push(message);
    const { handler, done } = held();
    await fixture.connected({ onTask: handler, log: { debug: note, info: note, warn: note } });
    deliver('t');
    answer();
    await done('t', 'late');
    answer({ code: 10, reason: 'ATTEMPT_STALE', detail: 'task t is at attempt 2' });
    await fixture.pass(0);
    expect(logged).toContain('what came of a task was not taken, and is dropped');
    expect(states()).toEqual(['t ACCEPTED', 't SUCCEEDED']);
    fixture.lost();
    await fixture.pass(1_500);
    expect(fixture.network.stream.frames('hello')[0]?.held).toEqual([]);
  });
});

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
