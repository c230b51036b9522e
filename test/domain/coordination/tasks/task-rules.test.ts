import { describe, expect, it } from 'vitest';
import {
  Task_State,
  TaskAttempt_State,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { type Draft, finish } from '../../../../src/domain/coordination/tasks/task-draft.ts';
import { nextDueMs, wantsAttempt } from '../../../../src/domain/coordination/tasks/task-dues.ts';
import { taskOf } from '../../../../src/domain/coordination/tasks/task-record.ts';
import {
  accept,
  agentReturned,
  fail,
  loseAgent,
  refuse,
  succeed,
} from '../../../../src/domain/coordination/tasks/task-rules.ts';
import { durationFromMs, msFromTimestamp } from '../../../../src/lib/proto-time.ts';
import { attempt, attemptStates, draft, give, live, type SpecInit, stateOf, T0 } from './task-records.ts';

const { PENDING, ASSIGNED, RUNNING, SUCCEEDED, FAILED, CANCELLED, TIMED_OUT } = Task_State;
const A = TaskAttempt_State;
const { WAIT, RECONCILE, REPLACE } = TaskSpec_OnLoss;
const { FIRST_RESULT, ORIGINAL, REPLACEMENT } = TaskSpec_Winner;
const OFFER_MS = 10_000;

/** A task that runs on a1. */
function running(spec: SpecInit = {}): Draft {
  const task = draft(spec);
  give(task, 'a1');
  accept(task, 1, T0 + 10);
  return task;
}

const failed = (task: Draft, number: number, how: Partial<Parameters<typeof fail>[2]> = {}) =>
  fail(task, number, {
    ...{ state: A.FAILED, error: 'broken', retryable: true, storeMs: T0 + 100, maxAttempts: 3, ...how },
  });
const lost = (task: Draft, number: number, mayReturn = true, maxAttempts = 3) =>
  loseAgent(task, number, { storeMs: T0 + 100, detail: 'a1 was lost', maxAttempts, mayReturn });
const back = (task: Draft, number: number, withIt: boolean, maxAttempts = 3) =>
  agentReturned(task, number, { withIt, storeMs: T0 + 200, maxAttempts });
const pendingOf = ({ record }: Draft) => taskOf(record).pending;
const pauseMs = (task: Draft): number | undefined => {
  const notBefore = pendingOf(task)?.notBeforeTime;
  return notBefore === undefined ? undefined : msFromTimestamp(notBefore) - (T0 + 100);
};

describe('an attempt', () => {
  it('that is offered, accepted and brings the result makes the task assigned, running and succeeded', () => {
    const task = draft();
    expect(wantsAttempt(task.record)).toBe(true);
    expect(give(task, 'a1', T0 + 1, { cpu: 5n })).toBe(1);
    expect(stateOf(task)).toBe(ASSIGNED);
    expect(wantsAttempt(task.record)).toBe(false);
    expect(taskOf(task.record)).toMatchObject({ agentId: 'a1', attemptCount: 1 });
    expect(attempt(task, 1)).toMatchObject({
      ...{ agentId: 'a1', deliveryId: 'task-t1-1', state: A.OFFERED, replacement: false },
      resources: { cpu: 5n },
    });
    accept(task, 1, T0 + 20);
    expect(stateOf(task)).toBe(RUNNING);
    expect(attempt(task, 1).state).toBe(A.RUNNING);
    succeed(task, 1, T0 + 30);
    expect(stateOf(task)).toBe(SUCCEEDED);
    expect(live(task)).toEqual([]);
    expect(task.withdrawn).toEqual([]);
    const { startTime, endTime, agentId } = taskOf(task.record);
    expect([startTime, endTime].map((time) => time && msFromTimestamp(time))).toEqual([T0 + 20, T0 + 30]);
    expect(agentId).toBe('a1');
  });

  it('that is accepted twice began when it was accepted first', () => {
    const task = running();
    accept(task, 1, T0 + 5000);
    const { acceptTime } = attempt(task, 1);
    expect(acceptTime && msFromTimestamp(acceptTime)).toBe(T0 + 10);
  });

  it('is shown while it lives, however many came after it; of the others the last are', () => {
    const task = running({ onLoss: RECONCILE });
    lost(task, 1);
    for (let number = 2; number <= 12; number += 1) {
      give(task, `b${number}`);
      refuse(task, number, { state: A.DECLINED, error: '', storeMs: T0 });
    }
    give(task, 'c1');
    const numbers = taskOf(task.record).attempts.map(({ number }) => number);
    expect(numbers).toEqual([1, 7, 8, 9, 10, 11, 12, 13]);
    expect(taskOf(task.record).attemptCount).toBe(13);
    back(task, 1, true);
    expect(stateOf(task)).toBe(RUNNING);
  });

  it('adds what it spent to what the task spent, however it ends', () => {
    for (const end of [
      (task: Draft) => succeed(task, 1, T0),
      (task: Draft) => failed(task, 1),
      (task: Draft) => refuse(task, 1, { state: A.DECLINED, error: '', storeMs: T0 }),
      (task: Draft) => lost(task, 1),
      (task: Draft) => finish(task, CANCELLED, 'no more', T0),
    ]) {
      const task = running({ budgets: { tokens: 100n } });
      taskOf(task.record).spent = { tokens: 3n };
      const [mine] = task.record.live;
      if (mine !== undefined) mine.spent = { tokens: 4n, calls: 1n };
      end(task);
      expect(taskOf(task.record).spent).toEqual({ tokens: 7n, calls: 1n });
    }
  });
});

describe('a move', () => {
  it('ends the first attempt when its replacement runs, and not before', () => {
    const task = running();
    task.record.moveToAgentId = 'a2';
    give(task, 'a2');
    expect(attempt(task, 2).replacement).toBe(true);
    expect(live(task)).toEqual([1, 2]);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId: 'a1' });
    accept(task, 2, T0 + 50);
    expect(live(task)).toEqual([2]);
    expect(attempt(task, 1).state).toBe(A.WITHDRAWN);
    expect(task.withdrawn).toEqual(['mail/a1/task-t1-1']);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId: 'a2', failures: 0 });
    expect(task.record.moveToAgentId).toBe('');
  });

  it.each([
    ['declined', (task: Draft) => refuse(task, 2, { state: A.DECLINED, error: 'no', storeMs: T0 })],
    ['failed', (task: Draft) => failed(task, 2)],
    ['lost with its agent', (task: Draft) => lost(task, 2)],
  ])('whose replacement is %s leaves the task where it was', (_, end) => {
    const task = running();
    task.record.moveToAgentId = 'a2';
    give(task, 'a2');
    end(task);
    expect(live(task)).toEqual([1]);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId: 'a1' });
    expect(task.record.moveToAgentId).toBe('');
  });

  it('of one that may not be moved once it has begun is over when the first agent begins it', () => {
    const task = draft({});
    give(task, 'a1');
    task.record.moveToAgentId = 'a2';
    give(task, 'a2');
    accept(task, 1, T0 + 10);
    expect(live(task)).toEqual([1]);
    expect(task.withdrawn).toEqual(['mail/a2/task-t1-2']);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId: 'a1' });
    expect(task.record.moveToAgentId).toBe('');
    const movable = draft({ movable: true });
    give(movable, 'a1');
    movable.record.moveToAgentId = 'a2';
    give(movable, 'a2');
    accept(movable, 1, T0 + 10);
    expect(live(movable)).toEqual([1, 2]);
  });

  it('is over when the original ends with the result first', () => {
    const task = running();
    task.record.moveToAgentId = 'a2';
    give(task, 'a2');
    succeed(task, 1, T0 + 60);
    expect(stateOf(task)).toBe(SUCCEEDED);
    expect(task.withdrawn).toEqual(['mail/a2/task-t1-2']);
    expect(taskOf(task.record).agentId).toBe('a1');
  });
});

