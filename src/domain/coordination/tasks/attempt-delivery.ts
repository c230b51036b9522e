import { create } from '@bufbuild/protobuf';
import { TaskSchema as WorkTaskSchema } from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  type DeliveryRecord,
  DeliveryRecordSchema,
  type TaskRecord,
  type TaskRecord_LiveAttempt,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { durationFromMs, msFromDuration, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import { DELIVERY_FORMAT, encodeDelivery, mailKey } from '../delivery-record.ts';
import { nextOfTask } from '../delivery-rules.ts';
import { specOf, sum, taskOf } from './task-record.ts';

/** An attempt is handed out once: one that nobody answers goes to another agent. */
const MAX_TRIES = 1;

export interface AttemptDeliveryOptions {
  record: TaskRecord;
  live: TaskRecord_LiveAttempt;
  storeMs: number;
  /** Of the agent that has a session: the first hand-out is for that. */
  sessionEpoch: bigint | undefined;
  storeEpoch: bigint;
  acceptWithinMs: number;
}

/** What goes into the agent's mailbox for an attempt. */
export function attemptDelivery(options: AttemptDeliveryOptions): { key: string; value: Uint8Array } {
  const { record, live, storeMs, sessionEpoch } = options;
  const task = taskOf(record);
  const spec = specOf(record);
  const work = create(WorkTaskSchema);
  work.id = task.id;
  work.capability = spec.capability;
  work.granted = live.resources;
  work.budgets = task.budgets;
  work.spent = sum(task.spent, record.childrenSpent);
  work.attempt = live.number;
  work.parentTaskId = spec.parentTaskId;
  work.labels = spec.labels;
  if (spec.input !== undefined) work.input = spec.input;
  const delivery: DeliveryRecord = create(DeliveryRecordSchema);
  delivery.format = DELIVERY_FORMAT;
  delivery.id = live.deliveryId;
  delivery.agentId = live.agentId;
  delivery.createTime = timestampFromMs(storeMs);
  delivery.acceptWithin = spec.acceptWithin ?? durationFromMs(options.acceptWithinMs);
  delivery.maxTries = MAX_TRIES;
  delivery.actor = task.actor;
  delivery.traceparent = record.traceparent;
  delivery.tracestate = record.tracestate;
  delivery.payloadKey = record.inputKey;
  // Its capability stays out: a message for a capability goes to another agent by itself, an attempt does not.
  delivery.item = { case: 'task', value: work };
  const endMs = workEndMs(record, storeMs);
  if (endMs !== undefined) delivery.workDeadlineTime = timestampFromMs(endMs);
  if (sessionEpoch !== undefined) {
    delivery.attempt = nextOfTask(0n, live.number, options.storeEpoch);
    delivery.sessionEpoch = sessionEpoch;
  }
  return { key: mailKey(live.agentId, live.deliveryId), value: encodeDelivery(delivery) };
}

/** By when the agent is to be done, as it is told. */
function workEndMs(record: TaskRecord, storeMs: number): number | undefined {
  const { deadlineTime } = taskOf(record);
  const { attemptTimeout } = specOf(record);
  const deadlineMs = deadlineTime === undefined ? Number.POSITIVE_INFINITY : msFromTimestamp(deadlineTime);
  const attemptMs =
    attemptTimeout === undefined ? Number.POSITIVE_INFINITY : storeMs + msFromDuration(attemptTimeout);
  const endMs = Math.min(deadlineMs, attemptMs);
  return endMs === Number.POSITIVE_INFINITY ? undefined : endMs;
}
