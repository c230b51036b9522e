import { create } from '@bufbuild/protobuf';
import type { Observation } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type GetTaskRequest,
  type GetTaskResponse,
  GetTaskResponseSchema,
  type ListTasksRequest,
  type ListTasksResponse,
  ListTasksResponseSchema,
  type Task,
  Task_State,
  TaskCountSchema,
  TaskFilterSchema,
  TaskProgressSchema,
  TaskSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  PendingReason,
  PendingSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { encodePageToken, fingerprint } from '../../../lib/page-token.ts';
import { msFromDuration, timestampFromMs } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { namespaceOf } from '../../namespaces.ts';
import { fingerprintOf } from '../../requests.ts';
import { afterOf, pageSize } from '../messages/pages.ts';
import { itemOfTask } from './items.ts';
import { loadTask } from './load-task.ts';
import { readPayload } from './payloads.ts';
import type { Scheduling } from './scheduling.ts';
import { taskNotFound } from './task-errors.ts';
import { compileTaskFilter, OPEN_STATES } from './task-filter.ts';
import {
  ARCHIVE_PREFIX,
  archiveKey,
  hasEnded,
  idOfArchiveKey,
  type KnownTask,
  knownTask,
  publicTask,
  taskKey,
  taskOf,
} from './task-record.ts';
import type { TaskView } from './task-view.ts';
import { TaskWaits } from './task-waits.ts';

export interface TaskReaderOptions {
  store: Store;
  storeTime: StoreTime;
  directory: AgentDirectory;
  tasks: TaskView;
  scheduling: Scheduling;
  /** What was measured of an agent last. */
  observed(known: KnownAgent): Observation | undefined;
  agingMs: number;
}

/** Ended tasks that one page reads through, at most. */
const MAX_READ = 5000;

/** Tasks as callers see them. */
export class TaskReader {
  readonly #options: TaskReaderOptions;
  readonly #waits: TaskWaits;

  constructor(options: TaskReaderOptions) {
    this.#options = options;
    this.#waits = new TaskWaits(options);
  }

  /** @throws DomainError TASK_NOT_FOUND; StoreUnavailableError */
  async get(request: GetTaskRequest, signal: AbortSignal): Promise<GetTaskResponse> {
    const { store } = this.#options;
    const namespace = namespaceOf(request);
    const { taskId: id } = request;
    if (request.wait !== undefined) await this.#ended(namespace, id, msFromDuration(request.wait), signal);
    const known = await loadTask(store, namespace, id);
    if (known === undefined) throw taskNotFound(namespace, id);
    const task = this.show(known);
    const stored = taskOf(known.record);
    const output = await readPayload(store, namespace, stored.output, known.record.outputKey);
    if (output !== undefined) task.output = output;
    if (request.withInput) {
      const input = await readPayload(store, namespace, stored.spec?.input, known.record.inputKey);
      task.spec = Object.assign(create(TaskSpecSchema), task.spec);
      if (input !== undefined) task.spec.input = input;
    }
    return create(GetTaskResponseSchema, { task });
  }

  /** @throws DomainError INVALID_FIELDS (page token); StoreUnavailableError */
  async list(request: ListTasksRequest): Promise<ListTasksResponse> {
    const namespace = namespaceOf(request);
    const { tasks } = this.#options;
    const filter = request.filter ?? create(TaskFilterSchema);
    const print = fingerprint([
      namespace,
      Buffer.from(fingerprintOf(TaskFilterSchema, filter)).toString('base64url'),
    ]);
    const after = afterOf('tasks', request.pageToken, print);
    const size = pageSize(request.pageSize);
    const states = filter.states.length === 0 ? OPEN_STATES : new Set(filter.states);
    const wanted = compileTaskFilter(filter);
    const matches = ({ record }: KnownTask): boolean => states.has(taskOf(record).state) && wanted(record);
    const open = firstById(tasks.all(namespace), (known) => known.id > after && matches(known), size + 1);
    const ended = [...states].some((state) => !OPEN_STATES.has(state));
    const archived = ended ? await this.#archived(namespace, after, size + 1, matches) : NONE_ARCHIVED;
    const page = mergedById(open, archived.tasks, archived.readTo);
    const shown = page.slice(0, size);
    const last = shown.at(-1);
    const more = page.length > size || archived.readTo !== undefined || open.length > size;
    const from = page.length > size || archived.readTo === undefined ? last?.id : archived.readTo;
    return create(ListTasksResponseSchema, {
      tasks: shown.map((known) => this.show(known)),
      nextPageToken:
        more && from !== undefined ? encodePageToken({ kind: 'tasks', fingerprint: print, after: from }) : '',
      counts: [...OPEN_STATES].flatMap((state) => {
        const count = tasks.states(namespace).get(state) ?? 0;
        return count === 0 ? [] : [create(TaskCountSchema, { state, tasks: count })];
      }),
    });
  }

