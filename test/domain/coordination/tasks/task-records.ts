import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  Task_State,
  type TaskAttempt,
  type TaskAttempt_State,
  TaskSchema,
  TaskSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  type TaskRecord,
  TaskRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { attemptOf, type Draft, wait } from '../../../../src/domain/coordination/tasks/task-draft.ts';
import { type KnownTask, taskOf } from '../../../../src/domain/coordination/tasks/task-record.ts';
import { assign } from '../../../../src/domain/coordination/tasks/task-rules.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';

export type SpecInit = Exclude<MessageInitShape<typeof TaskSpecSchema>, { $typeName: string }>;

/** When everything began. */
export const T0 = 1_000_000;
export const PENDING_NEW = 13;

/** A task that was just submitted. */
export function newTask(spec: SpecInit = {}, id = 't1'): TaskRecord {
  const task = create(TaskSchema, { id, state: Task_State.PENDING, createTime: timestampFromMs(T0) });
  task.spec = create(TaskSpecSchema, { capability: 'work', ...spec });
  task.budgets = task.spec.budgets;
  const record = create(TaskRecordSchema, { format: 1, task });
  wait(record, { reason: PENDING_NEW, detail: 'it was just submitted', storeMs: T0 });
  return record;
}

export const knownOf = (record: TaskRecord, revision = 7n, createdRevision = 5n): KnownTask => ({
  ...{ namespace: 'default', id: taskOf(record).id, record, revision, createdRevision },
});

export const draft = (spec: SpecInit = {}, id = 't1'): Draft => ({
  record: newTask(spec, id),
  withdrawn: [],
});

/** Gives it an attempt on an agent. */
export const give = (
  to: Draft,
  agentId: string,
  storeMs = T0,
  resources: Record<string, bigint> = {},
): number => assign(to, { agentId, agentUid: `uid-${agentId}`, resources, placement: 'best of 1', storeMs });

export const live = ({ record }: Draft): number[] => record.live.map(({ number }) => number);

export function attempt({ record }: Draft, number: number): TaskAttempt {
  const found = attemptOf(record, number);
  if (found === undefined) throw new Error(`no attempt ${number}`);
  return found;
}

export const stateOf = ({ record }: Draft): Task_State => taskOf(record).state;
export const attemptStates = ({ record }: Draft): TaskAttempt_State[] =>
  taskOf(record).attempts.map(({ state }) => state);
