import { create } from '@bufbuild/protobuf';
import { Agent_Liveness, type Verdict } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type AgentRecord,
  type FailureRecord,
  FailureRecordSchema,
} from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromDuration, msFromTimestamp, timestampFromMs } from '../../../lib/proto-time.ts';
import { agentOf } from '../record.ts';

export type FailureKind = 'lost' | 'stream_closed' | 'crashed';

/** Failures that a record keeps. */
const KEPT = 16;
/** The observer stood still for so long that the agent may have given up because of that. */
const OWN_STALL_MS = 1000;

/**
 * Whether a verdict is a failure that counts towards quarantine. It is none when it was our doing: the replica that held
 * the session went (rule "orphaned"), or the observer stood still or had no store.
 */
export function failureOf(liveness: Agent_Liveness, verdict: Verdict): FailureKind | undefined {
  const kind = kindOf(liveness, verdict.rule);
  const { observer } = verdict;
  if (kind === undefined || observer === undefined) return kind;
  const stallMs = observer.ownStall === undefined ? 0 : msFromDuration(observer.ownStall);
  return stallMs >= OWN_STALL_MS || !observer.storeAvailable ? undefined : kind;
}

function kindOf(liveness: Agent_Liveness, rule: string): FailureKind | undefined {
  if (liveness === Agent_Liveness.LOST && (rule === 'lease' || rule === 'reconnect_grace')) return 'lost';
  if (liveness === Agent_Liveness.DISCONNECTED && rule === 'stream_closed') return 'stream_closed';
  return undefined;
}

/**
 * Adds a failure to a record that may be changed, before the verdict is put into it. A loss that follows from a broken
 * stream is the same failure once more, and takes its place.
 */
export function noteFailure(record: AgentRecord, kind: FailureKind, storeMs: number, windowMs: number): void {
  const earlier = failuresWithin(record, storeMs, windowMs);
  const present = agentOf(record).verdict;
  const same =
    kind === 'lost' &&
    earlier[0]?.kind === 'stream_closed' &&
    present?.rule === 'stream_closed' &&
    present.epoch === record.sessionEpoch;
  const failure = create(FailureRecordSchema, { time: timestampFromMs(storeMs), kind });
  record.failures = [failure, ...(same ? earlier.slice(1) : earlier)].slice(0, KEPT);
}

/** An agent's failures within the window, newest first. */
export function failuresWithin(record: AgentRecord, storeMs: number, windowMs: number): FailureRecord[] {
  return record.failures.filter((failure) => timeOf(failure) > storeMs - windowMs);
}

export const timeOf = ({ time }: FailureRecord): number => (time === undefined ? 0 : msFromTimestamp(time));
