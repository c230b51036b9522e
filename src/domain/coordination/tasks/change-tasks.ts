import { create } from '@bufbuild/protobuf';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  type CancelTaskRequest,
  CancelTaskRequestSchema,
  type CancelTaskResponse,
  CancelTaskResponseSchema,
  type GrantTaskBudgetRequest,
  GrantTaskBudgetRequestSchema,
  type GrantTaskBudgetResponse,
  GrantTaskBudgetResponseSchema,
  Task_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import { actorOf, type Caller } from '../../agent/caller.ts';
import type { AgentDirectory } from '../../agent/directory.ts';
import { contention } from '../../agent/errors.ts';
import type { EventWriter } from '../../monitoring/events.ts';
import { namespaceOf } from '../../namespaces.ts';
import { Mutation } from '../../requests.ts';
import { loadTask } from './load-task.ts';
import { draftOf, finish } from './task-draft.ts';
import { noScheduler, taskEnded, taskNotFound } from './task-errors.ts';
import { taskEvent } from './task-events.ts';
import {
  copyTask,
  encodeTask,
  hasEnded,
  type KnownTask,
  publicTask,
  quantityOf,
  sum,
  taskKey,
  taskOf,
} from './task-record.ts';
import type { TaskView } from './task-view.ts';
import { TaskWaits } from './task-waits.ts';

export interface ChangeTasksOptions {
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'waitFor'>;
  directory: AgentDirectory;
  tasks: TaskView;
  events: EventWriter;
}

const ATTEMPTS = 16;
/** How long the scheduler may take to answer. */
const ANSWER_MS = 5000;

/** Ends tasks, and gives them more to spend. */
export class ChangeTasks {
  readonly #options: ChangeTasksOptions;
  readonly #waits: TaskWaits;

  constructor(options: ChangeTasksOptions) {
    this.#options = options;
    this.#waits = new TaskWaits(options);
  }