describe('a failed attempt', () => {
  it.each([
    [1, undefined, undefined, 1000],
    [2, undefined, undefined, 2000],
    [3, undefined, undefined, 4000],
    [30, undefined, undefined, 300_000],
    [1, 0, undefined, undefined],
    [3, 100, 250, 250],
  ])(
    'number %d with pauses of %s to %s ms is followed by one of about %s ms',
    (failures, min, max, expected) => {
      const minBackoff = min === undefined ? {} : { minBackoff: durationFromMs(min) };
      const maxBackoff = max === undefined ? {} : { maxBackoff: durationFromMs(max) };
      const task = running({ retry: { maxAttempts: 1000, ...minBackoff, ...maxBackoff } });
      taskOf(task.record).failures = failures - 1;
      failed(task, 1);
      expect(stateOf(task)).toBe(PENDING);
      expect(taskOf(task.record).failures).toBe(failures);
      const pause = pauseMs(task);
      if (expected === undefined) expect(pause).toBeUndefined();
      else {
        expect(pause).toBeGreaterThanOrEqual(0.9 * expected);
        expect(pause).toBeLessThanOrEqual(1.1 * expected);
        expect(pendingOf(task)?.reason).toBe(PendingReason.BACKOFF);
      }
      expect(pendingOf(task)?.detail).toBe('attempt 1 on a1 failed: broken');
      expect(wantsAttempt(task.record)).toBe(true);
    },
  );

  it.each([
    ['the agent calls it final', { retryable: false }, {}, 0, 'broken'],
    ['it was the last of the configured', {}, {}, 2, 'broken (attempt 3 of 3)'],
    ['it was the last of the task’s own', {}, { maxAttempts: 2 }, 1, 'broken (attempt 2 of 2)'],
    ['there is one alone', {}, { maxAttempts: 1 }, 0, 'broken'],
  ])('is the end when %s', (_, how, retry, before, error) => {
    const task = running({ retry });
    taskOf(task.record).failures = before;
    failed(task, 1, how);
    expect(taskOf(task.record)).toMatchObject({ state: FAILED, error, failures: before + 1, agentId: 'a1' });
    expect(nextDueMs(task.record, OFFER_MS)).toBeUndefined();
  });

  it('has its error cut', () => {
    const task = running();
    failed(task, 1, { error: 'x'.repeat(5000) });
    expect(attempt(task, 1).error.length).toBe(1024);
  });
});

