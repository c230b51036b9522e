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
  taskKey,
  taskOf,
} from './task-record.ts';
import type { TaskView } from './task-view.ts';

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

  constructor(options: ChangeTasksOptions) {
    this.#options = options;
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
    // What was remembered is that it was asked for; whether it was granted stands in the task.
    if (earlier !== undefined) return this.#grantAnswer(namespace, id, earlier.revision);
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
      const response = create(GrantTaskBudgetResponseSchema);
      const outcome = await store.commit({
        namespace,
        checks: [{ key: taskKey(id), revision: known.revision }],
        puts: [{ key: taskKey(id), value: encodeTask(next) }],
        ...mutation.record(response),
      });
      if (outcome.kind === 'repeated') mutation.repeated(outcome);
      if (outcome.kind === 'conflict') continue;
      return this.#grantAnswer(namespace, id, outcome.revision);
    }
    throw contention();
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
    const { tasks, views } = this.#options;
    await views.waitFor(namespace, revision, ANSWER_MS);
    const present = (): KnownTask | undefined => {
      const known = tasks.get(namespace, id);
      if (known === undefined) throw taskNotFound(namespace, id);
      const isAsked = Object.keys(known.record.askedBudgets).length > 0;
      return isAsked && !hasEnded(known.record) ? undefined : known;
    };
    return new Promise((resolve, reject) => {
      const look = (): void => {
        try {
          const known = present();
          if (known !== undefined) done(() => resolve(known));
        } catch (error) {
          done(() => reject(error as Error));
        }
      };
      const done = (then: () => void): void => {
        stop();
        clearTimeout(timer);
        then();
      };
      const stop = tasks.listen({
        changed: (before, after) => {
          const known = after ?? before;
          if (known?.namespace === namespace && known.id === id) look();
        },
        replaced: look,
      });
      const timer = setTimeout(() => done(() => reject(noScheduler())), ANSWER_MS);
      look();
    });
  }
}

const budgetRefused = (id: string, why: string): DomainError =>
  new DomainError({
    reason: ErrorReason.BUDGET_SPENT,
    message: `task ${id} gets no more to spend: ${why}`,
  });
