import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { TaskRecord_LiveAttemptSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { catchUp } from '../../../../src/domain/coordination/tasks/catch-up.ts';
import { Moves, type MovesOptions } from '../../../../src/domain/coordination/tasks/moves.ts';
import type { KnownTask } from '../../../../src/domain/coordination/tasks/task-record.ts';
import { newTask } from './task-records.ts';

type Ports = Parameters<typeof catchUp>[0];

describe('what became of a commit whose answer was lost', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  const awayFor = (calls: number) => {
    let left = calls;
    const position = async () => {
      left -= 1;
      if (left >= 0) throw new Error('away');
      return { revision: 1n };
    };
    return {
      namespace: 'default',
      store: { position },
      views: { waitFor: async () => {} },
    } as unknown as Ports;
  };

  it('is found out however long the store is away', async () => {
    let seen: boolean | undefined;
    const waiting = catchUp(awayFor(1000), () => false).then((was) => {
      seen = was;
    });
    await vi.advanceTimersByTimeAsync(199_000);
    expect(seen).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2000);
    await waiting;
    expect(seen).toBe(true);
  });

  it('stays unknown when it is closed before that', async () => {
    let closed = false;
    const waiting = catchUp(awayFor(1000), () => closed);
    closed = true;
    await vi.advanceTimersByTimeAsync(1000);
    expect(await waiting).toBe(false);
  });
});

describe('tasks that are to be moved', () => {
  it('are forgotten when they are not any more, also where nobody schedules', () => {
    const moves = new Moves({} as MovesOptions);
    const record = newTask();
    record.live.push(create(TaskRecord_LiveAttemptSchema, { number: 1 }));
    const known = { id: 't1', record } as unknown as KnownTask;
    record.moveToAgentId = 'a2';
    expect(moves.changed(known)).toBe(true);
    expect(moves.size).toBe(1);
    record.moveToAgentId = '';
    expect(moves.changed(known)).toBe(false);
    expect(moves.size).toBe(0);
  });
});