describe('an offer that is not taken', () => {
  it('counts as no failure, and its agent is left out for longer with every round', () => {
    const task = draft();
    const pauses: number[] = [];
    for (let number = 1; number <= 9; number += 1) {
      give(task, `a${number}`);
      refuse(task, number, { state: A.DECLINED, error: 'busy', storeMs: T0 });
      pauses.push(Number(task.record.refusals[0]?.untilMs ?? 0n) - T0);
    }
    expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000]);
    expect(taskOf(task.record)).toMatchObject({ state: PENDING, failures: 0, agentId: '' });
    expect(pendingOf(task)?.detail).toBe('a9 declined: busy');
    expect(wantsAttempt(task.record)).toBe(true);
  });

  it('stands once for each agent, and for 16 agents at most', () => {
    const task = draft();
    for (let number = 1; number <= 40; number += 1) {
      give(task, `a${number % 20}`);
      refuse(task, number, { state: A.UNANSWERED, error: '', storeMs: T0 });
    }
    const agents = task.record.refusals.map(({ agentId }) => agentId);
    expect(agents).toHaveLength(16);
    expect(new Set(agents).size).toBe(16);
    expect(agents[0]).toBe('a0');
  });

  it('begins its rounds anew once somebody has accepted', () => {
    const task = draft();
    give(task, 'a1');
    refuse(task, 1, { state: A.DECLINED, error: '', storeMs: T0 });
    give(task, 'a2');
    accept(task, 2, T0);
    expect(task.record.refusedRounds).toBe(0);
  });
});

