import { create } from '@bufbuild/protobuf';
import {
  type BatchSubmitTasksRequest,
  BatchSubmitTasksRequestSchema,
  type BatchSubmitTasksResponse,
  BatchSubmitTasksResponseSchema,
  type SubmitTaskRequest,
  SubmitTaskRequestSchema,
  type SubmitTaskResponse,
  SubmitTaskResponseSchema,
  Task_State,
  TaskSchema,
  type TaskSpec,
  TaskSpecSchema,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { PendingReason } from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import {
  type TaskRecord,
  TaskRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Ids } from '../../../lib/ids.ts';
import { msFromDuration, timestampFromMs } from '../../../lib/proto-time.ts';
import type { MergedCommits, Part } from '../../../state/merged-commits.ts';
import type { Check, CommitOutcome, Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import { admitNamespace } from '../../agent/admit-namespace.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention, invalidFields, limitReached } from '../../agent/errors.ts';
import { agentKey } from '../../agent/record.ts';
import { namespaceOf } from '../../namespaces.ts';
import { fingerprintOf, Mutation } from '../../requests.ts';
import { type SessionCaller, sessionCaller } from '../bindings.ts';
import type { TraceContext } from '../messages/message-tracing.ts';
import type { Grant } from './grants.ts';
import { itemOfTask, wantOf } from './items.ts';
import { loadTask } from './load-task.ts';
import { inputPuts } from './payloads.ts';
import type { Scheduling } from './scheduling.ts';
import { wait } from './task-draft.ts';
import { budgetUnknown, taskEnded, taskExists, taskNotFound, unplaceable } from './task-errors.ts';
import {
  encodeTask,
  hasEnded,
  type KnownTask,
  publicTask,
  TASK_FORMAT,
  taskKey,
  taskOf,
} from './task-record.ts';
import type { TaskView } from './task-view.ts';

export interface SubmitTasksOptions {
  store: Store;
  merged: MergedCommits;
  storeTime: StoreTime;
  directory: AgentDirectory;
  tasks: TaskView;
  scheduling: Scheduling;
  ids: Ids;
  /** Tasks of a namespace that have not ended. */
  maxTasks: number;
  maxNamespaces: number;
}

/** Who submits, and how. */
interface Submitter {
  actor: string;
  session: SessionCaller | undefined;
  trace: TraceContext;
  storeMs: number;
}

const ATTEMPTS = 8;
/** Among so many agents it is found out at once why a new task waits. */
const MAX_EXPLAINED = 2000;
const TIME_DIGITS = 9;

/** Takes tasks in. */
export class SubmitTasks {
  readonly #options: SubmitTasksOptions;
  #lastMs = 0;
  #count = 0;

  constructor(options: SubmitTasksOptions) {
    this.#options = options;
  }

  /**
   * @throws DomainError TASK_EXISTS, TASK_NOT_FOUND, TASK_ENDED, BUDGET_UNKNOWN, UNPLACEABLE, LIMIT_REACHED, INVALID_FIELDS,
   * REQUEST_ID_REUSED, TOKEN_INVALID, SESSION_SUPERSEDED, EPOCH_STALE, CONTENTION; StoreUnavailableError, StoreFullError
   */
  async submit(request: SubmitTaskRequest, caller: Caller, trace: TraceContext): Promise<SubmitTaskResponse> {
    const { store, merged } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      ...{
        store,
        namespace,
        principal: caller.principal,
        method: 'SubmitTask',
        requestId: request.requestId,
      },
      input: { schema: SubmitTaskRequestSchema, message: request },
      output: SubmitTaskResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return stamped(earlier.response, earlier.revision);
    const id = request.taskId === '' ? this.#newId() : request.taskId;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const submitter = await this.#submitter(namespace, request.sessionEpoch, caller, trace, attempt > 0);
      if (request.taskId !== '') {
        const there = await this.#there(namespace, id, specOf(request));
        if (there !== undefined) return create(SubmitTaskResponseSchema, { task: publicTask(there) });
      }
      const parent = await this.#parentOf(namespace, specOf(request), attempt > 0);
      const { known, part } = this.#new(namespace, id, specOf(request), {
        ...{ submitter, parent, index: 0 },
        named: request.taskId !== '',
      });
      if (request.mustFit) this.#mustFit(known);
      const scheduler = this.#options.scheduling.scheduler(namespace);
      // Where something else had changed, this replica's memory lags: the scheduler places it later.
      const grant = attempt === 0 ? this.#place(known) : undefined;
      const whole = together(part, grant?.part ?? waiting(known));
      const response = create(SubmitTaskResponseSchema, { task: publicTask(known) });
      let outcome: CommitOutcome;
      try {
        outcome =
          request.requestId === ''
            ? await merged.commit(namespace, () => whole)
            : await store.commit({ namespace, ...whole, ...mutation.record(response) });
      } catch (error) {
        if (grant !== undefined) scheduler.failed(grant, error);
        throw error;
      }
      if (outcome.kind === 'committed') {
        grant?.stored?.();
        return stamped(response, outcome.revision);
      }
      if (outcome.kind === 'repeated') {
        grant?.undo();
        const first = mutation.repeated(outcome);
        return stamped(first.response, first.revision);
      }
      if (grant !== undefined) scheduler.refused(grant, outcome.key);
    }
    throw contention();
  }

  /** All or none. @throws as `submit` */
  async batch(
    request: BatchSubmitTasksRequest,
    caller: Caller,
    trace: TraceContext,
  ): Promise<BatchSubmitTasksResponse> {
    const { store } = this.#options;
    const namespace = namespaceOf(request);
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'BatchSubmitTasks' },
      requestId: request.requestId,
      input: { schema: BatchSubmitTasksRequestSchema, message: request },
      output: BatchSubmitTasksResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return Object.assign(earlier.response, { revision: earlier.revision });
    this.#distinct(request);
    const ids = request.tasks.map(({ taskId }) => (taskId === '' ? this.#newId() : taskId));
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const submitter = await this.#submitter(namespace, request.sessionEpoch, caller, trace, attempt > 0);
      const puts: NonNullable<Part['puts']>[number][] = [];
      const checks = new Map<string, Check>();
      for (const [index, task] of request.tasks.entries()) {
        const how = { id: ids[index] ?? '', index, submitter, again: attempt > 0 };
        const whole = await this.#ofBatch(namespace, task, how).catch((error) => {
          throw atPlace(error, index);
        });
        for (const check of whole?.checks ?? []) checks.set(check.key, check);
        puts.push(...(whole?.puts ?? []));
      }
      const response = create(BatchSubmitTasksResponseSchema, { taskIds: ids });
      const outcome = await store.commit({
        ...{ namespace, checks: [...checks.values()], puts },
        ...mutation.record(response),
      });
      if (outcome.kind === 'committed') return Object.assign(response, { revision: outcome.revision });
      if (outcome.kind === 'repeated') {
        const first = mutation.repeated(outcome);
        return Object.assign(first.response, { revision: first.revision });
      }
    }
    throw contention();
  }

  /** What stores one task of a batch; undefined: it is there already. */
  async #ofBatch(
    namespace: string,
    task: SubmitTaskRequest,
    how: { id: string; index: number; submitter: Submitter; again: boolean },
  ): Promise<Part | undefined> {
    const { id, index, submitter, again } = how;
    const named = task.taskId !== '';
    if (named && (await this.#there(namespace, id, specOf(task))) !== undefined) return undefined;
    const parent = await this.#parentOf(namespace, specOf(task), again);
    const { known, part } = this.#new(namespace, id, specOf(task), { submitter, parent, index, named });
    if (task.mustFit) this.#mustFit(known);
    return together(part, waiting(known));
  }

  async #submitter(
    namespace: string,
    sessionEpoch: bigint,
    caller: Caller,
    trace: TraceContext,
    again: boolean,
  ): Promise<Submitter> {
    const { store, directory, storeTime } = this.#options;
    const session = await sessionCaller(
      store,
      namespace,
      caller,
      sessionEpoch,
      again ? undefined : directory,
    );
    return { actor: actorOf(caller, directory), session, trace, storeMs: storeTime.ms() };
  }

  /** The task that is there under an id; undefined: none is. @throws DomainError TASK_EXISTS */
  async #there(namespace: string, id: string, spec: TaskSpec): Promise<KnownTask | undefined> {
    const known = await loadTask(this.#options.store, namespace, id);
    if (known === undefined) return undefined;
    if (!Buffer.from(known.record.specHash).equals(hashOf(spec))) throw taskExists(id);
    return known;
  }

  #distinct({ tasks }: BatchSubmitTasksRequest): void {
    const seen = new Set<string>();
    for (const [index, { taskId }] of tasks.entries()) {
      if (taskId !== '' && seen.has(taskId)) {
        const field = `tasks[${index}].task_id`;
        throw invalidFields(`${field} is ${taskId}, as that of an earlier one`, [
          { field, description: 'is the same as that of an earlier task of the batch' },
        ]);
      }
      seen.add(taskId);
    }
  }

  /** A new task, with what its commit has besides its own entry. */
  #new(
    namespace: string,
    id: string,
    spec: TaskSpec,
    how: { submitter: Submitter; parent: KnownTask | undefined; index: number; named: boolean },
  ): { known: KnownTask; part: Part } {
    const { tasks, maxTasks, maxNamespaces, directory } = this.#options;
    const { submitter, parent, index } = how;
    admitNamespace(directory, namespace, maxNamespaces);
    const { session } = submitter;
    const open = tasks.open(namespace);
    if (open + index >= maxTasks) {
      throw limitReached(
        `namespace ${namespace} has ${open} tasks that have not ended; ${maxTasks} are allowed (limits.max_tasks)`,
      );
    }
    const checks: Check[] = [];
    if (session !== undefined)
      checks.push({ key: agentKey(session.known.id), revision: session.known.revision });
    if (parent !== undefined) checks.push({ key: taskKey(parent.id), revision: parent.revision });
    else this.#knowsBudgets(namespace, spec);
    const record = newRecord(id, spec, submitter, how);
    if (parent !== undefined) record.rootTaskId = parent.record.rootTaskId || parent.id;
    const puts = inputPuts(record);
    const known: KnownTask = { namespace, id, record, revision: 0n, createdRevision: 0n };
    return { known, part: { checks, puts } };
  }

  /**
   * @param again the view was found to lag behind: the store is asked
   * @throws DomainError TASK_NOT_FOUND, TASK_ENDED, INVALID_FIELDS; StoreUnavailableError
   */
  async #parentOf(namespace: string, spec: TaskSpec, again: boolean): Promise<KnownTask | undefined> {
    const { parentTaskId } = spec;
    if (parentTaskId === '') return undefined;
    const { tasks, store } = this.#options;
    const seen = again ? undefined : tasks.get(namespace, parentTaskId);
    const parent = seen ?? (await loadTask(store, namespace, parentTaskId));
    if (parent === undefined) throw taskNotFound(namespace, parentTaskId);
    if (hasEnded(parent.record)) {
      throw taskEnded(parentTaskId, taskOf(parent.record).state, 'no task can be a part of it');
    }
    const { budgets } = taskOf(parent.record);
    for (const [name, amount] of Object.entries(spec.budgets)) {
      const most = budgets[name] ?? 0n;
      if (amount <= most) continue;
      const field = `spec.budgets["${name}"]`;
      const description = `is ${amount}; its parent ${parentTaskId} has ${most} in all`;
      throw invalidFields(`${field} ${description}`, [{ field, description }]);
    }
    return parent;
  }

  #knowsBudgets(namespace: string, spec: TaskSpec): void {
    const { accounts } = this.#options.scheduling.ledger(namespace);
    const owner = spec.labels.owner ?? '';
    for (const name of Object.keys(spec.budgets)) {
      if (!accounts.knowsBudget(owner, name)) throw budgetUnknown(owner, name);
    }
  }

  #mustFit(known: KnownTask): void {
    const { pool } = this.#options.scheduling.ledger(known.namespace);
    const wanted = pool.classOf(wantOf(known));
    try {
      const explanation = pool.explain(wanted);
      if (!explanation.couldEver) throw unplaceable(explanation);
    } finally {
      pool.release(wanted);
    }
  }

  /** What places it at once, if this replica schedules and there is room; else why it waits stands in its record. */
  #place(known: KnownTask): Grant | undefined {
    const { scheduling, storeTime } = this.#options;
    const fence = scheduling.fence(known.namespace);
    const scheduler = scheduling.scheduler(known.namespace);
    const grant = fence === undefined ? undefined : scheduler.admit(known, fence);
    if (grant !== undefined) return grant;
    // To find out costs time for each agent, on the way of a caller that waits: it is found out when somebody asks.
    if (this.#options.directory.count(known.namespace) > MAX_EXPLAINED) return undefined;
    const nowMs = storeTime.ms();
    const why = scheduler.why(itemOfTask(known, 0), nowMs);
    if (why.reason !== PendingReason.TURN) wait(known.record, { ...why, storeMs: nowMs });
    return undefined;
  }

  /** In the order in which they are made, as far as clocks agree. */
  #newId(): string {
    const { ids, storeTime } = this.#options;
    const nowMs = storeTime.ms();
    this.#count = nowMs > this.#lastMs ? 0 : this.#count + 1;
    this.#lastMs = Math.max(nowMs, this.#lastMs);
    const time = this.#lastMs.toString(36).padStart(TIME_DIGITS, '0');
    const random = ids.uuid().replaceAll('-', '').slice(0, 8);
    return `${time}${this.#count.toString(36).padStart(3, '0')}${random}`;
  }
}

