import { create } from '@bufbuild/protobuf';
import { DeliveryUpdate_State } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  Task_State,
  TaskAttempt_State,
  TaskSpec_OnBudgetSpent,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { TaskRecord_LiveAttemptSchema } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../../lib/errors.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Check, Store } from '../../../state/store.ts';
import { invalidFields } from '../../agent/errors.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import { payloadSize } from '../messages/message-record.ts';
import type { OutcomeEffects, OutcomeInput } from '../outcomes.ts';
import { freeBudgets } from './budgets.ts';
import { loadTask } from './load-task.ts';
import { outputPuts } from './payloads.ts';
import { attemptOf, type Draft, draftOf, finish, hasBegun } from './task-draft.ts';
import { taskEvent } from './task-events.ts';
import {
  attemptOfDelivery,
  encodeTask,
  type KnownTask,
  quantityOf,
  specOf,
  taskKey,
  taskOf,
} from './task-record.ts';
import { accept, fail, refuse, succeed } from './task-rules.ts';
import type { TaskView } from './task-view.ts';

export interface TaskOutcomesOptions {
  store: Store;
  tasks: TaskView;
  /** Of tasks that say nothing of it. */
  maxAttempts: number;
}

/** What an agent's answer means for its task. */
export interface TaskEffects extends OutcomeEffects {
  checks: readonly Check[];
  /** What the agent hears once this is stored, instead of having its answer taken: its delivery stays, unless it is deleted here. */
  refusal?: DomainError;
}

interface Applied {
  events: NewEvent[];
  refusal?: DomainError;
}

/** Makes of what becomes of an attempt's delivery what becomes of its task. */
export class TaskOutcomes {
  readonly #options: TaskOutcomesOptions;

  constructor(options: TaskOutcomesOptions) {
    this.#options = options;
  }

  /**
   * @param again the view was found to lag behind: the store is asked
   * @throws DomainError BUDGET_SPENT, INVALID_FIELDS (output too large); StoreUnavailableError
   */
  async effects(input: OutcomeInput, again: boolean): Promise<TaskEffects> {
    const { namespace, id: deliveryId } = input.known;
    const named = attemptOfDelivery(deliveryId);
    if (named === undefined) return NOTHING;
    const { store, tasks } = this.#options;
    const liveOf = (task: KnownTask | undefined) =>
      task?.record.live.find(({ number }) => number === named.attempt);
    let known = again ? undefined : tasks.get(namespace, named.taskId);
    // A view that lags may not show the attempt yet: the store is asked before the answer counts for nothing.
    if (liveOf(known) === undefined) known = await loadTask(store, namespace, named.taskId);
    const live = liveOf(known);
    // The delivery is all that is left of it.
    if (known === undefined || live === undefined) return NOTHING;
    const draft = draftOf(known);
    const output = input.state === 'succeeded' ? input.update?.output : undefined;
    if (payloadSize(output) > MAX_OUTPUT_BYTES) throw outputTooLarge(payloadSize(output));
    const { events, refusal } = this.#apply(draft, named.attempt, input);
    const { record } = draft;
    const puts = output === undefined ? [] : outputPuts(record, output);
    const actor = input.update === undefined ? 'rule:deliveries' : `agent:${live.agentId}`;
    const event = taskEvent(known.record, record, actor);
    const own = input.known;
    const mail = `mail/${own.agentId}/${own.id}`;
    return {
      checks: [{ key: taskKey(known.id), revision: known.revision }],
      puts: [...puts, { key: taskKey(known.id), value: encodeTask(record) }],
      // Its own delivery is dealt with by whoever asks.
      deletes: refusal === undefined ? draft.withdrawn.filter((key) => key !== mail) : draft.withdrawn,
      events: event === undefined ? events : [...events, event],
      ...(refusal === undefined ? {} : { refusal }),
    };
  }

