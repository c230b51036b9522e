import { create } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { TaskRecordSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import {
  archiveKey,
  encodeTask,
  endedKey,
  type KnownTask,
  knownTask,
  taskKey,
} from '../../../../src/domain/coordination/tasks/task-record.ts';
import { taskCounts } from '../../../../src/domain/monitoring/report/task-counts.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

const START = Date.UTC(2026, 0, 15);

it('tasks that ended in the window are counted by state, from the archive and from memory, each once', async () => {
  const store = new MemoryStore();
  const record = (id: string, state: Task_State, endMs: number) =>
    encodeTask(create(TaskRecordSchema, { task: { id, state, endTime: timestampFromMs(endMs) } }));
  const archive = async (id: string, state: Task_State, endMs: number): Promise<void> => {
    const puts = [
      { key: archiveKey(id), value: record(id, state, endMs) },
      { key: endedKey(id, endMs), value: new Uint8Array() },
    ];
    await store.commit({ namespace: 'default', puts });
  };
  await archive('before', Task_State.SUCCEEDED, START - 1_000);
  await archive('first', Task_State.SUCCEEDED, START);
  for (let n = 0; n < 1_500; n += 1) {
    await archive(`t${n}`, n % 3 === 0 ? Task_State.FAILED : Task_State.SUCCEEDED, START + 1_000 + n);
  }
  await archive('both', Task_State.CANCELLED, START + 5_000);
  await archive('after', Task_State.SUCCEEDED, START + 60_000);
  const inMemory = new Map<string, KnownTask>(
    [
      ['both', Task_State.CANCELLED, START + 5_000] as const,
      ['late', Task_State.TIMED_OUT, START + 59_000] as const,
      ['later', Task_State.TIMED_OUT, START + 61_000] as const,
    ].map(([id, state, endMs]) => [id, knownTask('default', taskKey(id), record(id, state, endMs), 1n)]),
  );
  const tasks = {
    states: () =>
      new Map([
        [Task_State.PENDING, 4],
        [Task_State.RUNNING, 2],
        [Task_State.SUCCEEDED, 9],
      ]),
    ended: () => new Set(inMemory.keys()),
    get: (_: string, id: string) => inMemory.get(id),
  };
  const counts = await taskCounts({ store, tasks }, 'default', { fromMs: START, toMs: START + 60_000 });
  expect(Object.fromEntries(counts)).toEqual({
    ...{ PENDING: 4n, RUNNING: 2n, SUCCEEDED: 1_001n, FAILED: 500n, CANCELLED: 1n, TIMED_OUT: 1n },
  });
});
