import { create } from '@bufbuild/protobuf';
import {
  type Task,
  Task_State,
  type TaskChange,
  TaskChangeSchema,
  type WatchTasksRequest,
  type WatchTasksResponse,
  WatchTasksResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { encodeCursor } from '../../../lib/cursor.ts';
import { msFromDuration } from '../../../lib/proto-time.ts';
import type { Position } from '../../../state/store.ts';
import type { Views } from '../../../state/views.ts';
import { cursorPosition } from '../../cursors.ts';
import { namespaceOf } from '../../namespaces.ts';
import { compileTaskFilter } from './task-filter.ts';
import type { TaskReader } from './task-reader.ts';
import { hasEnded, isTaskKey, type KnownTask, knownTask, publicTask, taskOf } from './task-record.ts';
import type { TaskView } from './task-view.ts';

export interface TaskWatchOptions {
  views: Views;
  tasks: TaskView;
  reader: TaskReader;
}

const MAX_CHANGES = 256;
/** Without changes the cursor is renewed this often, so that it does not age out of the log. */
const RENEWED_MS = 60_000;

/** Follows the tasks of one namespace for one caller. */
export async function* watchTasks(
  request: WatchTasksRequest,
  signal: AbortSignal,
  { views, tasks, reader }: TaskWatchOptions,
): AsyncGenerator<WatchTasksResponse, void, undefined> {
  const namespace = namespaceOf(request);
  const matches = compileTaskFilter(request.filter);
  const { taskId } = request;
  const wanted = ({ id, record }: KnownTask): boolean => (taskId === '' || id === taskId) && matches(record);
  const resumed = request.cursor !== '';
  let position = resumed ? cursorPosition(request.cursor, namespace) : views.position(namespace);
  if (!resumed) {
    // One that is asked for by its name is told of also when it has ended.
    const all = [...tasks.all(namespace)].filter(
      (known) => wanted(known) && (taskId !== '' || !hasEnded(known.record)),
    );
    for (let at = 0; at < all.length; at += MAX_CHANGES) {
      yield news(
        all.slice(at, at + MAX_CHANGES).map((known) => changeTo(reader.show(known))),
        '',
        false,
      );
    }
  }
  const { progressInterval } = request;
  const tickMs = progressInterval === undefined ? RENEWED_MS : msFromDuration(progressInterval);
  const told = new Map<string, string>();
  let synced = false;
  for await (const event of views.follow(namespace, position, signal, tickMs)) {
    if (event === 'synced') {
      synced = true;
      yield news([], cursorOf(namespace, position), synced);
    } else if (event === 'tick') {
      const changes =
        progressInterval === undefined ? [] : progressed(tasks, namespace, wanted, reader, told);
      for (let at = 0; at === 0 || at < changes.length; at += MAX_CHANGES) {
        yield news(changes.slice(at, at + MAX_CHANGES), cursorOf(namespace, position), synced);
      }
    } else {
      position = { epoch: event.epoch, revision: event.revision };
      const changes: TaskChange[] = [];
      for (const { key, value } of event.changes) {
        // Those that leave memory are kept elsewhere: nothing became of them.
        if (!isTaskKey(key) || value === undefined) continue;
        const known = knownTask(namespace, key, value, event.revision);
        if (!wanted(known)) continue;
        const isNow = tasks.get(namespace, known.id)?.revision === known.revision;
        changes.push(changeTo(isNow ? reader.show(known) : asStored(known, tasks)));
      }
      for (let at = 0; at < changes.length; at += MAX_CHANGES) {
        const last = at + MAX_CHANGES >= changes.length;
        yield news(changes.slice(at, at + MAX_CHANGES), last ? cursorOf(namespace, position) : '', synced);
      }
    }
  }
}

/** Running tasks whose progress has changed since the caller was told. */
function progressed(
  tasks: TaskView,
  namespace: string,
  wanted: (known: KnownTask) => boolean,
  reader: TaskReader,
  told: Map<string, string>,
): TaskChange[] {
  const changes: TaskChange[] = [];
  for (const known of tasks.all(namespace)) {
    if (taskOf(known.record).state !== Task_State.RUNNING || !wanted(known)) continue;
    const task = reader.show(known);
    if (task.progress === undefined) continue;
    const reading = `${task.progress.done}/${task.progress.total}`;
    if (told.get(known.id) === reading) continue;
    told.set(known.id, reading);
    changes.push(create(TaskChangeSchema, { task, progressOnly: true }));
  }
  for (const id of told.keys()) {
    const known = tasks.get(namespace, id);
    if (known === undefined || hasEnded(known.record)) told.delete(id);
  }
  return changes;
}

function asStored(known: KnownTask, tasks: TaskView): Task {
  const task = publicTask(known);
  task.openChildren = tasks.openChildren(known.namespace, known.id).length;
  return task;
}

const changeTo = (task: TaskChange['task']): TaskChange =>
  create(TaskChangeSchema, task === undefined ? {} : { task });

const cursorOf = (namespace: string, position: Position): string => encodeCursor({ namespace, ...position });

const news = (changes: TaskChange[], cursor: string, synced: boolean): WatchTasksResponse =>
  create(WatchTasksResponseSchema, { changes, cursor, synced });
