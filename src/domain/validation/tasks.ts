import type { Payload } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  BatchSubmitTasksRequestSchema,
  CancelTaskRequestSchema,
  ExplainTaskRequestSchema,
  GetTaskRequestSchema,
  GrantTaskBudgetRequestSchema,
  ListTasksRequestSchema,
  type RetryPolicy,
  RetryPolicySchema,
  type SubmitTaskRequest,
  SubmitTaskRequestSchema,
  Task_StateSchema,
  type TaskFilter,
  TaskFilterSchema,
  type TaskSpec,
  TaskSpec_OnBudgetSpentSchema,
  TaskSpec_OnLoss,
  TaskSpec_OnLossSchema,
  TaskSpec_Winner,
  TaskSpec_WinnerSchema,
  TaskSpecSchema,
  WatchTasksRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import { msFromDuration } from '../../lib/proto-time.ts';
import type { Violations } from '../../lib/violations.ts';
import { labelSelector } from './agent-filter.ts';
import { capabilityName } from './agent-spec.ts';
import { payload, payloadBytes } from './frames.ts';
import { labels } from './labels.ts';
import { atMost, between, duration, known, notNegative } from './numbers.ts';
import { cursorOfNamespace, pageToken, type RequestRule, request } from './request-rules.ts';
import { budgets, optionalTaskId, owner, placement, quantities } from './resources.ts';
import { anything, list, message, optional, type Rule, required } from './rules.ts';
import { name, namespace, optionalAgentId, prose, requestId, visible } from './text.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3600 * SECOND_MS;
const DAY_MS = 24 * HOUR_MS;
const MAX_INPUT_BYTES = 65_536;
const MAX_BATCH = 1_000;

const taskId = name(64, 'refused');

const input: Rule<Payload> = (violations, given) => {
  payload(violations, given);
  const bytes = payloadBytes(given);
  if (bytes > MAX_INPUT_BYTES) {
    violations.add(`has ${bytes} bytes; at most ${MAX_INPUT_BYTES} are allowed`);
  }
};

const retryPolicy: Rule<RetryPolicy> = message(
  RetryPolicySchema,
  {
    maxAttempts: atMost(1000),
    minBackoff: duration({ minMs: 0, maxMs: DAY_MS, range: '0 to 1 day' }),
    maxBackoff: duration({ minMs: 0, maxMs: 30 * DAY_MS, range: '0 to 30 days' }),
  },
  (violations, { minBackoff, maxBackoff }) => {
    if (minBackoff === undefined || maxBackoff === undefined) return;
    if (msFromDuration(maxBackoff) < msFromDuration(minBackoff)) {
      violations.addAt('max_backoff', 'must not be shorter than min_backoff');
    }
  },
);

const lasting = duration({ minMs: 100, maxMs: 365 * DAY_MS, range: '100 ms to 365 days' });

const spec: Rule<TaskSpec> = message(
  TaskSpecSchema,
  {
    capability: capabilityName,
    input: optional(input),
    placement: optional(placement),
    resources: quantities,
    budgets,
    priority: between(-100, 100),
    deadline: lasting,
    attemptTimeout: lasting,
    retry: optional(retryPolicy),
    onLoss: known(TaskSpec_OnLossSchema, 'allowed'),
    waitForAgent: duration({ minMs: SECOND_MS, maxMs: 30 * DAY_MS, range: '1 s to 30 days' }),
    winner: known(TaskSpec_WinnerSchema, 'allowed'),
    orderingKey: visible(128, 'allowed'),
    parentTaskId: optionalTaskId,
    onBudgetSpent: known(TaskSpec_OnBudgetSpentSchema, 'allowed'),
    labels,
    movable: anything,
    acceptWithin: duration({ minMs: 100, maxMs: HOUR_MS, range: '100 ms to 1 h' }),
  },
  (violations, { onLoss, waitForAgent, winner }) => {
    if (waitForAgent !== undefined && onLoss !== TaskSpec_OnLoss.WAIT) {
      violations.addAt('wait_for_agent', 'is allowed with ON_LOSS_WAIT only');
    }
    if (winner !== TaskSpec_Winner.UNSPECIFIED && onLoss !== TaskSpec_OnLoss.RECONCILE) {
      violations.addAt('winner', 'is allowed with ON_LOSS_RECONCILE only');
    }
  },
);

