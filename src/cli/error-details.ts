import type { ConnectError } from '@connectrpc/connect';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { durationMs } from './output/time.ts';

/** What the standard google.rpc details of an error say. */
export interface ErrorDetails {
  /** ErrorInfo.reason, also in the trailing metadata "error-reason"; empty if neither is there. */
  reason: string;
  metadata: Readonly<Record<string, string>>;
  violations: readonly { field: string; description: string }[];
  retryAfterMs: number | undefined;
}

export function readErrorDetails(error: ConnectError): ErrorDetails {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    reason: info?.reason || (error.metadata.get('error-reason') ?? ''),
    metadata: info?.metadata ?? {},
    violations: error.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations),
    retryAfterMs: delay === undefined ? undefined : durationMs(delay),
  };
}
