import type { Agent, Verdict } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { AgentRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import type { DeliveriesConfig } from '../../../config/config.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { NewEvent } from '../../monitoring/events.ts';
import { livenessWords } from '../liveness.ts';
import { agentKey, agentOf } from '../record.ts';
import type { Need } from './needs.ts';
import type { Policy } from './policy.ts';
import { endQuarantine, quarantine } from './quarantine.ts';
import { orderRestart, planRestart } from './restarts.ts';

/** What is done about one agent in one commit. */
export interface Change {
  /** A copy that is changed. */
  record: AgentRecord;
  puts: { key: string; value: Uint8Array }[];
  deletes: string[];
  events: NewEvent[];
  /** The agent itself goes. */
  removed: boolean;
}

export interface ChangeContext {
  policy: Policy;
  deliveries: DeliveriesConfig;
  storeMs: number;
  wallMs: number;
  replicaId: string;
  /** 0..1: spreads restarts. */
  random: number;
  /** The rule's evidence. */
  observer: Verdict['observer'];
  /** Whether the agent can be given an order that takes the place of those that wait. */
  hasRoomForOrder(): boolean;
  /** Keys of unfinished orders to the agent, of which a newer one takes the place. */
  pendingOrders(): readonly string[];
  /** Keys of what goes with a deregistered agent, besides its record. */
  removal(agentId: string): readonly string[];
}

/** Does one thing, but for losses (loss.ts) and notices (notices.ts). */
export function apply(change: Change, need: Need, context: ChangeContext): void {
  const agent = agentOf(change.record);
  agent.updateTime = timestampFromMs(context.wallMs);
  switch (need.kind) {
    case 'plan_restart':
      planRestart(change, agent, need, context);
      return;
    case 'order_restart':
      orderRestart(change, agent, need, context);
      return;
    case 'quarantine':
      quarantine(change, agent, need, context);
      return;
    case 'end_quarantine':
      endQuarantine(change, agent, context);
      return;
    case 'forget':
      forget(change, agent, context);
      return;
  }
}

function forget(change: Change, agent: Agent, { removal }: ChangeContext): void {
  change.removed = true;
  change.deletes.push(agentKey(agent.id), ...removal(agent.id));
  change.events.push({
    type: 'agent.forgotten',
    severity: Event_Severity.INFO,
    message: `${agent.id} was deregistered: its forget_after has passed since it was ${livenessWords(agent.liveness).words}`,
    actor: 'rule:forget_after',
    agentId: agent.id,
  });
}