/** The same error, with the place of its task. */
function atPlace(error: unknown, index: number): unknown {
  if (!(error instanceof DomainError)) return error;
  const { reason, message, retryAfterMs, metadata } = error;
  const place = `tasks[${index}]`;
  const violations = error.violations.map((each) => ({ ...each, field: `${place}.${each.field}` }));
  const retry = retryAfterMs === undefined ? {} : { retryAfterMs };
  return new DomainError({
    reason,
    message: `${place}: ${message}`,
    violations,
    metadata: { ...metadata },
    ...retry,
  });
}

const specOf = ({ spec }: SubmitTaskRequest): TaskSpec => spec ?? create(TaskSpecSchema);
const hashOf = (spec: TaskSpec): Uint8Array => fingerprintOf(TaskSpecSchema, spec);

function newRecord(
  id: string,
  spec: TaskSpec,
  submitter: Submitter,
  { index, named }: { index: number; named: boolean },
): TaskRecord {
  const { actor, trace, storeMs } = submitter;
  const task = create(TaskSchema);
  task.id = id;
  task.spec = spec;
  task.actor = actor;
  task.state = Task_State.PENDING;
  task.createTime = timestampFromMs(storeMs);
  task.budgets = spec.budgets;
  if (spec.deadline !== undefined)
    task.deadlineTime = timestampFromMs(storeMs + msFromDuration(spec.deadline));
  const record = create(TaskRecordSchema);
  record.format = TASK_FORMAT;
  record.task = task;
  if (named) record.specHash = hashOf(spec);
  record.index = index;
  record.traceparent = trace.traceparent;
  record.tracestate = trace.tracestate;
  wait(record, { reason: PendingReason.NEW, detail: 'it was just submitted', storeMs });
  return record;
}

/** What stores a task that waits. */
const waiting = ({ id, record }: KnownTask): Part => ({
  checks: [{ key: taskKey(id), revision: 0n }],
  puts: [{ key: taskKey(id), value: encodeTask(record) }],
});

const together = (a: Part, b: Part): Part => ({
  ...b,
  checks: [...(b.checks ?? []), ...(a.checks ?? [])],
  puts: [...(a.puts ?? []), ...(b.puts ?? [])],
});

function stamped(response: SubmitTaskResponse, revision: bigint): SubmitTaskResponse {
  if (response.task !== undefined && response.task.revision === 0n) response.task.revision = revision;
  return response;
}
