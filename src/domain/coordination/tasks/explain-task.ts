import { create } from '@bufbuild/protobuf';
import type { Observation } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ExplainTaskRequest,
  type ExplainTaskResponse,
  ExplainTaskResponseSchema,
  type Task,
  Task_State,
  TaskAttempt_State,
} from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import {
  PendingReason,
  type PlacementExplanation,
  PlacementExplanationSchema,
  QuotaHitSchema,
} from '../../../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import type { Store } from '../../../state/store.ts';
import type { StoreTime } from '../../../state/store-time.ts';
import type { Views } from '../../../state/views.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { namespaceOf } from '../../namespaces.ts';
import type { Deliveries } from '../deliveries.ts';
import type { Mailboxes } from '../mailboxes.ts';
import { itemOfTask } from './items.ts';
import { comesBefore } from './line.ts';
import { loadTask } from './load-task.ts';
import type { Scheduling } from './scheduling.ts';
import { wantsAttempt } from './task-dues.ts';
import { taskNotFound } from './task-errors.ts';
import { stateName } from './task-events.ts';
import type { TaskReader } from './task-reader.ts';
import { hasEnded, type KnownTask, taskKey } from './task-record.ts';
import type { Item } from './waiting.ts';

export interface ExplainTaskOptions {
  store: Store;
  storeTime: StoreTime;
  views: Pick<Views, 'position'>;
  directory: AgentDirectory;
  mailboxes: Mailboxes;
  deliveries: Pick<Deliveries, 'isWithAgent'>;
  reader: TaskReader;
  scheduling: Scheduling;
  observed(known: KnownAgent): Observation | undefined;
  agingMs: number;
}

/** Tells why a task is where it is. */
export class ExplainTask {
  readonly #options: ExplainTaskOptions;

  constructor(options: ExplainTaskOptions) {
    this.#options = options;
  }

  /** @throws DomainError TASK_NOT_FOUND; StoreUnavailableError */
  async explain(request: ExplainTaskRequest): Promise<ExplainTaskResponse> {
    const { store, reader, views } = this.#options;
    const namespace = namespaceOf(request);
    const known = await loadTask(store, namespace, request.taskId);
    if (known === undefined) throw taskNotFound(namespace, request.taskId);
    const task = reader.show(known);
    const response = create(ExplainTaskResponseSchema, {
      task,
      summary: summaryOf(task),
      revision: views.position(namespace).revision,
    });
    if (hasEnded(known.record)) return response;
    if (wantsAttempt(known.record)) this.#addPlacement(response, known);
    else this.#addDelivery(response, known);
    return response;
  }

  /** Where something would go, with the quotas that are in the way. */
  placement(namespace: string, item: Item): PlacementExplanation {
    const { scheduling, storeTime } = this.#options;
    const { ledger, scheduler } = {
      ledger: scheduling.ledger(namespace),
      scheduler: scheduling.scheduler(namespace),
    };
    const nowMs = storeTime.ms();
    const explanation = Object.assign(create(PlacementExplanationSchema), scheduler.explanation(item, nowMs));
    const hits = ledger.accounts.hits(item.hold, nowMs);
    explanation.quotas = hits.map(({ kind: _, ...hit }) => create(QuotaHitSchema, hit));
    const why = scheduler.why(item, nowMs);
    if (why.reason !== PendingReason.TURN) {
      explanation.placeable = false;
      explanation.agentId = '';
      explanation.reason = why.reason;
      explanation.detail = why.detail;
    }
    return explanation;
  }

  #addPlacement(response: ExplainTaskResponse, known: KnownTask): void {
    const { scheduling, agingMs } = this.#options;
    const { waiting } = scheduling.scheduler(known.namespace);
    const item = waiting.get(taskKey(known.id)) ?? itemOfTask(known, agingMs);
    response.placement = this.placement(known.namespace, item);
    for (const group of waiting.groupsFor(item.want.capability)) {
      for (const lane of group.lanes.values()) {
        if (lane.owner !== item.owner) response.waitingOfOthers += lane.line.size;
        else for (const other of lane.line) if (comesBefore(other, item)) response.aheadOfOwner += 1;
      }
    }
  }

  #addDelivery(response: ExplainTaskResponse, { namespace, record }: KnownTask): void {
    const { mailboxes, deliveries, directory, observed } = this.#options;
    const words: string[] = [];
    for (const { agentId, deliveryId, number } of record.live) {
      const mail = mailboxes.get(namespace, agentId, deliveryId);
      const agent = directory.get(namespace, agentId);
      const where =
        mail === undefined
          ? 'is not in its mailbox'
          : mail.record.accepted
            ? 'was accepted'
            : deliveries.isWithAgent(mail)
              ? 'was handed out and is not answered yet'
              : 'waits in its mailbox, or is with the replica that holds its session';
      words.push(`attempt ${number} on ${agentId} ${where}`);
      const progress = (agent && observed(agent))?.report?.progress ?? [];
      response.progress.push(...progress.filter(({ work }) => work?.deliveryId === deliveryId));
    }
    response.delivery = words.join('; ');
  }
}

function summaryOf(task: Task): string {
  const { state, pending, agentId, attemptCount, error } = task;
  switch (state) {
    case Task_State.PENDING:
      return `It waits: ${pending?.detail ?? 'nobody has looked at it yet'}.`;
    case Task_State.ASSIGNED:
      return `It is offered to ${agentId}, as attempt ${attemptCount}.`;
    case Task_State.RUNNING: {
      const lost = task.attempts.filter((each) => each.state === TaskAttempt_State.AGENT_LOST).length;
      const before = lost === 0 ? '' : `; ${lost} earlier attempts lost their agents`;
      return `It runs on ${agentId}, as attempt ${attemptCount}${before}.`;
    }
    case Task_State.SUCCEEDED:
      return `It succeeded on ${agentId}, in attempt ${attemptCount}.`;
    default:
      return `It has ended (${stateName(state)}): ${error}.`;
  }
}
