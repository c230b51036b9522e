import {
  create,
  type DescEnumValue,
  type DescMessage,
  type Message,
  type MessageInitShape,
  toBinary,
} from '@bufbuild/protobuf';
import { anyPack } from '@bufbuild/protobuf/wkt';
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../gen/google/rpc/error_details_pb.ts';
import { StatusSchema } from '../../gen/google/rpc/status_pb.ts';
import { ErrorReason, ErrorReasonSchema } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError, type DomainErrorOptions, type FieldViolation } from '../lib/errors.ts';
import type { Ids } from '../lib/ids.ts';
import type { Logger } from '../lib/logger.ts';
import { durationFromMs } from '../lib/proto-time.ts';
import { StoreFullError, StoreUnavailableError } from '../state/store.ts';
import { Code } from './codes.ts';

/** ErrorInfo.domain of every error of this service. */
export const errorDomain = 'orchestrator.mycosoft.dev';

/** Plain trailing metadata, for clients that cannot read details. */
export const reasonHeader = 'error-reason';
export const retryHeader = 'retry-after-ms';
export const detailsHeader = 'grpc-status-details-bin';

/** The one table from reasons to codes; the comments in error_reason.proto say the same. */
const codes: Record<Exclude<ErrorReason, typeof ErrorReason.UNSPECIFIED>, Code> = {
  [ErrorReason.INVALID_FIELDS]: Code.INVALID_ARGUMENT,
  [ErrorReason.MALFORMED_MESSAGE]: Code.INVALID_ARGUMENT,
  [ErrorReason.REQUEST_ID_REUSED]: Code.INVALID_ARGUMENT,
  [ErrorReason.AGENT_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.AGENT_LIVE]: Code.ALREADY_EXISTS,
  [ErrorReason.TOKEN_INVALID]: Code.UNAUTHENTICATED,
  [ErrorReason.REVISION_MISMATCH]: Code.ABORTED,
  [ErrorReason.SESSION_SUPERSEDED]: Code.ABORTED,
  [ErrorReason.EPOCH_STALE]: Code.ABORTED,
  [ErrorReason.AGENT_STOPPED]: Code.FAILED_PRECONDITION,
  [ErrorReason.PROTOCOL_VIOLATION]: Code.INVALID_ARGUMENT,
  [ErrorReason.UNKNOWN_FRAME]: Code.INVALID_ARGUMENT,
  [ErrorReason.CURSOR_COMPACTED]: Code.OUT_OF_RANGE,
  [ErrorReason.CURSOR_EPOCH]: Code.OUT_OF_RANGE,
  [ErrorReason.SLOW_CONSUMER]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.LIMIT_REACHED]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.MESSAGE_TOO_LARGE]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.STORE_UNAVAILABLE]: Code.UNAVAILABLE,
  [ErrorReason.OUTCOME_UNKNOWN]: Code.UNAVAILABLE,
  [ErrorReason.STORE_FULL]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.SHUTTING_DOWN]: Code.UNAVAILABLE,
  [ErrorReason.REVISION_NOT_SEEN]: Code.UNAVAILABLE,
  [ErrorReason.CAPABILITY_DISABLED]: Code.UNIMPLEMENTED,
  [ErrorReason.INTERNAL]: Code.INTERNAL,
  [ErrorReason.CONTENTION]: Code.ABORTED,
  [ErrorReason.DELIVERY_UNKNOWN]: Code.NOT_FOUND,
  [ErrorReason.NOT_RESPONSIBLE]: Code.FAILED_PRECONDITION,
  [ErrorReason.DEADLINE_EXCEEDED]: Code.DEADLINE_EXCEEDED,
  [ErrorReason.CANCELLED]: Code.CANCELLED,
  [ErrorReason.METHOD_NOT_SERVED]: Code.UNIMPLEMENTED,
  [ErrorReason.SERVICE_UNKNOWN]: Code.NOT_FOUND,
  [ErrorReason.PHASE_REFUSED]: Code.FAILED_PRECONDITION,
  [ErrorReason.NOBODY_THERE]: Code.FAILED_PRECONDITION,
  [ErrorReason.MAILBOX_FULL]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.ATTEMPT_STALE]: Code.ABORTED,
  [ErrorReason.NOTHING_TO_CONFIRM]: Code.FAILED_PRECONDITION,
  [ErrorReason.STATE_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.LOCK_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.LOCK_HELD]: Code.DEADLINE_EXCEEDED,
  [ErrorReason.LOCK_LOST]: Code.ABORTED,
  [ErrorReason.NO_RECEIVER]: Code.NOT_FOUND,
  [ErrorReason.RECEIVER_GONE]: Code.UNAVAILABLE,
  [ErrorReason.CALL_FAILED]: Code.FAILED_PRECONDITION,
  [ErrorReason.SUBSCRIPTION_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.DEAD_LETTER_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.OPERATION_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.OPERATION_STATE_REFUSED]: Code.FAILED_PRECONDITION,
  [ErrorReason.LINK_MUTED]: Code.FAILED_PRECONDITION,
  [ErrorReason.LINK_THROTTLED]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.LINK_POLICY_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.TASK_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.TASK_EXISTS]: Code.ALREADY_EXISTS,
  [ErrorReason.TASK_ENDED]: Code.FAILED_PRECONDITION,
  [ErrorReason.UNPLACEABLE]: Code.FAILED_PRECONDITION,
  [ErrorReason.BUDGET_SPENT]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.BUDGET_UNKNOWN]: Code.FAILED_PRECONDITION,
  [ErrorReason.ALLOCATION_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.ALLOCATION_ENDED]: Code.FAILED_PRECONDITION,
  [ErrorReason.NO_ROOM]: Code.RESOURCE_EXHAUSTED,
  [ErrorReason.QUOTA_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.QUOTA_IN_USE]: Code.FAILED_PRECONDITION,
  [ErrorReason.PLAN_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.PLAN_STALE]: Code.ABORTED,
  [ErrorReason.NO_SCHEDULER]: Code.UNAVAILABLE,
  [ErrorReason.ALLOCATION_EXISTS]: Code.ALREADY_EXISTS,
  [ErrorReason.ALERT_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.ALERT_STATE_REFUSED]: Code.FAILED_PRECONDITION,
  [ErrorReason.SILENCE_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.EVENT_NOT_FOUND]: Code.NOT_FOUND,
  [ErrorReason.RANGE_TOO_LARGE]: Code.INVALID_ARGUMENT,
};