const submitFields = {
  namespace,
  taskId: optionalTaskId,
  spec: required(spec),
  sessionEpoch: anything,
  mustFit: anything,
  requestId,
};

const notItsOwnParent: Rule<SubmitTaskRequest> = (violations, { taskId: id, spec: given }) => {
  if (id === '' || given?.parentTaskId !== id) return;
  violations.enter('spec');
  violations.addAt('parent_task_id', 'is the task itself; must be another one');
  violations.leave();
};

const submission = message(SubmitTaskRequestSchema, submitFields, notItsOwnParent);
const submissions = list({ max: MAX_BATCH, item: submission });

/** Repeats of an id; those that are left to the service are no repeats. */
function refuseRepeatedIds(violations: Violations, tasks: readonly SubmitTaskRequest[]): void {
  const first = new Map<string, number>();
  tasks.slice(0, MAX_BATCH).forEach(({ taskId: id }, index) => {
    if (id === '') return;
    const earlier = first.get(id);
    if (earlier === undefined) {
      first.set(id, index);
      return;
    }
    violations.enter(index);
    violations.addAt('task_id', `repeats that of entry ${earlier}; ids must be distinct`);
    violations.leave();
  });
}

const filter: Rule<TaskFilter> = message(TaskFilterSchema, {
  states: list({ max: 16, item: known(Task_StateSchema, 'refused') }),
  capabilities: list({ max: 32, item: capabilityName }),
  agentId: optionalAgentId,
  owner: optional(owner),
  parentTaskId: optionalTaskId,
  labelSelector,
});

/** The rules of requests about tasks. */
export const taskRules: readonly RequestRule[] = [
  request(SubmitTaskRequestSchema, submitFields, notItsOwnParent),
  request(
    BatchSubmitTasksRequestSchema,
    { namespace, tasks: submissions, sessionEpoch: anything, requestId },
    (violations, batch) => {
      violations.enter('tasks');
      if (batch.tasks.length === 0) violations.add('must not be empty');
      batch.tasks.slice(0, MAX_BATCH).forEach((task, index) => {
        violations.enter(index);
        if (task.namespace !== '' && task.namespace !== (batch.namespace || 'default')) {
          violations.addAt('namespace', 'differs from that of the batch; leave it empty');
        }
        if (task.requestId !== '' && task.requestId !== batch.requestId) {
          violations.addAt('request_id', 'differs from that of the batch; leave it empty');
        }
        if (task.sessionEpoch !== 0n && task.sessionEpoch !== batch.sessionEpoch) {
          violations.addAt('session_epoch', 'differs from that of the batch; leave it 0');
        }
        violations.leave();
      });
      refuseRepeatedIds(violations, batch.tasks);
      violations.leave();
    },
  ),
  request(GetTaskRequestSchema, {
    namespace,
    taskId,
    wait: duration({ minMs: 0, maxMs: HOUR_MS, range: '0 to 1 h' }),
    withInput: anything,
    minRevision: notNegative,
  }),
  request(ListTasksRequestSchema, {
    namespace,
    filter: optional(filter),
    pageSize: notNegative,
    pageToken,
    minRevision: notNegative,
  }),
  request(
    WatchTasksRequestSchema,
    {
      namespace,
      filter: optional(filter),
      taskId: optionalTaskId,
      cursor: anything,
      progressInterval: duration({ minMs: 200, maxMs: HOUR_MS, range: '200 ms to 1 h' }),
    },
    cursorOfNamespace,
  ),
  request(CancelTaskRequestSchema, { namespace, taskId, reason: prose(1024), requestId }),
  request(ExplainTaskRequestSchema, { namespace, taskId }),
  request(
    GrantTaskBudgetRequestSchema,
    { namespace, taskId, budgets, requestId },
    (violations, { budgets: more }) => {
      if (Object.keys(more).length === 0) violations.addAt('budgets', 'must not be empty');
    },
  ),
];
