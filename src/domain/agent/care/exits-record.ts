import { fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  type ExitsRecord,
  ExitsRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';

/** "exits/<agent id>": how the agent's process ended the last times. Kept beside the agent, because views hold agents. */
export const exitsKey = (agentId: string): string => `exits/${agentId}`;

export const encodeExits = (record: ExitsRecord): Uint8Array => toBinary(ExitsRecordSchema, record);
export const decodeExits = (bytes: Uint8Array): ExitsRecord => fromBinary(ExitsRecordSchema, bytes);
