import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import {
  PendingReason,
  PlacementExplanationSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { TaskRecord_LiveAttemptSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { unplaceable } from '../../../../src/domain/coordination/tasks/task-errors.ts';
import { taskEvent } from '../../../../src/domain/coordination/tasks/task-events.ts';
import { taskOf } from '../../../../src/domain/coordination/tasks/task-record.ts';
import { newTask } from './task-records.ts';

describe('what is told of a task', () => {
  it.each([
    [0, 'is tried again'],
    [1, 'another one goes on'],
  ])('when an attempt failed and %d others go on is that it %s', (others, words) => {
    const after = newTask();
    taskOf(after).failures = 1;
    for (let number = 2; number < 2 + others; number += 1)
      after.live.push(create(TaskRecord_LiveAttemptSchema, { number }));
    expect(taskEvent(newTask(), after, 'ann')).toMatchObject({
      type: 'task.attempt_failed',
      message: expect.stringContaining(words),
    });
  });

  it('that no agent could have names what stands in the way', () => {
    const reason = PendingReason.NO_CAPABILITY;
    const { metadata } = unplaceable(create(PlacementExplanationSchema, { reason, detail: 'none has it' }));
    expect(metadata).toEqual({ reason: 'NO_CAPABILITY' });
  });
});
