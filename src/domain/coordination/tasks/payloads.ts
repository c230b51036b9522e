import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type Payload,
  PayloadSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { TaskSpecSchema } from '../../../../gen/mycosoft/orchestrator/coordination/v1/task_service_pb.ts';
import type { TaskRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../../lib/encode.ts';
import { QUIET_PREFIX, type Store } from '../../../state/store.ts';
import { payloadSize } from '../messages/message-record.ts';
import { specOf, taskOf } from './task-record.ts';

/** Payloads up to here stand in the task itself. */
const INLINE_BYTES = 1024;
export const inputKey = (id: string): string => `${QUIET_PREFIX}taskin/${id}`;
export const outputKey = (id: string): string => `${QUIET_PREFIX}taskout/${id}`;

type Puts = { key: string; value: Uint8Array }[];

/** Takes a large input out of a new task; it is put apart. */
export function inputPuts(record: TaskRecord): Puts {
  const { input } = specOf(record);
  if (input === undefined || payloadSize(input) <= INLINE_BYTES) return [];
  const task = taskOf(record);
  record.inputKey = inputKey(task.id);
  task.spec = Object.assign(create(TaskSpecSchema), task.spec);
  delete task.spec.input;
  return [{ key: record.inputKey, value: encode(PayloadSchema, input) }];
}

/** Puts the output into the task, or apart where it is large. */
export function outputPuts(record: TaskRecord, output: Payload): Puts {
  const task = taskOf(record);
  if (payloadSize(output) <= INLINE_BYTES) {
    task.output = output;
    return [];
  }
  record.outputKey = outputKey(task.id);
  return [{ key: record.outputKey, value: encode(PayloadSchema, output) }];
}

export async function readPayload(
  store: Store,
  namespace: string,
  inline: Payload | undefined,
  key: string,
): Promise<Payload | undefined> {
  if (key === '') return inline;
  const entry = await store.get(namespace, key);
  return entry && fromBinary(PayloadSchema, entry.value);
}
