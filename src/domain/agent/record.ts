import { create, fromBinary } from '@bufbuild/protobuf';
import {
  type Agent,
  AgentSchema,
  type Observation,
  type Verdict,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentRecord,
  AgentRecordSchema,
} from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { encode } from '../../lib/encode.ts';
import { fileVerdict, readVerdicts } from './verdict-history.ts';

/** The format that this version writes. */
export const RECORD_FORMAT = 1;

const PREFIX = 'agent/';

export const agentKey = (agentId: string): string => PREFIX + agentId;
export const isAgentKey = (key: string): boolean => key.startsWith(PREFIX);
export const agentIdOf = (key: string): string => key.slice(PREFIX.length);

/** What was encoded here, by its bytes: this replica's own commits come back with the very same bytes. */
const encoded = new WeakMap<Uint8Array, AgentRecord>();

/** The record must not be changed afterwards: whoever decodes these bytes may get it. */
export function encodeRecord(record: AgentRecord): Uint8Array {
  const bytes = encode(AgentRecordSchema, record);
  encoded.set(bytes, record);
  return bytes;
}

/** The record must not be changed; see copyRecord. */
export function decodeRecord(bytes: Uint8Array): AgentRecord {
  return encoded.get(bytes) ?? fromBinary(AgentRecordSchema, bytes);
}

/** The public part of a record; every record has one. */
export function agentOf(record: AgentRecord): Agent {
  if (record.agent === undefined) throw new Error('an agent record without its agent');
  return record.agent;
}

/** What callers see: the stored part, the revision that stands beside it, and what was measured. */
export function publicAgent(
  record: AgentRecord,
  revision: bigint,
  observation: Observation | undefined,
): Agent {
  const stored = agentOf(record);
  const agent = create(AgentSchema);
  Object.assign(agent, stored);
  agent.revision = revision;
  if (observation !== undefined) agent.observation = observation;
  return agent;
}

/** A copy of `record` whose agent can be changed without touching the original. */
export function copyRecord(record: AgentRecord): AgentRecord {
  const copy = create(AgentRecordSchema);
  Object.assign(copy, record);
  copy.agent = Object.assign(create(AgentSchema), agentOf(record));
  return copy;
}

/** Makes `verdict` the present one and files the one before. */
export function pushVerdict(record: AgentRecord, verdict: Verdict): void {
  const agent = agentOf(record);
  if (agent.verdict !== undefined) record.verdictHistory = fileVerdict(record.verdictHistory, agent.verdict);
  agent.verdict = verdict;
}

/** The verdicts before the present one, newest first. */
export function earlierVerdicts(record: AgentRecord): Verdict[] {
  return readVerdicts(record.verdictHistory);
}
