import { create } from '@bufbuild/protobuf';
import {
  Agent_Liveness,
  Agent_Phase,
  type Verdict,
  VerdictSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { Hello } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AgentRecord, DeliveryRecord } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { DomainError } from '../../lib/errors.ts';
import { durationFromMs, timestampFromMs } from '../../lib/proto-time.ts';
import type { NewEvent } from '../monitoring/events.ts';
import { restartOnAttach } from './care/restarts.ts';
import { isAttached } from './liveness.ts';
import { agentOf, copyRecord, pushVerdict } from './record.ts';
import { knowsToken } from './token.ts';

/** Everything that an attachment is decided on. */
export interface AttachInput {
  record: AgentRecord;
  tokenHash: Uint8Array;
  hello: Hello;
  peer: string;
  replicaId: string;
  wallMs: number;
  /** The store's clock, as far as is known without asking: what is compared with what other replicas stored. */
  storeMs: number;
  /** The store's epoch: session epochs grow over it too, so that none is used twice after a failover. */
  storeEpoch: bigint;
  /** The condition of this replica, as evidence. */
  observer?: Verdict['observer'];
  /** The order to restart it, as long as it is unfinished and this replica knows of it. */
  restartOrder?: DeliveryRecord | undefined;
}

export interface Attachment {
  record: AgentRecord;
  events: NewEvent[];
  /** Keys of orders that are void now. */
  deletes: string[];
}

/**
 * Decides an attachment: a higher epoch, the new owner, CONNECTED. Pure.
 * @throws DomainError TOKEN_INVALID, AGENT_STOPPED
 */
export function decideAttach(input: AttachInput): Attachment {
  const { hello, peer, replicaId, wallMs, storeMs } = input;
  const before = agentOf(input.record);
  if (!knowsToken(input.record.tokenHashes, input.tokenHash)) {
    throw new DomainError({
      reason: ErrorReason.TOKEN_INVALID,
      message: 'the token is not (or no longer) that of this agent; register again',
    });
  }
  if (before.phase === Agent_Phase.STOPPED) {
    throw new DomainError({ reason: ErrorReason.AGENT_STOPPED, message: `agent ${before.id} is stopped` });
  }
  const record = copyRecord(input.record);
  const agent = agentOf(record);
  const now = timestampFromMs(wallMs);
  record.sessionEpoch = nextEpoch(input.record.sessionEpoch, input.storeEpoch);
  record.ownerReplicaId = replicaId;
  record.instanceId = hello.instanceId;
  record.peer = peer;
  record.attachTime = timestampFromMs(storeMs);
  delete record.goneTime;
  agent.liveness = Agent_Liveness.CONNECTED;
  agent.updateTime = now;
  if (agent.phase === Agent_Phase.REGISTERED) agent.phase = Agent_Phase.ACTIVE;
  const from = movedFrom(input);
  const verdict = create(VerdictSchema, {
    time: now,
    rule: 'attached',
    detail: `opened a session from ${peer}${from === undefined ? '' : `, moved here from ${from}`}`,
    replicaId,
    epoch: record.sessionEpoch,
    silence: durationFromMs(0),
  });
  if (input.observer !== undefined) verdict.observer = input.observer;
  // That it moved about is no evidence of anything: it would push out what is.
  if (from !== undefined && agent.verdict?.rule === 'attached') agent.verdict = verdict;
  else pushVerdict(record, verdict);
  const restart = restartOnAttach(record, hello.instanceId, storeMs, input.restartOrder);
  const events = [...eventsOf(input, record, verdict), ...restart.events];
  return { record, events, deletes: restart.deletes };
}

/** Higher than every earlier epoch of the agent, in this store epoch and in those before it. */
export function nextEpoch(previous: bigint, storeEpoch: bigint): bigint {
  const floor = storeEpoch << 32n;
  return (previous > floor ? previous : floor) + 1n;
}

/** The store epoch in which such an epoch was given. */
export const storeEpochOf = (epoch: bigint): bigint => epoch >> 32n;

/** The replica that the same process was attached to until now, if it was another one. */
function movedFrom({ record, hello, replicaId }: AttachInput): string | undefined {
  const same = hello.instanceId !== '' && hello.instanceId === record.instanceId;
  if (!same || !isAttached(agentOf(record).liveness) || record.ownerReplicaId === replicaId) return undefined;
  return record.ownerReplicaId;
}

function eventsOf(input: AttachInput, record: AgentRecord, verdict: Verdict): NewEvent[] {
  const before = agentOf(input.record);
  const agentId = before.id;
  const attributes = { peer: input.peer, instance: input.hello.instanceId, epoch: `${record.sessionEpoch}` };
  const actor = `agent:${agentId}`;
  const live = isAttached(before.liveness);
  const twin =
    live &&
    input.hello.instanceId !== '' &&
    input.record.instanceId !== '' &&
    input.hello.instanceId !== input.record.instanceId;
  const from = movedFrom(input);
  const [type, message] =
    before.liveness === Agent_Liveness.LOST
      ? ['agent.recovered', `${agentId} is back after it was lost, from ${input.peer}`]
      : from !== undefined
        ? ['agent.moved', `${agentId} moved from replica ${from} to ${input.replicaId}`]
        : ['agent.connected', `${agentId} attached from ${input.peer}`];
  const events: NewEvent[] = [
    {
      ...{ type, severity: Event_Severity.INFO, message, actor, agentId, verdict },
      attributes: from === undefined ? attributes : { ...attributes, from_replica: from },
    },
  ];
  if (twin) {
    events.push({
      type: 'agent.twin',
      severity: Event_Severity.WARNING,
      message: `two processes attach as ${agentId}: ${input.peer} superseded ${input.record.peer}`,
      actor,
      agentId,
      attributes: {
        ...attributes,
        superseded_peer: input.record.peer,
        superseded_instance: input.record.instanceId,
        superseded_epoch: `${input.record.sessionEpoch}`,
      },
    });
  }
  return events;
}