  /** A task as callers see it now, without input and output. */
  show(known: KnownTask): Task {
    const { tasks, storeTime, scheduling, agingMs } = this.#options;
    const { namespace, id } = known;
    const task = publicTask(known);
    task.openChildren = tasks.openChildren(namespace, id).length;
    if (task.state === Task_State.RUNNING) this.#addProgress(task, known);
    if (task.state !== Task_State.PENDING || task.pending?.reason === PendingReason.AGENT_LOST) return task;
    const nowMs = storeTime.ms();
    const scheduler = scheduling.scheduler(namespace);
    const why = scheduler.why(scheduler.waiting.get(taskKey(id)) ?? itemOfTask(known, agingMs), nowMs);
    if (why.reason === task.pending?.reason) {
      // What the record says of a failure says more.
      if (why.reason !== PendingReason.BACKOFF)
        task.pending = Object.assign(create(PendingSchema), task.pending, why);
      return task;
    }
    const sinceMs = scheduler.sinceOf(taskKey(id), why.reason, nowMs);
    const before = task.pending;
    task.pending = create(PendingSchema, { ...why, sinceTime: timestampFromMs(sinceMs) });
    if (before?.notBeforeTime !== undefined && why.reason === PendingReason.BACKOFF) {
      task.pending.notBeforeTime = before.notBeforeTime;
    }
    return task;
  }

  /** How far its agent says that it is. */
  #addProgress(task: Task, { namespace, record }: KnownTask): void {
    const { directory, observed } = this.#options;
    const agent = directory.get(namespace, task.agentId);
    const observation = agent && observed(agent);
    const ids = new Set(record.live.map(({ deliveryId }) => deliveryId));
    const progress = observation?.report?.progress.find(
      ({ work }) => work !== undefined && ids.has(work.deliveryId),
    );
    if (progress === undefined) return;
    const { done, total, name } = progress;
    task.progress = create(TaskProgressSchema, { done, name });
    if (total !== undefined) task.progress.total = total;
    if (observation?.age !== undefined) task.progress.age = observation.age;
  }

  async #archived(
    namespace: string,
    after: string,
    size: number,
    matches: (known: KnownTask) => boolean,
  ): Promise<{ tasks: KnownTask[]; readTo: string | undefined }> {
    const { store } = this.#options;
    const found: KnownTask[] = [];
    let from = after === '' ? undefined : archiveKey(after);
    for (let read = 0; read < MAX_READ; ) {
      const page = await store.scan(namespace, {
        prefix: ARCHIVE_PREFIX,
        limit: 500,
        ...(from === undefined ? {} : { after: from }),
      });
      for (const { key, value, revision } of page.entries) {
        const known = knownTask(namespace, taskKey(idOfArchiveKey(key)), value, revision);
        if (matches(known)) found.push(known);
        if (found.length === size) return { tasks: found, readTo: known.id };
      }
      read += page.entries.length;
      from = page.entries.at(-1)?.key;
      if (!page.more || from === undefined) return { tasks: found, readTo: undefined };
    }
    return { tasks: found, readTo: from === undefined ? undefined : idOfArchiveKey(from) };
  }

  /** Resolves when a task has ended, is not there, time has passed or the caller has left. */
  async #ended(namespace: string, id: string, waitMs: number, signal: AbortSignal): Promise<void> {
    const { tasks } = this.#options;
    const known = tasks.get(namespace, id) ?? (await loadTask(this.#options.store, namespace, id));
    if (known === undefined || hasEnded(known.record) || waitMs <= 0) return;
    // Before the view shows a new task it is not there; one that leaves memory has ended.
    let seen = tasks.get(namespace, id) !== undefined;
    const isOver = (present: KnownTask | undefined): boolean => {
      if (present === undefined) return seen;
      seen = true;
      return hasEnded(present.record);
    };
    await this.#waits.until({ namespace, id }, isOver, waitMs, signal);
  }
}

const NONE_ARCHIVED: { tasks: KnownTask[]; readTo: string | undefined } = { tasks: [], readTo: undefined };

/** The first by id of those that match; all of them are looked at, and few are kept. */
function firstById(
  all: Iterable<KnownTask>,
  matches: (known: KnownTask) => boolean,
  size: number,
): KnownTask[] {
  let kept: KnownTask[] = [];
  let highest: string | undefined;
  for (const known of all) {
    if (highest !== undefined && known.id > highest) continue;
    if (!matches(known)) continue;
    kept.push(known);
    if (kept.length < 4 * size) continue;
    kept = kept.sort(byId).slice(0, size);
    highest = kept.at(-1)?.id;
  }
  return kept.sort(byId).slice(0, size);
}

const byId = (a: KnownTask, b: KnownTask): number => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

/** Both, by id, each once; nothing beyond what was read of the second. */
function mergedById(open: KnownTask[], archived: KnownTask[], readTo: string | undefined): KnownTask[] {
  const all = new Map<string, KnownTask>();
  for (const known of [...archived, ...open])
    if (readTo === undefined || known.id <= readTo) all.set(known.id, known);
  return [...all.values()].sort(byId);
}