/** The status code of a reason; INTERNAL for one that this version does not know. */
export function codeOf(reason: number): Code {
  return (codes as Record<number, Code>)[reason] ?? Code.INTERNAL;
}

/** The name of a reason as it stands in ErrorInfo: "AGENT_NOT_FOUND". */
export function reasonName(reason: number): string {
  return (
    (ErrorReasonSchema.value as Record<number, DescEnumValue | undefined>)[reason]?.localName ?? 'INTERNAL'
  );
}

/** A detail in the form that both bindings take: its schema and how to make it. */
export interface ErrorDetail<S extends DescMessage = DescMessage> {
  desc: S;
  value: MessageInitShape<S>;
}

/** An error as callers see it; nothing in it is secret. */
export interface RpcError {
  code: Code;
  reason: string;
  message: string;
  retryAfterMs: number | undefined;
  details: readonly ErrorDetail[];
}

/**
 * Details travel in response headers, of which gRPC's C core (Python, Ruby, C++) takes 8 KiB by default. So texts
 * are cut, and violations that do not fit are counted instead of named.
 */
const maxMessageChars = 600;
const maxViolationBytes = 2_500;
const maxMetadata = { entries: 16, keyChars: 64, valueChars: 256 };

function describe(options: DomainErrorOptions): RpcError {
  const reason = reasonName(options.reason);
  const entries = Object.entries(options.metadata ?? {}).slice(0, maxMetadata.entries);
  const metadata = Object.fromEntries(
    entries.map(([key, value]) => [cut(key, maxMetadata.keyChars), cut(value, maxMetadata.valueChars)]),
  );
  const details: ErrorDetail[] = [detail(ErrorInfoSchema, { reason, domain: errorDomain, metadata })];
  if (options.violations !== undefined && options.violations.length > 0) {
    details.push(detail(BadRequestSchema, { fieldViolations: fitting(options.violations) }));
  }
  const retryAfterMs =
    options.retryAfterMs === undefined ? undefined : Math.max(0, Math.ceil(options.retryAfterMs));
  if (retryAfterMs !== undefined) {
    details.push(detail(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) }));
  }
  return {
    code: codeOf(options.reason),
    reason,
    message: cut(options.message, maxMessageChars),
    retryAfterMs,
    details,
  };
}

