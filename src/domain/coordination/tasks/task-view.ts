import { Task_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { ChangeBatch, Entry, Position } from '../../../state/store.ts';
import type { View } from '../../../state/views.ts';
import { stateName } from './task-events.ts';
import { hasEnded, isTaskKey, type KnownTask, knownTask, specOf, taskIdOf, taskOf } from './task-record.ts';

export interface TaskListener {
  /** `before` is undefined for a new task, `after` for one that left memory. */
  changed(before: KnownTask | undefined, after: KnownTask | undefined): void;
  /** All of a namespace was read anew; `changed` is not called for it. */
  replaced(namespace: string): void;
}

interface Tasks {
  byId: Map<string, KnownTask>;
  /** Tasks with an attempt on an agent that has not ended, by agent. */
  byAgent: Map<string, Set<string>>;
  /** Tasks in memory, by the one that they are directly below. */
  children: Map<string, Set<string>>;
  /** Tasks that have ended and are still in memory, in no particular order. */
  ended: Set<string>;
  /** How many there are, by state. */
  states: Map<number, number>;
}

const NONE: ReadonlySet<string> = new Set();

/** The view of all tasks that have not ended, and of those that ended a little while ago. */
export class TaskView implements View {
  readonly #namespaces = new Map<string, Tasks>();
  readonly #listeners = new Set<TaskListener>();

  listen(listener: TaskListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get(namespace: string, id: string): KnownTask | undefined {
    return this.#namespaces.get(namespace)?.byId.get(id);
  }

  namespaces(): string[] {
    return [...this.#namespaces.keys()];
  }

  /** All that are in memory, in no particular order. */
  all(namespace: string): IterableIterator<KnownTask> {
    return (this.#namespaces.get(namespace)?.byId ?? new Map<string, KnownTask>()).values();
  }

  /** Those that have an attempt on an agent. */
  on(namespace: string, agentId: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.byAgent.get(agentId) ?? NONE;
  }

  /** Those directly below a task. */
  children(namespace: string, id: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.children.get(id) ?? NONE;
  }

  /** Those directly below a task that have not ended. */
  openChildren(namespace: string, id: string): KnownTask[] {
    const open: KnownTask[] = [];
    for (const child of this.children(namespace, id)) {
      const known = this.get(namespace, child);
      if (known !== undefined && !hasEnded(known.record)) open.push(known);
    }
    return open;
  }

  ended(namespace: string): ReadonlySet<string> {
    return this.#namespaces.get(namespace)?.ended ?? NONE;
  }

  /** How many have not ended. */
  open(namespace: string): number {
    const tasks = this.#namespaces.get(namespace);
    return tasks === undefined ? 0 : tasks.byId.size - tasks.ended.size;
  }

  count(namespace: string): number {
    return this.#namespaces.get(namespace)?.byId.size ?? 0;
  }

  /** How many in memory are in each state. */
  states(namespace: string): ReadonlyMap<number, number> {
    return this.#namespaces.get(namespace)?.states ?? new Map();
  }

  /** How many of all namespaces are in each state that is not an end, by its name. */
  openCounts(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const state of [Task_State.PENDING, Task_State.ASSIGNED, Task_State.RUNNING]) {
      let count = 0;
      for (const { states } of this.#namespaces.values()) count += states.get(state) ?? 0;
      counts.set(stateName(state), count);
    }
    return counts;
  }

  reset(namespace: string, _position: Position, entries: readonly Entry[]): void {
    const had = this.#namespaces.delete(namespace);
    let some = false;
    for (const { key, value, revision } of entries) {
      if (!isTaskKey(key)) continue;
      some = true;
      this.#put(undefined, knownTask(namespace, key, value, revision));
    }
    if (had || some) for (const listener of this.#listeners) listener.replaced(namespace);
  }

  apply(batch: ChangeBatch): void {
    const { namespace, revision } = batch;
    for (const { key, value } of batch.changes) {
      if (!isTaskKey(key)) continue;
      const before = this.get(namespace, taskIdOf(key));
      const after = value && knownTask(namespace, key, value, revision);
      if (after === undefined) this.#remove(before);
      else this.#put(before, after);
      if (before === undefined && after === undefined) continue;
      for (const listener of this.#listeners) listener.changed(before, after);
    }
  }

  #of(namespace: string): Tasks {
    let tasks = this.#namespaces.get(namespace);
    if (tasks === undefined) {
      tasks = {
        byId: new Map(),
        byAgent: new Map(),
        children: new Map(),
        ended: new Set(),
        states: new Map(),
      };
      this.#namespaces.set(namespace, tasks);
    }
    return tasks;
  }

  #put(before: KnownTask | undefined, after: KnownTask): void {
    const tasks = this.#of(after.namespace);
    if (before !== undefined) this.#leave(tasks, before);
    const { id, record } = after;
    tasks.byId.set(id, after);
    const { state } = taskOf(record);
    tasks.states.set(state, (tasks.states.get(state) ?? 0) + 1);
    for (const { agentId } of record.live) add(tasks.byAgent, agentId, id);
    const { parentTaskId } = specOf(record);
    if (parentTaskId !== '') add(tasks.children, parentTaskId, id);
    if (hasEnded(record)) tasks.ended.add(id);
  }

  #remove(known: KnownTask | undefined): void {
    if (known === undefined) return;
    const tasks = this.#of(known.namespace);
    this.#leave(tasks, known);
    tasks.byId.delete(known.id);
    const { parentTaskId } = specOf(known.record);
    if (parentTaskId !== '') remove(tasks.children, parentTaskId, known.id);
  }

  #leave(tasks: Tasks, { id, record }: KnownTask): void {
    const { state } = taskOf(record);
    tasks.states.set(state, (tasks.states.get(state) ?? 1) - 1);
    for (const { agentId } of record.live) remove(tasks.byAgent, agentId, id);
    tasks.ended.delete(id);
  }
}

function add(sets: Map<string, Set<string>>, name: string, id: string): void {
  const set = sets.get(name);
  if (set === undefined) sets.set(name, new Set([id]));
  else set.add(id);
}

function remove(sets: Map<string, Set<string>>, name: string, id: string): void {
  const set = sets.get(name);
  set?.delete(id);
  if (set?.size === 0) sets.delete(name);
}
