import { createHash } from 'node:crypto';
import { create } from '@bufbuild/protobuf';
import {
  Agent_Liveness,
  Agent_Phase,
  AgentSchema,
  type AgentSpec,
  AgentSpecSchema,
  VerdictSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import {
  type AgentRecord,
  AgentRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../lib/encode.ts';
import { DomainError } from '../../lib/errors.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import type { NewEvent } from '../monitoring/events.ts';
import { isAttached } from './liveness.ts';
import { agentOf, copyRecord, RECORD_FORMAT } from './record.ts';
import { knowsToken } from './token.ts';

/** Tokens that stay valid beside the newest: answers to repeats of one registration. */
const MAX_TOKENS = 4;

export interface RegisterInput {
  /** What is registered under this id now. */
  existing: AgentRecord | undefined;
  namespace: string;
  agentId: string;
  spec: AgentSpec;
  takeover: boolean;
  /** Hash of the token that the caller brought, if it brought one. */
  callerTokenHash: Uint8Array | undefined;
  /** Hash of the token that will be handed out unless the caller's own is kept. */
  newTokenHash: Uint8Array;
  uid: string;
  wallMs: number;
  replicaId: string;
  storeEpoch: bigint;
  /** The namespace's present revision: no agent ever attached more often than it was committed to. */
  namespaceRevision: bigint;
  actor: string;
}

export interface Registration {
  /** The record to store; undefined: nothing changes. */
  record: AgentRecord | undefined;
  /** The caller goes on with the token that it brought. */
  keepsToken: boolean;
  events: NewEvent[];
}

/**
 * Decides a registration. Pure.
 * @throws DomainError AGENT_LIVE, TOKEN_INVALID
 */
export function decideRegister(input: RegisterInput): Registration {
  return input.existing === undefined ? registerNew(input) : registerAgain(input, input.existing);
}

function registerNew(input: RegisterInput): Registration {
  const now = timestampFromMs(input.wallMs);
  const verdict = create(VerdictSchema);
  verdict.time = now;
  verdict.rule = 'registered';
  verdict.detail = 'registered; no session was opened yet';
  verdict.replicaId = input.replicaId;
  const agent = create(AgentSchema);
  agent.namespace = input.namespace;
  agent.id = input.agentId;
  agent.uid = input.uid;
  agent.createTime = now;
  agent.updateTime = now;
  agent.spec = input.spec;
  agent.phase = Agent_Phase.REGISTERED;
  agent.liveness = Agent_Liveness.NEVER_SEEN;
  agent.verdict = verdict;
  const record = create(AgentRecordSchema);
  record.format = RECORD_FORMAT;
  record.agent = agent;
  record.tokenHashes = [input.newTokenHash];
  // An agent that was here before under this id had lower epochs, and must not be taken for this one.
  record.sessionEpoch = (input.storeEpoch << 32n) + input.namespaceRevision;
  const event: NewEvent = {
    type: 'agent.registered',
    severity: Event_Severity.INFO,
    message: `${input.agentId} was registered`,
    actor: input.actor,
    agentId: input.agentId,
    attributes: { kind: input.spec.kind, version: input.spec.version },
  };
  return { record, keepsToken: false, events: [event] };
}

function registerAgain(input: RegisterInput, existing: AgentRecord): Registration {
  const keepsToken =
    input.callerTokenHash !== undefined && knowsToken(existing.tokenHashes, input.callerTokenHash);
  if (input.callerTokenHash !== undefined && !keepsToken && !input.takeover) {
    throw new DomainError({
      reason: ErrorReason.TOKEN_INVALID,
      message: `the token is not (or no longer) that of agent ${input.agentId}; register without it, or say takeover`,
    });
  }
  const live = isAttached(agentOf(existing).liveness);
  if (live && !keepsToken && !input.takeover) {
    throw new DomainError({
      reason: ErrorReason.AGENT_LIVE,
      message: `agent ${input.agentId} has a live session; bring its token, say takeover, or wait until it is lost`,
      retryAfterMs: 5000,
    });
  }
  const sameSpec = Buffer.from(registeredHash(existing)).equals(specHash(input.spec));
  if (keepsToken && sameSpec) return { record: undefined, keepsToken, events: [] };

  const record = copyRecord(existing);
  const agent = agentOf(record);
  agent.updateTime = timestampFromMs(input.wallMs);
  const events: NewEvent[] = [];
  if (!keepsToken) record.tokenHashes = [input.newTokenHash];
  if (!sameSpec) {
    agent.spec = input.spec;
    record.registeredSpecHash = new Uint8Array();
    events.push(
      event(input, 'agent.updated', Event_Severity.INFO, `${input.agentId} registered with another spec`),
    );
  }
  if (!keepsToken) {
    const takenOver = live
      ? event(
          input,
          'agent.taken_over',
          Event_Severity.WARNING,
          `${input.agentId} was taken over from its live session`,
        )
      : event(input, 'agent.registered_again', Event_Severity.INFO, `${input.agentId} was registered again`);
    events.push(takenOver);
  }
  return { record, keepsToken, events };
}

/** A further token for the repeat of a registration whose answer may have been lost. */
export function withToken(record: AgentRecord, tokenHash: Uint8Array): AgentRecord {
  const copy = copyRecord(record);
  copy.tokenHashes = [tokenHash, ...record.tokenHashes].slice(0, MAX_TOKENS);
  return copy;
}

function event(input: RegisterInput, type: string, severity: Event_Severity, message: string): NewEvent {
  return { type, severity, message, actor: input.actor, agentId: input.agentId };
}

/** The hash of the spec as the agent registered it: of the present one, unless UpdateAgent changed that since. */
export function registeredHash(record: AgentRecord): Uint8Array {
  if (record.registeredSpecHash.length > 0) return record.registeredSpecHash;
  return specHash(agentOf(record).spec ?? create(AgentSpecSchema));
}

/** Maps encode in the order of insertion, so they are sorted first. */
function specHash(spec: AgentSpec): Uint8Array {
  // Assigned, so that fields of a later version count too: else a replica of either version takes the other's hash of one
  // and the same spec for that of another one, and puts the agent's own in place of what an operator has changed.
  const sorted = Object.assign(create(AgentSpecSchema), spec, {
    labels: sortedMap(spec.labels),
    annotations: sortedMap(spec.annotations),
    capacity: sortedMap(spec.capacity),
  });
  return createHash('sha256').update(encode(AgentSpecSchema, sorted)).digest();
}

function sortedMap<V>(map: Record<string, V>): Record<string, V> {
  return Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1)));
}
