import type { Event } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { BRAKE_ENGAGED } from './builtin-rules.ts';
import type { EventRule } from './rule.ts';

/** Attributes of events that say what they are about; the others tell of it. */
const IDENTIFYING = [
  'zone',
  'operation',
  'task_id',
  'allocation_id',
  'owner',
  'budget',
  'resource',
  'lock',
  'policy_id',
  'delivery_id',
  'plan_id',
  'service',
  'sink',
  'replica',
] as const;

const LONGEST_LABEL = 256;
const LONGEST_SUMMARY = 1024;

/** What an event is about, as labels. */
export function subjectOfEvent(event: Event): Record<string, string> {
  const subject: Record<string, string> = {};
  if (event.agentId !== '') subject.agent_id = event.agentId;
  for (const name of IDENTIFYING) {
    const value = event.attributes[name];
    if (value !== undefined && value !== '') subject[name] = value.slice(0, LONGEST_LABEL);
  }
  return subject;
}

/** What happened, in a sentence. */
export function summaryOfEvent(rule: EventRule, event: Event): string {
  const { zone = '', failing, agents } = event.attributes;
  if (rule.name === BRAKE_ENGAGED && failing !== undefined && agents !== undefined) {
    const where = zone === '' ? `namespace ${event.namespace}` : `zone ${zone}`;
    return `${where} cut off: ${failing} of ${agents} agents failed at once`;
  }
  const who = event.agentId === '' ? '' : `agent ${event.agentId}: `;
  return `${who}${event.message}`.slice(0, LONGEST_SUMMARY);
}
