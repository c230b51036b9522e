import {
  type Agent,
  Agent_Liveness,
  type Agent_Phase,
  Agent_PhaseSchema,
  Drain_State,
  Agent_Phase as Phase,
  Restart_State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { timestampFromMs } from '../../lib/proto-time.ts';
import { mailKey } from '../coordination/delivery-record.ts';
import type { Mailboxes } from '../coordination/mailboxes.ts';
import type { OutcomeEffects, OutcomeInput, OutcomeRule } from '../coordination/outcomes.ts';
import type { NewEvent } from '../monitoring/events.ts';
import type { KnownAgent } from './directory.ts';
import { agentKey, agentOf, copyRecord, encodeRecord } from './record.ts';

/** A phase as people say it: "draining". */
export const phaseWord = (phase: Agent_Phase): string =>
  Agent_PhaseSchema.value[phase]?.localName.toLowerCase() ?? `${phase}`;

/** Ends a drain that is under way; one that has ended stays as it is. */
export function endDrain(agent: Agent, state: Drain_State, storeMs: number, error = ''): void {
  if (agent.drain?.state !== Drain_State.RUNNING) return;
  agent.drain = {
    ...agent.drain,
    state,
    endTime: timestampFromMs(storeMs),
    error: error || agent.drain.error,
  };
}

/** The orders that a newer one takes the place of. */
const REPLACED = new Set(['drain', 'resume', 'stop', 'quarantine']);

/** Keys of the unfinished orders to an agent's own process, of which a newer one takes the place. */
export function pendingOrders(
  mailboxes: Mailboxes,
  { namespace, id }: Pick<KnownAgent, 'namespace' | 'id'>,
): string[] {
  const keys: string[] = [];
  for (const { record } of mailboxes.of(namespace, id)) {
    if (record.item.case === 'command' && REPLACED.has(record.item.value.type))
      keys.push(mailKey(id, record.id));
  }
  return keys;
}

/** Orders for which there is room in a mailbox that is full: whatever has filled it, its agent can be stopped. */
const ORDERS_BEYOND = 16;

/** Whether an agent can be given an order that takes the place of those that wait. */
export function hasRoomForOrder(
  mailboxes: Mailboxes,
  agent: Pick<KnownAgent, 'namespace' | 'id'>,
  maxMailbox: number,
): boolean {
  const count = mailboxes.count(agent.namespace, agent.id);
  if (count < maxMailbox) return true;
  return count - pendingOrders(mailboxes, agent).length < maxMailbox + ORDERS_BEYOND;
}

/**
 * An agent that said goodbye runs nothing: its drain is over. Changes `agent`, which must be a copy.
 * @returns the event, if there was a drain to end
 */
export function drainedByLeaving(agent: Agent, storeMs: number): NewEvent | undefined {
  if (agent.phase !== Phase.DRAINING) return undefined;
  endDrain(agent, Drain_State.STOPPED, storeMs);
  agent.phase = Phase.DRAINED;
  return drainedEvent(agent.id, `agent:${agent.id}`, 'it said goodbye');
}

/** The deadline of a drain has passed. Changes `agent`, which must be a copy. */
export function drainedByDeadline(agent: Agent, storeMs: number): NewEvent {
  const running = agent.drain?.running ?? [];
  const still =
    running.length === 0 ? 'it has not said that its work has stopped' : `${running.length} still ran`;
  endDrain(agent, Drain_State.DEADLINE_PASSED, storeMs);
  agent.phase = Phase.DRAINED;
  const event = drainedEvent(agent.id, 'rule:drain_deadline', `its deadline has passed; ${still}`);
  return { ...event, severity: Event_Severity.WARNING };
}

const drainedEvent = (agentId: string, actor: string, why: string): NewEvent => ({
  type: 'agent.drained',
  severity: Event_Severity.INFO,
  message: `${agentId} is drained: ${why}`,
  actor,
  agentId,
});

/** What agents' answers to orders mean for the agents. */
export const ORDER_OUTCOMES: ReadonlyMap<string, OutcomeRule> = new Map([
  ['drain', drainOutcome],
  ['restart', restartOutcome],
]);

function drainOutcome({ known, state, update, agent: stored, storeMs }: OutcomeInput): OutcomeEffects {
  if (stored === undefined) return {};
  const record = copyRecord(stored.record);
  const agent = agentOf(record);
  // The answer to an order that another one took the place of.
  if (agent.drain?.deliveryId !== known.id || agent.drain.state !== Drain_State.RUNNING) return {};
  const events: NewEvent[] = [];
  const actor = `agent:${agent.id}`;
  const error = update?.error ?? '';
  if (state === 'accepted') {
    agent.drain = { ...agent.drain, running: update?.running ?? [] };
  } else if (state === 'succeeded') {
    endDrain(agent, Drain_State.STOPPED, storeMs);
    agent.drain.running = [];
    agent.phase = Phase.DRAINED;
    events.push(drainedEvent(agent.id, actor, 'it said that its work has stopped'));
  } else if (state === 'declined' && !isMandatory(known.record.item)) {
    endDrain(agent, Drain_State.DECLINED, storeMs, error);
    agent.phase = agent.liveness === Agent_Liveness.NEVER_SEEN ? Phase.REGISTERED : Phase.ACTIVE;
    events.push({
      type: 'agent.drain_declined',
      severity: Event_Severity.WARNING,
      message: `${agent.id} refused to be drained${error === '' ? '' : `: ${error.slice(0, 512)}`}`,
      actor,
      agentId: agent.id,
    });
  } else {
    // It goes on until its deadline.
    agent.drain = { ...agent.drain, error: error || agent.drain.error };
  }
  return { puts: [{ key: agentKey(agent.id), value: encodeRecord(record) }], events };
}

function isMandatory(item: OutcomeInput['known']['record']['item']): boolean {
  if (item.case !== 'command') return false;
  const data = item.value.arguments?.data;
  if (data?.case !== 'json' || data.value.kind.case !== 'structValue') return false;
  const kind = data.value.kind.value.fields.mandatory?.kind;
  return kind?.case === 'boolValue' && kind.value;
}

function restartOutcome({ known, state, update, subject, storeMs }: OutcomeInput): OutcomeEffects {
  if (subject === undefined || state === 'accepted') return {};
  const record = copyRecord(subject.record);
  const agent = agentOf(record);
  const { restart } = agent;
  if (restart?.deliveryId !== known.id || restart.state !== Restart_State.ORDERED) return {};
  const done = state === 'succeeded';
  const said = update?.error ? `: ${update.error.slice(0, 512)}` : '';
  agent.restart = {
    ...restart,
    state: done ? Restart_State.DONE : Restart_State.FAILED,
    error: done ? '' : `${state}${said}`,
    updateTime: timestampFromMs(storeMs),
  };
  const event: NewEvent = {
    type: done ? 'agent.restarted' : 'agent.restart_failed',
    severity: done ? Event_Severity.INFO : Event_Severity.WARNING,
    message: done
      ? `${known.agentId} restarted ${known.agentId === agent.id ? 'itself' : agent.id}`
      : `${agent.id} was not restarted: the order to ${known.agentId} ${state}${said}`,
    actor: update === undefined ? 'rule:deliveries' : `agent:${known.agentId}`,
    agentId: agent.id,
    attributes: { by: known.agentId, attempt: `${restart.attempt}` },
  };
  return { puts: [{ key: agentKey(agent.id), value: encodeRecord(record) }], events: [event] };
}
