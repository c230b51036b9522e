import type { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';

/** One violated field, for google.rpc.BadRequest. */
export interface FieldViolation {
  /** Path of the field in proto names: `spec.labels["a b"]`. */
  field: string;
  /** What is wrong with it and what is allowed, in a sentence. */
  description: string;
}

export interface DomainErrorOptions {
  reason: ErrorReason;
  /** For people; must not hold secrets, file paths or stack traces. */
  message: string;
  /** Every violated field, with INVALID_FIELDS. */
  violations?: FieldViolation[];
  /** When a retry helps: after how long. */
  retryAfterMs?: number;
  /** ErrorInfo.metadata: small facts for programs. */
  metadata?: Record<string, string>;
  /** What led to it; goes to the log, never to the wire. */
  cause?: unknown;
}

/** An error that a caller can do something about. Only `rpc/errors.ts` knows which status code a reason has. */
export class DomainError extends Error {
  override readonly name = 'DomainError';
  readonly reason: ErrorReason;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(options: DomainErrorOptions) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.reason = options.reason;
    this.violations = options.violations ?? [];
    this.retryAfterMs = options.retryAfterMs;
    this.metadata = options.metadata ?? {};
  }
}
