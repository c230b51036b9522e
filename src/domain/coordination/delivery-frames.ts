import { create } from '@bufbuild/protobuf';
import { WorkSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeliverySchema,
  MessageSchema,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  type Payload,
  RevokeSchema,
  TaskSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { DeliveryRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { durationFromMs, msFromTimestamp } from '../../lib/proto-time.ts';
import { acceptWithinMs } from './delivery-rules.ts';
import { isShared, orderingKeyOf } from './messages/message-record.ts';

/** The frame that hands a delivery over. Points in time become what is left of them: agents' clocks are off. */
export function deliveryFrame(
  record: DeliveryRecord,
  storeMs: number,
  payload?: Payload,
): OpenSessionResponse {
  const delivery = create(DeliverySchema, {
    work: create(WorkSchema, { deliveryId: record.id, attempt: record.attempt }),
    acceptWithin: durationFromMs(acceptWithinMs(record)),
    traceparent: record.traceparent,
    tracestate: record.tracestate,
  });
  delivery.item = record.item;
  delivery.wantsAnswer = record.wantsAnswer;
  if (record.item.case === 'message') {
    const key = orderingKeyOf(record);
    if (key !== record.item.value.source) delivery.orderingKey = key;
    delivery.topic = record.topic;
    delivery.shared = isShared(record);
  }
  if (payload !== undefined && record.item.case === 'message') {
    const message = Object.assign(create(MessageSchema), record.item.value, { data: payload });
    delivery.item = { case: 'message', value: message };
  }
  if (payload !== undefined && record.item.case === 'task') {
    const task = Object.assign(create(TaskSchema), record.item.value, { input: payload });
    delivery.item = { case: 'task', value: task };
  }
  const endTime = record.workDeadlineTime ?? record.expireTime;
  if (endTime !== undefined) {
    delivery.timeLeft = durationFromMs(Math.max(0, msFromTimestamp(endTime) - storeMs));
  }
  return create(OpenSessionResponseSchema, { frame: { case: 'delivery', value: delivery } });
}

/** The frame that takes an attempt back. */
export function revokeFrame(deliveryId: string, attempt: bigint, reason: string): OpenSessionResponse {
  const work = create(WorkSchema, { deliveryId, attempt });
  return create(OpenSessionResponseSchema, {
    frame: { case: 'revoke', value: create(RevokeSchema, { work, reason }) },
  });
}