  /** Tasks below it are cancelled by the scheduler. @throws DomainError TASK_NOT_FOUND, REQUEST_ID_REUSED, CONTENTION; StoreUnavailableError */
  async cancel(request: CancelTaskRequest, caller: Caller): Promise<CancelTaskResponse> {
    const { store, storeTime, directory, events } = this.#options;
    const namespace = namespaceOf(request);
    const { taskId: id, reason } = request;
    const mutation = new Mutation({
      ...{
        store,
        namespace,
        principal: caller.principal,
        method: 'CancelTask',
        requestId: request.requestId,
      },
      input: { schema: CancelTaskRequestSchema, message: request },
      output: CancelTaskResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return earlier.response;
    const actor = actorOf(caller, directory);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await loadTask(store, namespace, id);
      if (known === undefined) throw taskNotFound(namespace, id);
      if (hasEnded(known.record)) return create(CancelTaskResponseSchema, { task: publicTask(known) });
      const draft = draftOf(known);
      const because = reason === '' ? '' : `: ${reason}`;
      finish(draft, Task_State.CANCELLED, `${actor} cancelled it${because}`, storeTime.ms());
      const after: KnownTask = { ...known, record: draft.record };
      const response = create(CancelTaskResponseSchema, { task: publicTask(after), cancelled: true });
      const event = taskEvent(known.record, draft.record, actor);
      const outcome = await store.commit({
        namespace,
        checks: [{ key: taskKey(id), revision: known.revision }],
        puts: [{ key: taskKey(id), value: encodeTask(draft.record) }],
        deletes: draft.withdrawn,
        appends: event === undefined ? [] : [events.append(event)],
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') return mutation.repeated(outcome).response;
      if (outcome.kind === 'conflict') continue;
      if (response.task !== undefined) response.task.revision = outcome.revision;
      return response;
    }
    throw contention();
  }

  /** @throws DomainError TASK_NOT_FOUND, TASK_ENDED, BUDGET_SPENT, NO_SCHEDULER, REQUEST_ID_REUSED, CONTENTION; StoreUnavailableError */
  async grant(request: GrantTaskBudgetRequest, caller: Caller): Promise<GrantTaskBudgetResponse> {
    const { store } = this.#options;
    const namespace = namespaceOf(request);
    const { taskId: id } = request;
    const mutation = new Mutation({
      ...{ store, namespace, principal: caller.principal, method: 'GrantTaskBudget' },
      requestId: request.requestId,
      input: { schema: GrantTaskBudgetRequestSchema, message: request },
      output: GrantTaskBudgetResponseSchema,
    });
    const earlier = await mutation.earlier();
    if (earlier !== undefined) return this.#repeatedAnswer(request, earlier);
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      const known = await loadTask(store, namespace, id);
      if (known === undefined) throw taskNotFound(namespace, id);
      if (hasEnded(known.record)) throw taskEnded(id, taskOf(known.record).state, 'gets no more to spend');
      if (Object.keys(known.record.askedBudgets).length > 0) {
        await this.#answered(namespace, id);
        continue;
      }
      const next = copyTask(known);
      next.askedBudgets = request.budgets;
      next.askRefused = '';
      // Remembered is how the task stood when it was asked for.
      const response = create(GrantTaskBudgetResponseSchema, { task: publicTask(known) });
      const outcome = await store.commit({
        namespace,
        checks: [{ key: taskKey(id), revision: known.revision }],
        puts: [{ key: taskKey(id), value: encodeTask(next) }],
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') return this.#repeatedAnswer(request, mutation.repeated(outcome));
      if (outcome.kind === 'conflict') continue;
      return this.#grantAnswer(namespace, id, outcome.revision);
    }
    throw contention();
  }

  /**
   * What became of something that was asked for before, maybe not last: it was granted if the task has so much more than it had,
   * as budgets only grow.
   */
  async #repeatedAnswer(
    { budgets, taskId: id, ...request }: GrantTaskBudgetRequest,
    { revision, response }: { revision: bigint; response: GrantTaskBudgetResponse },
  ): Promise<GrantTaskBudgetResponse> {
    const after = await this.#answered(namespaceOf(request), id, revision);
    if (hasAll(after, response.task?.budgets ?? {}, budgets))
      return create(GrantTaskBudgetResponseSchema, { task: publicTask(after) });
    if (hasEnded(after.record)) throw taskEnded(id, taskOf(after.record).state, 'gets no more to spend');
    throw budgetRefused(id, after.record.askRefused || 'what was asked for was refused');
  }

  /** What the scheduler answered to what was asked for last. @throws DomainError BUDGET_SPENT, NO_SCHEDULER, TASK_NOT_FOUND */
  async #grantAnswer(namespace: string, id: string, revision: bigint): Promise<GrantTaskBudgetResponse> {
    const after = await this.#answered(namespace, id, revision);
    const { askRefused, askedBudgets } = after.record;
    if (askRefused !== '') throw budgetRefused(id, askRefused);
    if (Object.keys(askedBudgets).length > 0)
      throw taskEnded(id, taskOf(after.record).state, 'gets no more to spend');
    return create(GrantTaskBudgetResponseSchema, { task: publicTask(after) });
  }

  /** The task once the scheduler has answered what was asked of it. @throws DomainError NO_SCHEDULER, TASK_NOT_FOUND */
  async #answered(namespace: string, id: string, revision = 0n): Promise<KnownTask> {
    const { views } = this.#options;
    await views.waitFor(namespace, revision, ANSWER_MS);
    let answered: KnownTask | undefined;
    const isAnswered = (known: KnownTask | undefined): boolean => {
      if (known === undefined) throw taskNotFound(namespace, id);
      const isAsked = Object.keys(known.record.askedBudgets).length > 0;
      if (isAsked && !hasEnded(known.record)) return false;
      answered = known;
      return true;
    };
    await this.#waits.until({ namespace, id }, isAnswered, ANSWER_MS);
    if (answered === undefined) throw noScheduler();
    return answered;
  }
}

/** Whether a task has at least as much to spend as these together. */
function hasAll(known: KnownTask, before: Record<string, bigint>, asked: Record<string, bigint>): boolean {
  const { budgets } = taskOf(known.record);
  return Object.entries(sum(before, asked)).every(([name, amount]) => quantityOf(budgets, name) >= amount);
}

const budgetRefused = (id: string, why: string): DomainError =>
  new DomainError({
    reason: ErrorReason.BUDGET_SPENT,
    message: `task ${id} gets no more to spend: ${why}`,
  });