describe('the loss of an agent', () => {
  it.each([
    // policy, begun, may return → state, live, failures, attempt, wants another
    [REPLACE, true, true, PENDING, [], 1, A.AGENT_LOST, true],
    [REPLACE, false, true, PENDING, [], 0, A.AGENT_LOST, true],
    [WAIT, true, true, PENDING, [1], 0, A.AGENT_LOST, false],
    [WAIT, true, false, PENDING, [], 1, A.AGENT_LOST, true],
    [WAIT, false, true, PENDING, [], 0, A.AGENT_LOST, true],
    [RECONCILE, true, true, PENDING, [1], 0, A.AGENT_LOST, true],
    [RECONCILE, true, false, PENDING, [], 1, A.AGENT_LOST, true],
    [RECONCILE, false, true, PENDING, [], 0, A.AGENT_LOST, true],
  ])(
    'with policy %d, begun %s, may return %s',
    (onLoss, begun, mayReturn, state, lives, failures, told, wants) => {
      const task = draft({ onLoss });
      give(task, 'a1');
      if (begun) accept(task, 1, T0);
      lost(task, 1, mayReturn);
      expect(stateOf(task)).toBe(state);
      expect(live(task)).toEqual(lives);
      expect(taskOf(task.record).failures).toBe(failures);
      expect(attempt(task, 1).state).toBe(told);
      expect(wantsAttempt(task.record)).toBe(wants);
      // What may come back stays in the mailbox.
      expect(task.withdrawn).toEqual(lives.length > 0 ? [] : ['mail/a1/task-t1-1']);
      expect(pauseMs(task)).toBeUndefined();
    },
  );

  it('is the end of a task that has lost too many', () => {
    const task = running({ retry: { maxAttempts: 1 } });
    lost(task, 1);
    expect(taskOf(task.record)).toMatchObject({ state: FAILED, error: 'a1 was lost' });
  });

  it('is waited out until the task’s own limit, and then another agent has it', () => {
    const task = running({ onLoss: WAIT, waitForAgent: durationFromMs(5000) });
    lost(task, 1);
    expect(pendingOf(task)).toMatchObject({ reason: PendingReason.AGENT_LOST });
    expect(nextDueMs(task.record, OFFER_MS)).toBe(T0 + 100 + 5000);
    lost(task, 1, false);
    expect(live(task)).toEqual([]);
    expect(taskOf(task.record).failures).toBe(1);
    expect(wantsAttempt(task.record)).toBe(true);
  });

  it('one after the other keeps one lost attempt at most, and each further one counts', () => {
    const task = running({ onLoss: RECONCILE, retry: { maxAttempts: 3 } });
    lost(task, 1);
    for (const number of [2, 3, 4]) {
      give(task, `a${number}`);
      accept(task, number, T0);
      lost(task, number);
      expect(live(task)).toEqual(number === 4 ? [] : [1]);
    }
    expect(taskOf(task.record)).toMatchObject({ state: FAILED, failures: 3 });
    expect(task.withdrawn).toContain('mail/a1/task-t1-1');
  });
});

describe('an agent that comes back', () => {
  /** a1 was lost with it; a2 has it, accepted or only offered. */
  function replaced(winner: TaskSpec_Winner, second: 'none' | 'offered' | 'running'): Draft {
    const task = running({ onLoss: RECONCILE, winner });
    lost(task, 1);
    if (second !== 'none') give(task, 'a2');
    if (second === 'running') accept(task, 2, T0 + 150);
    return task;
  }

  it.each([
    [FIRST_RESULT, 'none', [1], 'a1'],
    [FIRST_RESULT, 'offered', [1, 2], 'a1'],
    [FIRST_RESULT, 'running', [1, 2], 'a1'],
    [ORIGINAL, 'none', [1], 'a1'],
    [ORIGINAL, 'offered', [1], 'a1'],
    [ORIGINAL, 'running', [1], 'a1'],
    [REPLACEMENT, 'none', [1], 'a1'],
    [REPLACEMENT, 'offered', [1, 2], 'a1'],
  ] as const)('with its attempt, winner %d, second attempt %s', (winner, second, lives, agentId) => {
    const task = replaced(winner, second);
    back(task, 1, true);
    expect(live(task)).toEqual(lives);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId, failures: 0 });
    expect(attempt(task, 1)).toMatchObject({ state: A.RUNNING, error: '' });
    expect(task.record.live.every(({ lostMs }) => lostMs === 0n)).toBe(true);
    const gone = second !== 'none' && lives.length === 1;
    expect(task.withdrawn).toEqual(gone ? ['mail/a2/task-t1-2'] : []);
  });

  it('finds that the replacement has won from the moment that it ran', () => {
    const task = replaced(REPLACEMENT, 'running');
    expect(live(task)).toEqual([2]);
    expect(task.withdrawn).toEqual(['mail/a1/task-t1-1']);
    const before = structuredClone(taskOf(task.record).attempts.length);
    back(task, 1, true);
    expect(taskOf(task.record).attempts).toHaveLength(before);
    expect(live(task)).toEqual([2]);
  });

  it('stops being waited for by a replacement that is accepted later', () => {
    const task = replaced(REPLACEMENT, 'offered');
    back(task, 1, true);
    accept(task, 2, T0 + 300);
    expect(live(task)).toEqual([2]);
    expect(task.withdrawn).toEqual(['mail/a1/task-t1-1']);
    expect(attempt(task, 1).state).toBe(A.WITHDRAWN);
  });

  it('first with the result stops the other', () => {
    const task = replaced(FIRST_RESULT, 'running');
    back(task, 1, true);
    succeed(task, 2, T0 + 400);
    expect(taskOf(task.record)).toMatchObject({ state: SUCCEEDED, agentId: 'a2' });
    expect(task.withdrawn).toEqual(['mail/a1/task-t1-1']);
    expect(attemptStates(task)).toEqual([A.WITHDRAWN, A.SUCCEEDED]);
  });

  it('without it lets it go to others, as one that failed', () => {
    const task = running({ onLoss: WAIT });
    lost(task, 1);
    back(task, 1, false);
    expect(live(task)).toEqual([]);
    expect(taskOf(task.record)).toMatchObject({ state: PENDING, failures: 1 });
    expect(task.withdrawn).toEqual(['mail/a1/task-t1-1']);
    expect(wantsAttempt(task.record)).toBe(true);
  });

  it('without it is the end when that was its last attempt', () => {
    const task = running({ onLoss: WAIT, retry: { maxAttempts: 1 } });
    lost(task, 1);
    back(task, 1, false);
    expect(stateOf(task)).toBe(FAILED);
  });

  it('without it changes nothing for a replacement that runs', () => {
    const task = replaced(FIRST_RESULT, 'running');
    back(task, 1, false);
    expect(live(task)).toEqual([2]);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId: 'a2' });
  });

  it('and says that it works on it is lost no more, though nobody settled its return', () => {
    const task = running({ onLoss: WAIT });
    lost(task, 1);
    accept(task, 1, T0 + 300);
    expect(taskOf(task.record)).toMatchObject({ state: RUNNING, agentId: 'a1' });
    expect(pendingOf(task)).toBeUndefined();
    expect(nextDueMs(task.record, OFFER_MS)).toBeUndefined();
    const { acceptTime } = attempt(task, 1);
    expect(acceptTime && msFromTimestamp(acceptTime)).toBe(T0 + 10);
  });

  it('that was never lost changes nothing', () => {
    const task = running({ onLoss: WAIT });
    back(task, 1, false);
    expect(live(task)).toEqual([1]);
    expect(stateOf(task)).toBe(RUNNING);
  });
});

