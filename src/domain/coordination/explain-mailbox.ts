import { create } from '@bufbuild/protobuf';
import { WorkSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type ExplainAgentResponse_MailboxEntry,
  ExplainAgentResponse_MailboxEntrySchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { durationFromMs, msFromTimestamp } from '../../lib/proto-time.ts';
import { attemptsOf, itemWords } from './delivery-record.ts';
import { isExpired } from './delivery-rules.ts';
import type { KnownDelivery } from './mailboxes.ts';

export interface MailboxSight {
  /** The agent's deliveries, in their order. */
  deliveries: readonly KnownDelivery[];
  storeMs: number;
  /** Whether the agent has a session, on whichever replica. */
  attached: boolean;
  /** Whether the present attempt was sent in the session that this replica holds; undefined: another one holds it. */
  isWithAgent: ((known: KnownDelivery) => boolean) | undefined;
}

const MAX_ENTRIES = 32;

/** What waits in a mailbox and for what, oldest first. Pure. */
export function explainMailbox(sight: MailboxSight): ExplainAgentResponse_MailboxEntry[] {
  const entries: ExplainAgentResponse_MailboxEntry[] = [];
  const blocking = new Map<string, string>();
  for (const known of sight.deliveries.slice(0, MAX_ENTRIES)) {
    const { record } = known;
    const entry = create(ExplainAgentResponse_MailboxEntrySchema, {
      work: create(WorkSchema, { deliveryId: known.id, attempt: record.attempt }),
      item: itemWords(record),
      accepted: record.accepted,
      tries: attemptsOf(record),
      waitsFor: waitsFor(known, sight, blocking.get(record.orderingKey)),
    });
    if (record.createTime !== undefined) {
      entry.age = durationFromMs(Math.max(0, sight.storeMs - msFromTimestamp(record.createTime)));
    }
    const endTime = record.workDeadlineTime ?? record.expireTime;
    if (endTime !== undefined) {
      entry.timeLeft = durationFromMs(Math.max(0, msFromTimestamp(endTime) - sight.storeMs));
    }
    entries.push(entry);
    const { orderingKey, accepted } = record;
    if (orderingKey !== '' && !accepted && !blocking.has(orderingKey)) blocking.set(orderingKey, known.id);
  }
  return entries;
}

function waitsFor(known: KnownDelivery, sight: MailboxSight, blockedBy: string | undefined): string {
  const { record } = known;
  const { storeMs, attached, isWithAgent } = sight;
  if (isExpired(record, storeMs)) return 'its time has passed: it is about to be given up';
  if (!attached) return record.accepted ? 'the agent to come back and go on with it' : 'the agent to attach';
  if (record.accepted) return 'its outcome: the agent has taken it on';
  if (blockedBy !== undefined)
    return `${blockedBy}, which comes before it (ordering key "${record.orderingKey}")`;
  const pauseMs = record.notBefore === undefined ? 0 : msFromTimestamp(record.notBefore) - storeMs;
  if (pauseMs > 0) return `a pause of ${(pauseMs / 1000).toFixed(1)} s: it was declined for now`;
  if (isWithAgent === undefined) return 'the agent, whose session another replica holds';
  if (isWithAgent(known)) return "the agent's answer";
  return "room in the agent's window";
}
