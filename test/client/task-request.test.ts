import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  Task_State as State,
  TaskSchema,
  TaskSpec_OnBudgetSpent,
  TaskSpec_OnLoss,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { taskInfo } from '../../src/client/task-info.ts';
import { toTaskSpec } from '../../src/client/task-request.ts';

const infoOf = (state: State, more: MessageInitShape<typeof TaskSchema> = {}) =>
  taskInfo(create(TaskSchema, { id: 't-1', state, ...more }));

describe('a task as it is asked for', () => {
  it('has durations, amounts and choices as the service takes them', () => {
    const spec = toTaskSpec({
      capability: 'resize',
      input: { width: 100 },
      resources: { slots: 1, gpu: 1 },
      budgets: { tokens: 1_000 },
      priority: 5,
      deadlineMs: 1_500,
      retry: { maxAttempts: 3, minBackoffMs: 100 },
      onLoss: 'wait',
      onBudgetSpent: 'degrade',
      placement: { selector: 'zone=a' },
      labels: { owner: 'web' },
    });
    expect(spec).toMatchObject({
      capability: 'resize',
      input: { data: { case: 'json' } },
      resources: { slots: 1n, gpu: 1n },
      budgets: { tokens: 1_000n },
      priority: 5,
      deadline: { seconds: 1n, nanos: 500_000_000 },
      retry: { maxAttempts: 3, minBackoff: { nanos: 100_000_000 } },
      onLoss: TaskSpec_OnLoss.WAIT,
      onBudgetSpent: TaskSpec_OnBudgetSpent.DEGRADE,
      placement: { selector: 'zone=a' },
      labels: { owner: 'web' },
    });
    expect(spec.retry?.maxBackoff).toBeUndefined();
    expect(spec.attemptTimeout).toBeUndefined();
  });

  it.each([[-1], [0.5], [Number.NaN], [Number.POSITIVE_INFINITY], [2 ** 53]])(
    'cannot want %s of something',
    (cpu) => {
      expect(() => toTaskSpec({ capability: 'c', resources: { cpu } })).toThrow(RangeError);
      expect(() => toTaskSpec({ capability: 'c', budgets: { cpu } })).toThrow(RangeError);
    },
  );
});

describe('a task as it is told', () => {
  it.each([
    [State.PENDING, 'pending', false],
    [State.ASSIGNED, 'assigned', false],
    [State.RUNNING, 'running', false],
    [State.SUCCEEDED, 'succeeded', true],
    [State.FAILED, 'failed', true],
    [State.CANCELLED, 'cancelled', true],
    [State.TIMED_OUT, 'timed_out', true],
    [99 as State, 'unknown', false],
  ])('in state %s is %s', (state, name, ended) => {
    expect(infoOf(state)).toMatchObject({ state: name, ended });
  });

  it('says why it waits or how it failed, what it brought and how far it is', () => {
    const pending = { detail: 'no agent has resize' };
    expect(infoOf(State.PENDING, { pending }).reason).toBe('no agent has resize');
    expect(infoOf(State.FAILED, { error: 'boom' }).reason).toBe('boom');
    const output = { data: { case: 'text' as const, value: 'done' } };
    expect(infoOf(State.SUCCEEDED, { output }).output).toBe('done');
    const progress = { done: 3n, total: 10n, name: 'pages' };
    expect(infoOf(State.RUNNING, { progress }).progress).toEqual({
      done: 3,
      total: 10,
      name: 'pages',
    });
  });
});