describe('the end of a task', () => {
  it.each([
    [CANCELLED, A.WITHDRAWN],
    [TIMED_OUT, A.TIMED_OUT],
  ])('%d takes back every attempt, also the lost', (state, ended) => {
    const task = running({ onLoss: RECONCILE });
    lost(task, 1);
    give(task, 'a2');
    task.record.moveToAgentId = 'a3';
    finish(task, state, 'enough', T0 + 500);
    expect(taskOf(task.record)).toMatchObject({ state, error: 'enough' });
    expect(pendingOf(task)).toBeUndefined();
    expect(live(task)).toEqual([]);
    expect(attemptStates(task)).toEqual([ended, ended]);
    expect(task.withdrawn).toEqual(['mail/a1/task-t1-1', 'mail/a2/task-t1-2']);
    expect(task.record.moveToAgentId).toBe('');
    expect(task.record.refusals).toEqual([]);
  });

  it('is settled at once where it had no budgets, and later where it had', () => {
    const poor = running();
    succeed(poor, 1, T0);
    expect(poor.record.settled).toBe(true);
    const rich = running({ budgets: { tokens: 5n } });
    succeed(rich, 1, T0);
    expect(rich.record.settled).toBe(false);
  });
});

describe('what is due about a task', () => {
  const offered = (spec: SpecInit): Draft => {
    const task = draft(spec);
    give(task, 'a1');
    return task;
  };
  const attemptTimeout = durationFromMs(700);
  it.each<[string, () => Draft, number | undefined]>([
    ['nothing while it waits without a deadline', () => draft(), undefined],
    [
      'an offer, after twice its time and a little',
      () => offered({ acceptWithin: durationFromMs(500) }),
      T0 + 2 * 500 + 2000,
    ],
    ['an offer, after the configured time', () => offered({}), T0 + 2 * OFFER_MS + 2000],
    ['an attempt that may take so long', () => running({ attemptTimeout }), T0 + 10 + 700],
    ['nothing about one that may run for ever', () => running(), undefined],
    [
      'also an attempt whose agent is waited for',
      () => {
        const task = running({ onLoss: WAIT, attemptTimeout });
        lost(task, 1);
        return task;
      },
      T0 + 10 + 700,
    ],
  ])('%s', (_, make, dueMs) => {
    expect(nextDueMs(make().record, OFFER_MS)).toBe(dueMs);
  });
});
