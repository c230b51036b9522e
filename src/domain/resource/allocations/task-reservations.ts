import { create } from '@bufbuild/protobuf';
import {
  type Allocation,
  Allocation_State,
  AllocationSchema,
  AllocationSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import { type KnownTask, specOf, taskOf } from '../../coordination/tasks/task-record.ts';
import type { TaskView } from '../../coordination/tasks/task-view.ts';

const NAME = /^task\/([A-Za-z0-9._-]{1,64})\/([1-9][0-9]{0,9})$/;

export const reservationId = (taskId: string, attempt: number): string => `task/${taskId}/${attempt}`;

/** The task and attempt that an allocation's name is about; undefined: it is no task's. */
export function reservationOf(id: string): { taskId: string; attempt: number } | undefined {
  const [, taskId, attempt] = NAME.exec(id) ?? [];
  return taskId === undefined ? undefined : { taskId, attempt: Number(attempt) };
}

/** The reservations of tasks, which stand in the tasks' own records, as allocations. */
export class TaskReservations {
  readonly #tasks: TaskView;

  constructor(options: { tasks: TaskView }) {
    this.#tasks = options.tasks;
  }

  get(namespace: string, id: string): Allocation | undefined {
    const named = reservationOf(id);
    const known = named && this.#tasks.get(namespace, named.taskId);
    const live = known?.record.live.find(({ number }) => number === named?.attempt);
    return known === undefined || live === undefined ? undefined : shown(known, live.number);
  }

  /** By id. @param agentId only those on this agent; empty: all */
  all(namespace: string, agentId: string): Allocation[] {
    const tasks = agentId === '' ? this.#tasks.all(namespace) : this.#on(namespace, agentId);
    const found: Allocation[] = [];
    for (const known of tasks) {
      for (const live of known.record.live) {
        if (agentId === '' || live.agentId === agentId) found.push(shown(known, live.number));
      }
    }
    return found.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  *#on(namespace: string, agentId: string): Iterable<KnownTask> {
    for (const id of this.#tasks.on(namespace, agentId)) {
      const known = this.#tasks.get(namespace, id);
      if (known !== undefined) yield known;
    }
  }
}

function shown({ namespace, id, record, revision }: KnownTask, attempt: number): Allocation {
  const spec = specOf(record);
  const task = taskOf(record);
  const live = record.live.find(({ number }) => number === attempt);
  const begun = task.attempts.find(({ number }) => number === attempt);
  return create(AllocationSchema, {
    namespace,
    id: reservationId(id, attempt),
    spec: create(AllocationSpecSchema, {
      capability: spec.capability,
      ...(spec.placement === undefined ? {} : { placement: spec.placement }),
      resources: live?.resources ?? {},
      budgets: task.budgets,
      labels: spec.labels,
      priority: spec.priority,
    }),
    state: Allocation_State.ACTIVE,
    agentId: live?.agentId ?? '',
    actor: task.actor,
    ...(task.createTime === undefined ? {} : { createTime: task.createTime }),
    ...(begun?.assignTime === undefined ? {} : { grantTime: begun.assignTime }),
    spent: live?.spent ?? {},
    taskId: id,
    revision,
  });
}