function fitting(violations: readonly FieldViolation[]): FieldViolation[] {
  const kept: FieldViolation[] = [];
  let bytes = 0;
  for (const violation of violations) {
    const field = cut(violation.field, 128);
    const description = cut(violation.description, 256);
    bytes += Buffer.byteLength(field) + Buffer.byteLength(description) + 6;
    if (bytes > maxViolationBytes) {
      kept.push({
        field: '',
        description: `${violations.length - kept.length} more fields break their rules`,
      });
      break;
    }
    kept.push({ field, description });
  }
  return kept;
}

function detail<S extends DescMessage>(desc: S, value: MessageInitShape<S>): ErrorDetail {
  return { desc, value } as unknown as ErrorDetail;
}

/** Shortens, and repairs lone surrogates (grpc-js throws on them when it percent-encodes the message). */
function cut(text: string, chars: number): string {
  const short = text.length <= chars ? text : `${text.slice(0, chars - 1)}…`;
  return Buffer.from(short, 'utf8').toString('utf8');
}

/** What an expected error says to callers, or undefined for an unexpected one. */
function expected(error: unknown): DomainErrorOptions | undefined {
  if (error instanceof DomainError) {
    const { reason, message, retryAfterMs, metadata } = error;
    return {
      reason,
      message,
      violations: [...error.violations],
      metadata,
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    };
  }
  if (error instanceof StoreUnavailableError) {
    const unknown = error.outcome === 'unknown';
    return {
      reason: unknown ? ErrorReason.OUTCOME_UNKNOWN : ErrorReason.STORE_UNAVAILABLE,
      message: unknown
        ? 'the answer of the store was lost; the write may have happened: repeat it with the same request_id'
        : 'the store does not answer; nothing was stored',
      retryAfterMs: error.retryAfterMs,
    };
  }
  if (error instanceof StoreFullError) {
    return { reason: ErrorReason.STORE_FULL, message: 'the store is full; nothing was stored' };
  }
  if (error instanceof Error && error.name === 'AbortError') {
    return { reason: ErrorReason.CANCELLED, message: 'the call was cancelled' };
  }
  return undefined;
}

/** A mapped error, and the unexpected one behind it with the id that callers see. */
export interface MappedError extends RpcError {
  /** Stands in the log and in ErrorInfo.metadata.error_id; undefined for an expected error. */
  errorId: string | undefined;
}

/** Maps every error that may leave a handler; the only place that knows status codes. Unexpected ones are logged. */
export class ErrorMapper {
  readonly #log: Logger;
  readonly #ids: Pick<Ids, 'uuid'>;

  constructor(options: { log: Logger; ids: Pick<Ids, 'uuid'> }) {
    this.#log = options.log;
    this.#ids = options.ids;
  }

  /** `method` names the place in the log. */
  map(error: unknown, method: string): MappedError {
    const known = expected(error);
    if (known !== undefined && known.reason !== ErrorReason.UNSPECIFIED) {
      if (error instanceof StoreUnavailableError || error instanceof StoreFullError) {
        this.#log.debug({ method, err: error }, 'the store failed a call');
      }
      return { ...describe(known), errorId: undefined };
    }
    const errorId = this.#ids.uuid();
    this.#log.error({ method, error_id: errorId, err: error }, 'a call failed unexpectedly');
    const internal: DomainErrorOptions = {
      reason: ErrorReason.INTERNAL,
      message: `internal error ${errorId}: the service's log says more under this id`,
      metadata: { error_id: errorId },
    };
    return { ...describe(internal), errorId };
  }
}

/** Describes an error that is known to be expected, without a mapper: for what a listener itself refuses. */
export function describeRefusal(options: DomainErrorOptions): RpcError {
  return describe(options);
}

/** The error as google.rpc.Status, for "grpc-status-details-bin". */
export function encodeStatus(error: RpcError): Uint8Array {
  const details = error.details.map(({ desc, value }) => anyPack(desc, create(desc, value) as Message));
  return toBinary(StatusSchema, create(StatusSchema, { code: error.code, message: error.message, details }));
}
