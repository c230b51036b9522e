import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type TaskSpec,
  TaskSpec_OnBudgetSpent,
  TaskSpec_OnLoss,
  TaskSpec_Winner,
  TaskSpecSchema,
} from '../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { PlacementSchema } from '../../gen/mycosoft/orchestrator/resource/v1/placement_pb.ts';
import { type Content, toPayload } from './payloads.ts';
import { type Amounts, bigintsOf } from './task.ts';
import { toDuration } from './time.ts';

/** What is to be done. Each field as documented at TaskSpec in task_service.proto. */
export interface TaskRequest {
  /** The capability that its agent must have. */
  capability: string;
  /** At most 64 KiB. A string travels as text, a Uint8Array as bytes, anything else as JSON. */
  input?: Content | object;
  /** The input's media type; default: by its kind. */
  contentType?: string;
  /** Its id; default: the service makes one. The same id with the same request is the same task. */
  id?: string;
  /** Which agents may have it, and which is best. */
  placement?: MessageInitShape<typeof PlacementSchema>;
  /** What is reserved of its agent; default: one of "slots". */
  resources?: Amounts;
  /** What it may spend. */
  budgets?: Amounts;
  /** -100 to 100; of its owner's tasks that wait the higher comes first. */
  priority?: number;
  /** It is timed out when it has not ended so long after its submission. */
  deadlineMs?: number;
  /** An attempt that runs for longer has failed. */
  attemptTimeoutMs?: number;
  retry?: { maxAttempts?: number; minBackoffMs?: number; maxBackoffMs?: number };
  /** What happens when the agent that has it is lost; default: it goes to another one. */
  onLoss?: 'replace' | 'wait' | 'reconcile';
  /** With "wait": how long. */
  waitForAgentMs?: number;
  /** With "reconcile": whose attempt goes on. */
  winner?: 'first_result' | 'original' | 'replacement';
  /** Of one key one task runs at a time, in the order of submission. */
  orderingKey?: string;
  /** The task that it is a part of. */
  parentTaskId?: string;
  /** What happens when it wants to spend more than it has; default: it has failed. */
  onBudgetSpent?: 'stop' | 'degrade' | 'ask';
  /** "owner" says whose quota and share it is. */
  labels?: Readonly<Record<string, string>>;
  /** Whether it may be moved to another agent while it runs. */
  movable?: boolean;
  /** How long an agent may take to accept it. */
  acceptWithinMs?: number;
}

const LOSS = {
  replace: TaskSpec_OnLoss.REPLACE,
  wait: TaskSpec_OnLoss.WAIT,
  reconcile: TaskSpec_OnLoss.RECONCILE,
} as const;
const WINNER = {
  first_result: TaskSpec_Winner.FIRST_RESULT,
  original: TaskSpec_Winner.ORIGINAL,
  replacement: TaskSpec_Winner.REPLACEMENT,
} as const;
const BUDGET = {
  stop: TaskSpec_OnBudgetSpent.STOP,
  degrade: TaskSpec_OnBudgetSpent.DEGRADE,
  ask: TaskSpec_OnBudgetSpent.ASK,
} as const;

/** @throws TypeError where the input is no content; RangeError on amounts that are no whole numbers of 0 or more */
export function toTaskSpec(task: TaskRequest): TaskSpec {
  const { placement, retry, onLoss, winner, onBudgetSpent } = task;
  const input = toPayload(task.input, task.contentType);
  return create(TaskSpecSchema, {
    capability: task.capability,
    resources: bigintsOf(task.resources ?? {}, 'resources'),
    budgets: bigintsOf(task.budgets ?? {}, 'budgets'),
    priority: task.priority ?? 0,
    orderingKey: task.orderingKey ?? '',
    parentTaskId: task.parentTaskId ?? '',
    labels: { ...task.labels },
    movable: task.movable ?? false,
    ...(input && { input }),
    ...(placement && { placement }),
    ...(onLoss && { onLoss: LOSS[onLoss] }),
    ...(winner && { winner: WINNER[winner] }),
    ...(onBudgetSpent && { onBudgetSpent: BUDGET[onBudgetSpent] }),
    ...duration('deadline', task.deadlineMs),
    ...duration('attemptTimeout', task.attemptTimeoutMs),
    ...duration('waitForAgent', task.waitForAgentMs),
    ...duration('acceptWithin', task.acceptWithinMs),
    ...(retry && {
      retry: {
        maxAttempts: retry.maxAttempts ?? 0,
        ...duration('minBackoff', retry.minBackoffMs),
        ...duration('maxBackoff', retry.maxBackoffMs),
      },
    }),
  });
}

const duration = <K extends string>(name: K, ms: number | undefined) =>
  ms === undefined ? {} : { [name]: toDuration(ms) };
