import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  type GoAway_Reason,
  type OpenSessionResponse,
  OpenSessionResponseSchema,
  WelcomeSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { encode } from '../../lib/encode.ts';
import { durationFromMs } from '../../lib/proto-time.ts';

export const encodeFrame = (frame: OpenSessionResponse): Uint8Array =>
  encode(OpenSessionResponseSchema, frame);

export function pingFrame(
  echo: number,
  fullReport: boolean,
  leaseMs: number | undefined,
): OpenSessionResponse {
  const lease = leaseMs === undefined ? {} : { lease: durationFromMs(leaseMs) };
  return create(OpenSessionResponseSchema, {
    frame: { case: 'ping', value: { echo: BigInt(echo), fullReport, ...lease } },
  });
}

/** Bytes of OpenSessionResponse{ping{echo}}: field 2 (length 9), in it field 1 as fixed64, little-endian. */
const PING_HEAD = [0x12, 0x09, 0x09] as const;
const PING_LENGTH = 11;

/** The ping that is sent thousands of times a second, without building a message for it. */
export function encodePlainPing(echo: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(PING_LENGTH);
  bytes[0] = PING_HEAD[0];
  bytes[1] = PING_HEAD[1];
  bytes[2] = PING_HEAD[2];
  bytes.writeUInt32LE(echo % 0x1_0000_0000, 3);
  bytes.writeUInt32LE(Math.floor(echo / 0x1_0000_0000), 7);
  return bytes;
}

export function goAwayFrame(
  reason: GoAway_Reason,
  detail: string,
  reconnectAfterMs: number | undefined,
): OpenSessionResponse {
  const after = reconnectAfterMs === undefined ? {} : { reconnectAfter: durationFromMs(reconnectAfterMs) };
  return create(OpenSessionResponseSchema, {
    frame: { case: 'goAway', value: { reason, detail, ...after } },
  });
}

export function welcomeFrame(welcome: MessageInitShape<typeof WelcomeSchema>): OpenSessionResponse {
  return create(OpenSessionResponseSchema, {
    frame: { case: 'welcome', value: create(WelcomeSchema, welcome) },
  });
}

/** Bytes of OpenSessionResponse{result{frame_id}}: fields 5 and 1. The id is visible ASCII of at most 128 characters. */
export function encodeStored(frameId: string): Uint8Array {
  const { length } = frameId;
  // Lengths of two bytes begin at 128.
  if (length > 125) return encodeFrame(resultFrame(frameId, undefined));
  const bytes = Buffer.allocUnsafe(length + 4);
  bytes[0] = 0x2a;
  bytes[1] = length + 2;
  bytes[2] = 0x0a;
  bytes[3] = length;
  bytes.write(frameId, 4, 'latin1');
  return bytes;
}

/** How a domain error looks in a result frame; the one error mapper gives it. */
export interface WireError {
  code: number;
  reason: string;
  detail: string;
  retryAfterMs: number | undefined;
}

/** Without an error: the frame's effect is stored. */
export function resultFrame(frameId: string, error: WireError | undefined): OpenSessionResponse {
  const retry = error?.retryAfterMs === undefined ? {} : { retryAfter: durationFromMs(error.retryAfterMs) };
  const { code = 0, reason = '', detail = '' } = error ?? {};
  return create(OpenSessionResponseSchema, {
    frame: { case: 'result', value: { frameId, code, reason, detail, ...retry } },
  });
}
