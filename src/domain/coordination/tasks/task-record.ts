import { fromBinary } from '@bufbuild/protobuf';
import {
  type Task,
  Task_State,
  type TaskSpec,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  type TaskRecord,
  type TaskRecord_LiveAttempt,
  TaskRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import { QUIET_PREFIX } from '../../../state/store.ts';

/** The format that this version writes. */
export const TASK_FORMAT = 1;

const PREFIX = 'task/';
/** Stands before ended tasks that have left memory. */
export const ARCHIVE_PREFIX = `${QUIET_PREFIX}task/`;
/** Stands before the same, by when they ended: "~taskend/<12 digits: Unix seconds>/<id>". */
export const ENDED_PREFIX = `${QUIET_PREFIX}taskend/`;
/** Begins the id of an attempt's delivery. */
const DELIVERY = 'task-';

export const taskKey = (id: string): string => PREFIX + id;
export const isTaskKey = (key: string): boolean => key.startsWith(PREFIX);
export const taskIdOf = (key: string): string => key.slice(PREFIX.length);
export const archiveKey = (id: string): string => ARCHIVE_PREFIX + id;
export const idOfArchiveKey = (key: string): string => key.slice(ARCHIVE_PREFIX.length);
export const endedKey = (id: string, endMs: number): string =>
  `${ENDED_PREFIX}${String(Math.floor(endMs / 1000)).padStart(12, '0')}/${id}`;

/** What an "ended" key says. */
export function endedOf(key: string): { endMs: number; id: string } {
  const digits = key.slice(ENDED_PREFIX.length, ENDED_PREFIX.length + 12);
  return { endMs: Number(digits) * 1000, id: key.slice(ENDED_PREFIX.length + 13) };
}

/** The delivery of an attempt. */
export const deliveryIdOf = (taskId: string, attempt: number): string => `${DELIVERY}${taskId}-${attempt}`;

/** The task and attempt that a delivery's id names; undefined: it is no task's. */
export function attemptOfDelivery(deliveryId: string): { taskId: string; attempt: number } | undefined {
  if (!deliveryId.startsWith(DELIVERY)) return undefined;
  const dash = deliveryId.lastIndexOf('-');
  const attempt = Number(deliveryId.slice(dash + 1));
  if (dash <= DELIVERY.length || !Number.isSafeInteger(attempt)) return undefined;
  return { taskId: deliveryId.slice(DELIVERY.length, dash), attempt };
}

/** What was encoded here and comes back through the store's news as the same bytes need not be decoded. */
const encoded = new WeakMap<Uint8Array, TaskRecord>();

/** The record must not be changed afterwards. */
export function encodeTask(record: TaskRecord): Uint8Array {
  const bytes = encode(TaskRecordSchema, record);
  encoded.set(bytes, record);
  return bytes;
}

/** The record must not be changed; see `copyTask`. */
export const decodeTask = (bytes: Uint8Array): TaskRecord =>
  encoded.get(bytes) ?? fromBinary(TaskRecordSchema, bytes);

/** The public part; every record has one. */
export function taskOf(record: TaskRecord): Task {
  if (record.task === undefined) throw new Error('a task record without its task');
  return record.task;
}

/** What was asked for; every task has one. */
export function specOf(record: TaskRecord): TaskSpec {
  const { spec } = taskOf(record);
  if (spec === undefined) throw new Error('a task without its spec');
  return spec;
}

export const isOver = (state: Task_State): boolean => state >= Task_State.SUCCEEDED;
export const hasEnded = (record: TaskRecord): boolean => isOver(taskOf(record).state);
export const ownerOf = (record: TaskRecord): string => specOf(record).labels.owner ?? '';
export const hasBudgets = (record: TaskRecord): boolean => Object.keys(taskOf(record).budgets).length > 0;
export const createMsOf = (record: TaskRecord): number => {
  const { createTime } = taskOf(record);
  return createTime === undefined ? 0 : msFromTimestamp(createTime);
};

/** An attempt that is not ended, and whose agent is not known to be lost. */
export const isPresent = ({ lostMs }: TaskRecord_LiveAttempt): boolean => lostMs === 0n;

/** A task as this replica knows it. */
export interface KnownTask {
  readonly namespace: string;
  readonly id: string;
  readonly record: TaskRecord;
  readonly revision: bigint;
  /** At which it was submitted: with record.index the order of submission. */
  readonly createdRevision: bigint;
}

export function knownTask(namespace: string, key: string, value: Uint8Array, revision: bigint): KnownTask {
  const record = decodeTask(value);
  const createdRevision = record.createdRevision === 0n ? revision : record.createdRevision;
  return { namespace, id: taskIdOf(key), record, revision, createdRevision };
}

/** A copy that can be changed without touching the original, and remembers its place in the order. */
export function copyTask({ record, createdRevision }: KnownTask): TaskRecord {
  const copy = { ...record };
  const task = { ...taskOf(record) };
  task.attempts = [...task.attempts];
  copy.live = [...record.live];
  copy.task = task;
  copy.createdRevision = createdRevision;
  return copy;
}

/** What callers see of a task, without input and output. */
export function publicTask(known: KnownTask): Task {
  const { record, namespace, revision } = known;
  const stored = taskOf(record);
  const task = { ...stored, namespace, revision };
  delete task.output;
  if (stored.spec?.input !== undefined) {
    task.spec = { ...stored.spec };
    delete task.spec.input;
  }
  task.treeSpent = sum(task.spent, record.childrenSpent);
  return task;
}

/** How much of a name there is: it may be called "constructor". */
export const quantityOf = (map: Record<string, bigint>, name: string): bigint =>
  Object.hasOwn(map, name) ? (map[name] ?? 0n) : 0n;

/** Two maps of quantities added. */
export function sum(a: Record<string, bigint>, b: Record<string, bigint>): Record<string, bigint> {
  const both = { ...a };
  for (const [name, amount] of Object.entries(b)) both[name] = quantityOf(both, name) + amount;
  return both;
}

/** The first without the second, never below 0; nothing stays of what is 0. */
export function difference(a: Record<string, bigint>, b: Record<string, bigint>): Record<string, bigint> {
  const left: Record<string, bigint> = {};
  for (const [name, amount] of Object.entries(a)) {
    const rest = amount - quantityOf(b, name);
    if (rest > 0n) left[name] = rest;
  }
  return left;
}
