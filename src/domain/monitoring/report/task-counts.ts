import {
  Task_State,
  Task_StateSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { msFromTimestamp } from '../../../lib/proto-time.ts';
import type { Store } from '../../../state/store.ts';
import {
  archiveKey,
  decodeTask,
  ENDED_PREFIX,
  endedKey,
  endedOf,
  taskOf,
} from '../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';
import type { Window } from './ports.ts';

export interface TaskCountsOptions {
  store: Store;
  tasks: Pick<TaskView, 'states' | 'ended' | 'get'>;
}

const PAGE = 1000;
/** Of how many ended tasks the state is looked up; the others are counted as ENDED. */
const MAX_LOOKED_UP = 20_000;
/** Of how many they are counted at all. */
const MAX_COUNTED = 1_000_000;
const AT_A_TIME = 64;
const OPEN = [Task_State.PENDING, Task_State.ASSIGNED, Task_State.RUNNING];

const nameOf = (state: Task_State): string => Task_StateSchema.value[state]?.localName ?? String(state);

/** Tasks that ended within a window, and those that are open now, by the name of their state. */
export async function taskCounts(
  { store, tasks }: TaskCountsOptions,
  namespace: string,
  window: Window,
): Promise<Map<string, bigint>> {
  const counts = new Map<string, bigint>();
  const add = (name: string, more: number): void => {
    if (more > 0) counts.set(name, (counts.get(name) ?? 0n) + BigInt(more));
  };
  for (const state of OPEN) add(nameOf(state), tasks.states(namespace).get(state) ?? 0);
  // Those that ended just now are still in memory, and perhaps in the archive too, if this replica's view lags.
  const recent = new Set<string>();
  for (const id of tasks.ended(namespace)) {
    const known = tasks.get(namespace, id);
    if (known === undefined) continue;
    const { endTime, state } = taskOf(known.record);
    const endMs = endTime === undefined ? 0 : msFromTimestamp(endTime);
    recent.add(id);
    if (endMs >= window.fromMs && endMs < window.toMs) add(nameOf(state), 1);
  }
  let lookedUp = 0;
  let counted = 0;
  for await (const ids of archived(store, namespace, window)) {
    const others = ids.filter((id) => !recent.has(id));
    counted += others.length;
    const some = others.slice(0, MAX_LOOKED_UP - lookedUp);
    lookedUp += some.length;
    add('ENDED', others.length - some.length);
    for (let at = 0; at < some.length; at += AT_A_TIME) {
      const group = await Promise.all(
        some.slice(at, at + AT_A_TIME).map((id) => store.get(namespace, archiveKey(id))),
      );
      // One that is missing was removed meanwhile.
      for (const entry of group)
        if (entry !== undefined) add(nameOf(taskOf(decodeTask(entry.value)).state), 1);
    }
    if (counted >= MAX_COUNTED) break;
  }
  return counts;
}

/** Ids of archived tasks that ended within a window, to the second, oldest first. */
async function* archived(
  store: Store,
  namespace: string,
  { fromMs, toMs }: Window,
): AsyncGenerator<string[]> {
  // Sorts before every id of its second.
  let after = endedKey('', fromMs).slice(0, -1);
  for (;;) {
    const { entries, more } = await store.scan(namespace, { prefix: ENDED_PREFIX, after, limit: PAGE });
    const ended = entries.map(({ key }) => endedOf(key));
    const wanted = ended.filter(({ endMs }) => endMs < toMs);
    if (wanted.length > 0) yield wanted.map(({ id }) => id);
    const last = entries.at(-1);
    if (!more || last === undefined || wanted.length < ended.length) return;
    after = last.key;
  }
}
