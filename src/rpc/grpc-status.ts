import type { ServerHttp2Stream } from 'node:http2';
import { Metadata, type ServerInterceptingCallInterface, type StatusObject } from '@grpc/grpc-js';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../lib/errors.ts';
import { deadlineExceeded } from './active-call.ts';
import { Code } from './codes.ts';
import { detailsHeader, encodeStatus, type RpcError, reasonHeader, retryHeader } from './errors.ts';

/** A status with the standard details, and the same in plain trailing metadata. */
export function grpcStatus(error: RpcError): StatusObject {
  const metadata = new Metadata();
  metadata.set(detailsHeader, Buffer.from(encodeStatus(error)));
  metadata.set(reasonHeader, error.reason);
  if (error.retryAfterMs !== undefined) metadata.set(retryHeader, String(error.retryAfterMs));
  return { code: error.code, details: error.message, metadata };
}

type PartialStatus = Parameters<ServerInterceptingCallInterface['sendStatus']>[0];

/** Has a say in the statuses that grpc-js itself sends: oversize messages, bad compression, deadlines. */
export interface StatusOwner {
  /** Replaces a status that grpc-js made up. */
  replaceStatus(error: DomainError): StatusObject;
}

const owner = Symbol('status owner');
interface OwnedCall extends ServerInterceptingCallInterface {
  [owner]: StatusOwner;
}

/**
 * Lets `statusOwner` put our reasons on the statuses that grpc-js makes up, which its interceptors do not see. It
 * shadows the call's public `sendStatus`; should grpc-js stop calling that, only the reasons would be missing.
 */
export function ownStatuses(call: ServerInterceptingCallInterface, statusOwner: StatusOwner): void {
  const owned = call as OwnedCall;
  owned[owner] = statusOwner;
  owned.sendStatus = sendOwnedStatus;
}

/** Statuses of ours have metadata, or are OK; those of grpc-js have none. */
function sendOwnedStatus(this: ServerInterceptingCallInterface, status: PartialStatus): void {
  const original = Object.getPrototypeOf(this) as ServerInterceptingCallInterface;
  const ours = status.code === Code.OK || (status.metadata !== null && status.metadata !== undefined);
  original.sendStatus.call(this, ours ? status : (this as OwnedCall)[owner].replaceStatus(reasonFor(status)));
}

function reasonFor({ code, details }: PartialStatus): DomainError {
  switch (code) {
    case Code.RESOURCE_EXHAUSTED:
      return new DomainError({
        reason: ErrorReason.MESSAGE_TOO_LARGE,
        message: details ?? 'message too large',
      });
    case Code.DEADLINE_EXCEEDED:
      return deadlineExceeded();
    case Code.UNIMPLEMENTED:
      return new DomainError({ reason: ErrorReason.METHOD_NOT_SERVED, message: details ?? 'not served' });
    default:
      // "Failed to decompress message", "Invalid grpc-timeout value": the caller's mistakes, though sent as INTERNAL.
      return new DomainError({
        reason: ErrorReason.MALFORMED_MESSAGE,
        message: details ?? 'the request cannot be read',
      });
  }
}

/**
 * Resets a stream: whose client does not read, so that what is queued for it is released; or whose client does not
 * end its side. grpc-js has no public way; tests notice should its `stream` field go.
 */
export function resetStream(call: ServerInterceptingCallInterface, code: number): void {
  streamOf(call)?.close(code);
}

/** GOAWAY: calls under way go on, new ones need another connection, and this one closes with its last call. */
export function retireConnection(call: ServerInterceptingCallInterface): void {
  const session = streamOf(call)?.session;
  if (session !== undefined && !session.closed) session.close();
}

/** Whether both sides of the call's stream are closed. */
export function isStreamClosed(call: ServerInterceptingCallInterface): boolean {
  const stream = streamOf(call);
  return stream === undefined || stream.closed || stream.destroyed;
}

function streamOf(call: ServerInterceptingCallInterface): ServerHttp2Stream | undefined {
  return (call as unknown as { stream?: ServerHttp2Stream }).stream;
}
