import {
  type GoAway,
  GoAway_ReasonSchema,
} from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';

/** Status codes of gRPC that the client decides by; numbers as in google.rpc.Code. */
export const Code = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** What went wrong between the agent and the orchestrator. */
export class AgentError extends Error {
  override readonly name: string = 'AgentError';
  /** A google.rpc.Code. */
  readonly code: number;
  /** The service's reason ("TOKEN_INVALID"), or the client's own in lower case ("lease_expired"); may be empty. */
  readonly reason: string;
  /** When a repeat may help: after how long, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** What the service adds to its reason; may be empty. */
  readonly metadata: Readonly<Record<string, string>>;

  constructor(options: {
    code: number;
    message: string;
    reason?: string;
    retryAfterMs?: number | undefined;
    metadata?: Readonly<Record<string, string>>;
    cause?: unknown;
  }) {
    super(options.message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = options.code;
    this.reason = options.reason ?? '';
    this.retryAfterMs = options.retryAfterMs;
    this.metadata = options.metadata ?? {};
  }
}

/** The agent that was called did not succeed. Its code is FAILED_PRECONDITION, its reason CALL_FAILED. */
export class CallFailedError extends AgentError {
  /** Who was called. */
  readonly agentId: string;
  /** What became of the call: "failed", "declined", "tries" (it was not taken on, however often it was delivered). */
  readonly state: string;
  /** What the agent said; may be empty. */
  readonly agentError: string;

  constructor(error: AgentError) {
    const { code, message, reason, metadata, cause } = error;
    super({ code, message, reason, metadata, cause });
    this.agentId = metadata.agent_id ?? '';
    this.state = metadata.state ?? '';
    this.agentError = metadata.error ?? '';
  }
}

/** There is not so much left to spend. Its code is RESOURCE_EXHAUSTED, its reason BUDGET_SPENT. */
export class BudgetSpentError extends AgentError {
  /** What is left of each budget, as far as this agent knows. */
  readonly left: Readonly<Record<string, number>>;

  constructor(error: AgentError, left: Readonly<Record<string, number>>) {
    const { code, message, reason, metadata } = error;
    super({ code, message, reason, metadata, cause: error });
    this.left = left;
  }
}

/** Thrown by a handler: to try the same message or task again is of no use. */
export class PermanentError extends Error {
  override readonly name = 'PermanentError';
}

/** What `decline` of a message's context and of a task throws. */
export class DeclineError extends Error {
  override readonly name = 'DeclineError';
  readonly retryable: boolean;

  constructor(message: string, options: { retryable?: boolean } = {}) {
    super(message);
    this.retryable = options.retryable ?? false;
  }
}

/** Errors that the same call would meet again: the agent has to be changed, started otherwise or left stopped. */
export function isFinal(error: AgentError): boolean {
  switch (error.code) {
    case Code.INVALID_ARGUMENT:
    case Code.ALREADY_EXISTS:
    case Code.PERMISSION_DENIED:
    case Code.UNIMPLEMENTED:
    case Code.UNAUTHENTICATED:
    case Code.FAILED_PRECONDITION:
      return true;
    case Code.ABORTED:
      return error.reason === 'SESSION_SUPERSEDED';
    default:
      return false;
  }
}

/** Ended on purpose. */
export function cancelled(message: string): AgentError {
  return new AgentError({ code: Code.CANCELLED, reason: 'closed', message });
}

/** Ended by the other side without a reason. */
export function unavailable(message: string): AgentError {
  return new AgentError({ code: Code.UNAVAILABLE, message });
}

/** A fault of the client's own. */
export function unexpected(cause: unknown): AgentError {
  return new AgentError({ code: Code.UNKNOWN, message: 'unexpected error in the client', cause });
}

/** Ended by go_away; the reason is "go_away_superseded" and so on. */
export function sentAway({ reason, detail }: GoAway): AgentError {
  const name = GoAway_ReasonSchema.value[reason]?.localName.toLowerCase() ?? `reason ${reason}`;
  const message = `sent away (${name})${detail === '' ? '' : `: ${detail}`}`;
  return new AgentError({ code: Code.ABORTED, reason: `go_away_${name}`, message });
}
