import type { DeliveryUpdate } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Commit } from '../../state/store.ts';
import type { KnownAgent } from '../agent/directory.ts';
import type { NewEvent } from '../monitoring/events.ts';
import { attemptsOf, itemWords } from './delivery-record.ts';
import type { KnownDelivery } from './mailboxes.ts';

/** What became of a delivery. The last two: nobody answered. */
export type OutcomeState =
  | 'accepted'
  | 'succeeded'
  | 'failed'
  | 'declined'
  | 'expired'
  | 'tries'
  | 'agent_gone';

/** A delivery and what became of it, with the agents concerned as the store has them. */
export interface OutcomeInput {
  known: KnownDelivery;
  state: OutcomeState;
  /** What the agent said, if it said anything. */
  update: DeliveryUpdate | undefined;
  /** Whose mailbox it is in; undefined: it was deregistered. */
  agent: KnownAgent | undefined;
  /** Whom it is about: the same, or another one. */
  subject: KnownAgent | undefined;
  storeMs: number;
}

/** What goes into the commit that stores the outcome. Checks on the agents' revisions are made by the caller. */
export interface OutcomeEffects extends Pick<Commit, 'puts' | 'deletes'> {
  events?: readonly NewEvent[];
}

/** What an outcome means beyond its delivery, for one type of command. Pure. */
export type OutcomeRule = (input: OutcomeInput) => OutcomeEffects;

/** What every command's outcome has: an event. */
export function commandEvent({ known, state, update }: OutcomeInput): NewEvent | undefined {
  const { record } = known;
  if (record.item.case !== 'command' || state === 'accepted') return undefined;
  const said = update?.error ? `: ${update.error.slice(0, SAID)}` : '';
  const words = { succeeded: 'was carried out', failed: 'failed', declined: 'was declined' };
  if (state === 'agent_gone') return undefined;
  const how =
    state === 'expired'
      ? 'expired unanswered'
      : state === 'tries'
        ? `was given up after ${attemptsOf(record)} tries`
        : words[state];
  return {
    type: `command.${state === 'tries' ? 'given_up' : state}`,
    severity: state === 'succeeded' ? Event_Severity.INFO : Event_Severity.WARNING,
    message: `${itemWords(record)} to ${known.agentId} ${how}${said}`,
    actor: update === undefined ? 'rule:deliveries' : `agent:${known.agentId}`,
    agentId: record.subjectAgentId === '' ? known.agentId : record.subjectAgentId,
    attributes: { delivery_id: known.id, command: record.item.value.type, by: known.agentId },
  };
}

/** What is kept of an agent's error text in an event. */
const SAID = 512;
