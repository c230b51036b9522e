import { fromBinary } from '@bufbuild/protobuf';
import { Task_State } from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Allocation_State } from '../../../gen/mycosoft/orchestrator/resource/v1/resource_service_pb.ts';
import {
  AgentRecordSchema,
  type AllocationRecord,
  AllocationRecordSchema,
  DeliveryRecordSchema,
  type QuotaRecord,
  QuotaRecordSchema,
  type TaskRecord,
  TaskRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { Change } from '../../../src/state/store.ts';
import { addTo, type Grown, Holds } from './holds.ts';
import { type Amounts, sum } from './tally.ts';

/** A record before and after a commit; undefined: there is none. */
export interface Changed<T> {
  id: string;
  before: T | undefined;
  after: T | undefined;
}

/** What one commit changed, as far as it matters here. */
export interface Diff {
  tasks: Changed<TaskRecord>[];
  allocations: Changed<AllocationRecord>[];
  /** By owner; "" is the namespace. */
  quotas: Changed<QuotaRecord>[];
  /** Tasks whose deliveries changed. */
  mailed: Set<string>;
  /** Of what more is held now: of agents, of quotas, and of the budgets of quotas. */
  more: { onAgents: Grown; ofQuotas: Grown; ofBudgets: Grown };
}

const ENDED: ReadonlySet<Task_State> = new Set([
  Task_State.SUCCEEDED,
  Task_State.FAILED,
  Task_State.CANCELLED,
  Task_State.TIMED_OUT,
]);

export function taskOf({ task }: TaskRecord) {
  if (task?.spec === undefined) throw new Error('a task record without its task');
  return { ...task, spec: task.spec };
}
export const hasEnded = (record: TaskRecord): boolean => ENDED.has(taskOf(record).state);
/** A budget is held from the first assignment until what was spent is taken over. */
export const holdsBudgets = (record: TaskRecord): boolean =>
  !record.settled && taskOf(record).attemptCount > 0;
/** What it has spent itself, in all attempts. */
export const ownSpent = (record: TaskRecord): Amounts =>
  sum(taskOf(record).spent, ...record.live.map(({ spent }) => spent));
export const treeSpent = (record: TaskRecord): Amounts => sum(ownSpent(record), record.childrenSpent);

export function allocationOf({ allocation }: AllocationRecord) {
  if (allocation?.spec === undefined) throw new Error('an allocation record without its allocation');
  return { ...allocation, spec: allocation.spec };
}

/** The name under which quotas count tasks. */
export const TASKS = 'tasks';
/** Whose quotas an owner's work counts for: its own and the namespace's. */
export const accountsOf = (owner: string | undefined): string[] => (owner ? [owner, ''] : ['']);

const KINDS: ReadonlySet<string> = new Set(['task', 'alloc', 'quota', 'agent', 'mail']);

/** Everything that reserves, and what it reserves of, as the change log of one namespace tells it. */
export class LedgerState {
  /** Also those that have left "task/", as they were last. */
  readonly tasks = new Map<string, TaskRecord>();
  readonly archived = new Set<string>();
  readonly allocations = new Map<string, AllocationRecord>();
  readonly quotas = new Map<string, QuotaRecord>();
  /** Capacity, by agent. */
  readonly agents = new Map<string, Amounts>();
  /** Keys of the deliveries of each task. */
  readonly mail = new Map<string, Set<string>>();
  readonly children = new Map<string, Set<string>>();
  readonly byOrderingKey = new Map<string, Set<string>>();
  /** By "task/<id>/<attempt>" and "alloc/<id>". */
  readonly onAgents = new Holds();
  /** By "task/<id>" and "alloc/<id>". */
  readonly ofQuotas = new Holds();
  readonly ofBudgets = new Holds();
  /** Of all that matters here. */
  readonly keys = new Set<string>();
  readonly #taskOfMail = new Map<string, string>();

  apply(changes: readonly Change[]): Diff {
    const more = { onAgents: new Map(), ofQuotas: new Map(), ofBudgets: new Map() };
    const diff: Diff = { tasks: [], allocations: [], quotas: [], mailed: new Set(), more };
    for (const { key, value } of changes) {
      const slash = key.indexOf('/');
      const [kind, id] = [key.slice(0, slash), key.slice(slash + 1)];
      if (value === undefined) this.keys.delete(key);
      else if (KINDS.has(kind)) this.keys.add(key);
      if (kind === 'task') this.#task(id, value, diff);
      else if (kind === 'alloc') this.#allocation(id, value, diff);
      else if (kind === 'quota') this.#quota(id, value, diff);
      else if (kind === 'agent') this.#agent(id, value);
      else if (kind === 'mail') this.#mail(key, value, diff);
    }
    return diff;
  }

  #task(id: string, value: Uint8Array | undefined, { tasks, more }: Diff): void {
    const before = this.archived.has(id) ? undefined : this.tasks.get(id);
    const after = value && fromBinary(TaskRecordSchema, value);
    tasks.push({ id, before, after });
    if (after === undefined) this.archived.add(id);
    else {
      this.archived.delete(id);
      this.tasks.set(id, after);
    }
    const key = `task/${id}`;
    const live = (after?.live ?? []).map((attempt) => ({
      ...attempt,
      resources: { slots: 1n, ...attempt.resources },
    }));
    const gone = new Set(before?.live.map(({ number }) => number));
    for (const { number, agentId, resources } of live) {
      gone.delete(number);
      this.onAgents.set(`${key}/${number}`, { of: [agentId], amounts: resources }, more.onAgents);
    }
    for (const number of gone) this.onAgents.set(`${key}/${number}`, undefined, more.onAgents);
    const task = after && taskOf(after);
    const of = accountsOf(task?.spec.labels.owner);
    // A task counts once, however many attempts stand beside each other.
    const amounts = { [TASKS]: 1n, ...sum(...live.map(({ resources }) => resources)) };
    this.ofQuotas.set(key, live.length === 0 ? undefined : { of, amounts }, more.ofQuotas);
    const holds = after !== undefined && task?.spec.parentTaskId === '' && holdsBudgets(after);
    this.ofBudgets.set(key, holds ? { of, amounts: task.budgets } : undefined, more.ofBudgets);
    if (task === undefined) return;
    if (task.spec.parentTaskId !== '') addTo(this.children, task.spec.parentTaskId, id);
    if (task.spec.orderingKey !== '') addTo(this.byOrderingKey, task.spec.orderingKey, id);
  }

  #allocation(id: string, value: Uint8Array | undefined, { allocations, more }: Diff): void {
    const before = this.allocations.get(id);
    const after = value && fromBinary(AllocationRecordSchema, value);
    allocations.push({ id, before, after });
    if (after === undefined) this.allocations.delete(id);
    else this.allocations.set(id, after);
    const key = `alloc/${id}`;
    const allocation = after && allocationOf(after);
    const { resources = {}, budgets = {}, labels = {} } = allocation?.spec ?? {};
    const of = accountsOf(labels.owner);
    const isActive = allocation?.state === Allocation_State.ACTIVE;
    const agents = [allocation?.agentId ?? ''];
    this.onAgents.set(key, isActive ? { of: agents, amounts: resources } : undefined, more.onAgents);
    this.ofQuotas.set(key, isActive ? { of, amounts: resources } : undefined, more.ofQuotas);
    // What was not spent is given back at the end, what was spent is held until it is taken over.
    const held = isActive ? budgets : (allocation?.spent ?? {});
    const holds = Object.keys(held).length > 0 && after?.settled === false;
    this.ofBudgets.set(key, holds ? { of, amounts: held } : undefined, more.ofBudgets);
  }

  #quota(owner: string, value: Uint8Array | undefined, { quotas }: Diff): void {
    const before = this.quotas.get(owner);
    const after = value && fromBinary(QuotaRecordSchema, value);
    quotas.push({ id: owner, before, after });
    if (after === undefined) this.quotas.delete(owner);
    else this.quotas.set(owner, after);
  }

  #agent(id: string, value: Uint8Array | undefined): void {
    if (value === undefined) this.agents.delete(id);
    else this.agents.set(id, fromBinary(AgentRecordSchema, value).agent?.spec?.capacity ?? {});
  }

  #mail(key: string, value: Uint8Array | undefined, { mailed }: Diff): void {
    if (value === undefined) {
      const taskId = this.#taskOfMail.get(key);
      if (taskId === undefined) return;
      this.#taskOfMail.delete(key);
      this.mail.get(taskId)?.delete(key);
      mailed.add(taskId);
      return;
    }
    const { item } = fromBinary(DeliveryRecordSchema, value);
    if (item.case !== 'task') return;
    this.#taskOfMail.set(key, item.value.id);
    addTo(this.mail, item.value.id, key);
    mailed.add(item.value.id);
  }
}
