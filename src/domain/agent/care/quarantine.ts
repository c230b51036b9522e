import { create } from '@bufbuild/protobuf';
import {
  type Agent,
  Agent_Phase,
  QuarantineSchema,
  VerdictSchema,
} from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AgentRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import { agentOf } from '../record.ts';
import { fileVerdict } from '../verdict-history.ts';
import type { Change, ChangeContext } from './changes.ts';
import { careCommand } from './commands.ts';
import { isReachable, type Need } from './needs.ts';

/** Sets an agent aside by rule. */
export function quarantine(
  { record, puts, deletes, events }: Change,
  agent: Agent,
  { rule, detail }: Need & { kind: 'quarantine' },
  { policy, deliveries, storeMs, wallMs, replicaId, observer, hasRoomForOrder, pendingOrders }: ChangeContext,
): void {
  const actor = `rule:${rule}`;
  const verdict = create(VerdictSchema, {
    time: timestampFromMs(wallMs),
    rule,
    detail,
    replicaId,
    epoch: record.sessionEpoch,
    ...(observer === undefined ? {} : { observer }),
  });
  agent.phase = Agent_Phase.QUARANTINED;
  agent.quarantine = create(QuarantineSchema, {
    reason: detail,
    actor,
    startTime: timestampFromMs(storeMs),
    endTime: timestampFromMs(storeMs + policy.coolOffMs),
    verdict,
  });
  delete record.nextRestartTime;
  // It is not about liveness: the present one stays.
  record.verdictHistory = fileVerdict(record.verdictHistory, verdict);
  if (isReachable(agent) && hasRoomForOrder()) {
    const { put } = careCommand(deliveries, {
      cause: [agent.uid, record.sessionEpoch, storeMs, rule],
      type: 'quarantine',
      agentId: agent.id,
      arguments: { reason: detail, cool_off_seconds: policy.coolOffMs / 1000 },
      actor,
      storeMs,
      expireAfterMs: policy.coolOffMs,
    });
    deletes.push(...pendingOrders());
    puts.push(put);
  }
  events.push({
    type: 'agent.quarantined',
    severity: Event_Severity.WARNING,
    message: `${agent.id} is set aside for ${seconds(policy.coolOffMs)}: ${detail}`,
    actor,
    agentId: agent.id,
    verdict,
    attributes: { epoch: `${record.sessionEpoch}` },
  });
}

/** The cool-off is over. */
export function endQuarantine(
  { record, puts, deletes, events }: Change,
  agent: Agent,
  context: ChangeContext,
): void {
  const { deliveries, storeMs, hasRoomForOrder, pendingOrders } = context;
  const actor = 'rule:cool_off';
  const startSeconds = agent.quarantine?.startTime?.seconds ?? 0n;
  releaseFromQuarantine(record);
  if (isReachable(agent) && hasRoomForOrder()) {
    const { put } = careCommand(deliveries, {
      cause: [agent.uid, record.sessionEpoch, startSeconds, 'cool_off'],
      type: 'resume',
      agentId: agent.id,
      arguments: { reason: 'the cool-off is over' },
      actor,
      storeMs,
      expireAfterMs: deliveries.expireAfterMs,
    });
    deletes.push(...pendingOrders());
    puts.push(put);
  }
  events.push({
    type: 'agent.released',
    severity: Event_Severity.INFO,
    message: `${agent.id} is no longer set aside: its cool-off is over`,
    actor,
    agentId: agent.id,
  });
}

/** Ends a quarantine in a record that may be changed: the agent begins anew, or it would be set aside again at once. */
export function releaseFromQuarantine(record: AgentRecord): void {
  const agent = agentOf(record);
  agent.phase = record.attachTime === undefined ? Agent_Phase.REGISTERED : Agent_Phase.ACTIVE;
  delete agent.quarantine;
  record.failures = [];
  record.restartAttempts = 0;
}

const seconds = (ms: number): string => `${Math.round(ms / 100) / 10} s`;
