import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError, type FieldViolation } from '../../lib/errors.ts';

export const agentNotFound = (namespace: string, agentId: string): DomainError =>
  new DomainError({
    reason: ErrorReason.AGENT_NOT_FOUND,
    message: `there is no agent ${agentId} in namespace ${namespace}; register it first`,
  });

/** The configured relationships leave the agent out. */
export const notResponsible = (agentId: string): DomainError =>
  new DomainError({
    reason: ErrorReason.NOT_RESPONSIBLE,
    message: `this orchestrator's relationships do not select agent ${agentId}`,
  });

export const contention = (): DomainError =>
  new DomainError({
    reason: ErrorReason.CONTENTION,
    message: 'the agent was changed concurrently again and again',
    retryAfterMs: 500,
  });

export const tokenMissing = (): DomainError =>
  new DomainError({
    reason: ErrorReason.TOKEN_INVALID,
    message: 'metadata must have "authorization: Bearer <agent_token>" from RegisterAgent',
  });

export const protocolViolation = (message: string): DomainError =>
  new DomainError({ reason: ErrorReason.PROTOCOL_VIOLATION, message });

export const invalidFields = (message: string, violations: FieldViolation[]): DomainError =>
  new DomainError({ reason: ErrorReason.INVALID_FIELDS, message, violations });

/** This replica is leaving and takes no more sessions. */
export const leavingReplica = (): DomainError =>
  new DomainError({
    reason: ErrorReason.SHUTTING_DOWN,
    message: 'this replica is leaving',
    retryAfterMs: 1000,
  });

export const tooManySessions = (limit: number): DomainError =>
  new DomainError({
    reason: ErrorReason.LIMIT_REACHED,
    message: `this replica holds its maximum of ${limit} sessions`,
    retryAfterMs: 5000,
  });

/** The agent's phase does not allow an order. */
export const phaseRefused = (agentId: string, phase: string, words: string): DomainError =>
  new DomainError({
    reason: ErrorReason.PHASE_REFUSED,
    message: `agent ${agentId} is ${phase} and cannot ${words}`,
    metadata: { phase },
  });

export const nobodyThere = (agentId: string): DomainError =>
  new DomainError({
    reason: ErrorReason.NOBODY_THERE,
    message: `nobody is there who could restart agent ${agentId}: neither it nor a supervisor of it is attached`,
  });

export const mailboxFull = (agentId: string, limit: number): DomainError =>
  new DomainError({
    reason: ErrorReason.MAILBOX_FULL,
    message: `the mailbox of agent ${agentId} has its maximum of ${limit} unfinished deliveries`,
    retryAfterMs: 5000,
  });

/** A limit that waiting does not help against. */
export const limitReached = (message: string): DomainError =>
  new DomainError({ reason: ErrorReason.LIMIT_REACHED, message });

export const superseded = (): DomainError =>
  new DomainError({
    reason: ErrorReason.SESSION_SUPERSEDED,
    message: 'a newer session of this agent has attached meanwhile',
  });

/** A store that lost an attachment is told of it again, or the session ends: it is not an older one either way. */
export const notStoredYet = (): DomainError =>
  new DomainError({
    reason: ErrorReason.CONTENTION,
    message: 'the store fell back to before this session and is being told of it again',
    retryAfterMs: 500,
  });