  /** Whether an agent says again what was stored before of an attempt that has ended. */
  async saidBefore(namespace: string, deliveryId: string, said: DeliveryUpdate_State): Promise<boolean> {
    const named = attemptOfDelivery(deliveryId);
    if (named === undefined) return false;
    const known =
      this.#options.tasks.get(namespace, named.taskId) ??
      (await loadTask(this.#options.store, namespace, named.taskId));
    const attempt = known && attemptOf(known.record, named.attempt);
    switch (said) {
      case DeliveryUpdate_State.SUCCEEDED:
        return attempt?.state === TaskAttempt_State.SUCCEEDED;
      case DeliveryUpdate_State.FAILED:
        return attempt?.state === TaskAttempt_State.FAILED;
      case DeliveryUpdate_State.DECLINED:
        return attempt?.state === TaskAttempt_State.DECLINED;
      default:
        return false;
    }
  }

  /** Why an attempt was taken back, as far as this replica knows. */
  whyWithdrawn(namespace: string, deliveryId: string): string | undefined {
    const named = attemptOfDelivery(deliveryId);
    const known = named && this.#options.tasks.get(namespace, named.taskId);
    const attempt = known && attemptOf(known.record, named.attempt);
    return attempt?.error || undefined;
  }

  #apply(draft: Draft, number: number, input: OutcomeInput): Applied {
    const { maxAttempts } = this.#options;
    const { state, update, storeMs, known } = input;
    const { record } = draft;
    const begun = hasBegun(record, number);
    const error = update?.error ?? '';
    const spent = update === undefined ? { events: [] } : takeSpent(draft, number, input);
    if (spent.refusal !== undefined) return spent;
    switch (state) {
      case 'accepted':
        accept(draft, number, storeMs);
        break;
      case 'succeeded':
        succeed(draft, number, storeMs);
        break;
      case 'failed':
        fail(draft, number, {
          ...{
            state: TaskAttempt_State.FAILED,
            error: error || 'the agent gave no reason',
            storeMs,
            maxAttempts,
          },
          retryable: update?.retryable ?? true,
        });
        break;
      case 'declined':
        if (!begun) refuse(draft, number, { state: TaskAttempt_State.DECLINED, error, storeMs });
        else
          fail(draft, number, {
            ...{
              state: TaskAttempt_State.DECLINED,
              error: error || 'the agent gave it back',
              storeMs,
              maxAttempts,
            },
            retryable: true,
          });
        break;
      default: {
        const why =
          state === 'agent_gone'
            ? `agent ${known.agentId} was deregistered`
            : `${known.agentId} did not answer`;
        if (begun) {
          const lost = `${known.agentId} came back without it`;
          const words = state === 'agent_gone' ? why : lost;
          fail(draft, number, {
            ...{ state: TaskAttempt_State.AGENT_LOST, error: words, retryable: true, storeMs, maxAttempts },
          });
        } else refuse(draft, number, { state: TaskAttempt_State.UNANSWERED, error: why, storeMs });
      }
    }
    return spent;
  }
}

/** A result may have as many bytes as an input; what is larger belongs elsewhere, with its place in the result. */
const MAX_OUTPUT_BYTES = 65_536;

function outputTooLarge(bytes: number): DomainError {
  const description = `has ${bytes} bytes; the result of a task may have ${MAX_OUTPUT_BYTES}`;
  return invalidFields(`delivery_update.output ${description}`, [
    { field: 'delivery_update.output', description },
  ]);
}

/**
 * Counts what an agent says that it has spent. Before the end of an attempt it asks, and more than there is is refused; with an
 * outcome it tells, and what goes beyond counts as all there is.
 * @throws DomainError BUDGET_SPENT
 */
function takeSpent(draft: Draft, number: number, { state, update, storeMs, known }: OutcomeInput): Applied {
  const told = update?.spent ?? {};
  if (Object.keys(told).length === 0) return { events: [] };
  const { record } = draft;
  const live = record.live.find((each) => each.number === number);
  if (live === undefined) return { events: [] };
  const free = freeBudgets(record);
  const spent = { ...live.spent };
  const beyond: string[] = [];
  const { budgets } = taskOf(record);
  for (const [name, amount] of Object.entries(told)) {
    const before = quantityOf(spent, name);
    const most = before + quantityOf(free, name);
    if (amount > most) beyond.push(name);
    // The record keeps nothing of names that the task has no budget of.
    if (!Object.hasOwn(budgets, name) || (amount <= 0n && before === 0n)) continue;
    let counted = amount;
    if (counted > most) counted = most;
    if (counted < before) counted = before;
    spent[name] = counted;
  }
  const [name] = beyond;
  if (name !== undefined && state === 'accepted')
    return budgetSpent(draft, name, told[name] ?? 0n, quantityOf(live.spent, name), storeMs);
  record.live = record.live.map((each) =>
    each === live ? Object.assign(create(TaskRecord_LiveAttemptSchema), each, { spent }) : each,
  );
  if (name === undefined) return { events: [] };
  const task = taskOf(record);
  const events = [
    {
      type: 'task.overspent',
      severity: Event_Severity.WARNING,
      message: `${known.agentId} says that task ${task.id} has spent ${told[name]} ${name}, more than it had; it counts as ${quantityOf(spent, name)}`,
      actor: `agent:${known.agentId}`,
      agentId: known.agentId,
      attributes: {
        task_id: task.id,
        budget: name,
        told: `${told[name]}`,
        counted: `${quantityOf(spent, name)}`,
      },
    },
  ];
  return { events };
}

/**
 * More is wanted than there is: the task is stopped, or asks for more.
 * @throws DomainError BUDGET_SPENT where there is nothing to be stored
 */
function budgetSpent(draft: Draft, name: string, wanted: bigint, had: bigint, storeMs: number): Applied {
  const { record } = draft;
  const task = taskOf(record);
  const { onBudgetSpent } = specOf(record);
  const left = quantityOf(freeBudgets(record), name);
  const refusal = spentError(task.id, name, left);
  const detail = `its budget ${name} is spent: ${wanted - had} more wanted, ${left} left`;
  if (onBudgetSpent === TaskSpec_OnBudgetSpent.ASK && task.budgetAskedTime === undefined) {
    task.budgetAskedTime = timestampFromMs(storeMs);
    const event: NewEvent = {
      type: 'task.budget_asked',
      severity: Event_Severity.WARNING,
      message: `task ${task.id} asks for more: ${detail}`,
      actor: `agent:${task.agentId}`,
      agentId: task.agentId,
      attributes: { task_id: task.id, budget: name, wanted: `${wanted - had}`, left: `${left}` },
    };
    return { events: [event], refusal };
  }
  if (onBudgetSpent === TaskSpec_OnBudgetSpent.DEGRADE || onBudgetSpent === TaskSpec_OnBudgetSpent.ASK)
    throw refusal;
  finish(draft, Task_State.FAILED, detail, storeMs);
  return { events: [], refusal };
}

export const spentError = (id: string, name: string, left: bigint): DomainError =>
  new DomainError({
    reason: ErrorReason.BUDGET_SPENT,
    message: `task ${id} has ${left} ${name} left`,
    metadata: { budget: name, left: `${left}` },
  });

const NOTHING: TaskEffects = { checks: [] };
