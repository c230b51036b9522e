import { create, fromBinary } from '@bufbuild/protobuf';
import {
  Task_State,
  TaskChangeSchema,
  WatchTasksResponseSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { WatchLiveRequest_Part } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Clock } from '../../../lib/clock.ts';
import { encode } from '../../../lib/encode.ts';
import type { TaskReader } from '../../coordination/tasks/task-reader.ts';
import { hasEnded, type KnownTask, taskOf } from '../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import type { FeedHub, FeedShape } from './feed-part.ts';
import { type FeedEntry, KeyedFeed } from './keyed-feed.ts';

export interface TaskHubOptions {
  namespace: string;
  clock: Clock;
  tasks: TaskView;
  reader: Pick<TaskReader, 'show'>;
  /** There is something new. */
  wake(): void;
}

/** Fields of WatchTasksResponse. */
export const TASKS_SHAPE: FeedShape = {
  part: WatchLiveRequest_Part.TASKS,
  case: 'tasks',
  field: 1,
  syncedField: 3,
  // Why a task waits has to be found out for each.
  maxEntries: 64,
  decode: (bytes) => fromBinary(WatchTasksResponseSchema, bytes),
};

/** Waiting tasks that are shown, and so many others that have not ended. */
const MAX_SHOWN = 5000;
/** How often progress is looked at, and of how many tasks: the rest has its turn at the next look. */
const PROGRESS_MS = 1000;
const PROGRESS_AT_ONCE = 200;

/** The tasks of a namespace, for all that watch them live. */
export class TaskHub implements FeedHub {
  readonly feed = new KeyedFeed();
  readonly #options: TaskHubOptions;
  readonly #waiting = new Set<string>();
  readonly #begun = new Set<string>();
  /** Of those that run: what was told of their progress. */
  readonly #progress = new Map<string, string>();
  readonly #stop: () => void;
  #lookedMs = 0;
  #turn: string[] = [];

  constructor(options: TaskHubOptions) {
    this.#options = options;
    const { namespace, tasks } = options;
    this.#fill();
    this.#stop = tasks.listen({
      changed: (before, after) => {
        if ((after ?? before)?.namespace !== namespace) return;
        if (after !== undefined) this.#put(after);
        else if (before !== undefined) this.#forget(before.id);
        options.wake();
      },
      replaced: (which) => {
        if (which !== namespace) return;
        this.#waiting.clear();
        this.#begun.clear();
        this.feed.replace([]);
        this.#fill();
        options.wake();
      },
    });
  }

  close(): void {
    this.#stop();
  }

  sweep(): void {
    const { clock, tasks, namespace, reader } = this.#options;
    const nowMs = clock.monoMs();
    if (nowMs - this.#lookedMs < PROGRESS_MS) return;
    this.#lookedMs = nowMs;
    if (this.#turn.length === 0) this.#turn = [...this.#begun];
    for (const id of this.#turn.splice(0, PROGRESS_AT_ONCE)) {
      const known = tasks.get(namespace, id);
      if (known === undefined || taskOf(known.record).state !== Task_State.RUNNING) continue;
      const { progress } = reader.show(known);
      if (progress === undefined) continue;
      const reading = `${progress.done}/${progress.total}`;
      if (this.#progress.get(id) === reading) continue;
      this.#progress.set(id, reading);
      this.feed.put(id);
    }
  }

  bytes(entry: FeedEntry): Uint8Array | undefined {
    const { tasks, namespace, reader } = this.#options;
    if (entry.bytes !== undefined) return entry.bytes;
    // One that left memory ended before, and that was told.
    const known = entry.removed ? undefined : tasks.get(namespace, entry.key);
    if (known === undefined) return undefined;
    entry.bytes = encode(TaskChangeSchema, create(TaskChangeSchema, { task: reader.show(known) }));
    return entry.bytes;
  }

  #fill(): void {
    const { tasks, namespace } = this.#options;
    for (const known of tasks.all(namespace)) if (!hasEnded(known.record)) this.#put(known);
  }

  #put({ id, record }: KnownTask): void {
    const isShown = this.#waiting.delete(id) || this.#begun.delete(id);
    if (hasEnded(record)) {
      this.#progress.delete(id);
      if (isShown) this.feed.put(id);
      return;
    }
    const shown = taskOf(record).state === Task_State.PENDING ? this.#waiting : this.#begun;
    if (!isShown && shown.size >= MAX_SHOWN) return;
    shown.add(id);
    this.feed.put(id);
  }

  #forget(id: string): void {
    this.#waiting.delete(id);
    this.#begun.delete(id);
    this.#progress.delete(id);
    this.feed.remove(id);
  }
}
