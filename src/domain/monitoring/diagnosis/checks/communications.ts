import { fromBinary } from '@bufbuild/protobuf';
import { Agent_Liveness } from '../../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Finding_Severity } from '../../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { DeadLetterRecordSchema } from '../../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { msFromTimestamp } from '../../../../lib/proto-time.ts';
import type { Store } from '../../../../state/store.ts';
import type { AgentDirectory } from '../../../agent/directory.ts';
import { agentOf } from '../../../agent/record.ts';
import { attemptsOf, DEAD_PREFIX, itemWords } from '../../../coordination/delivery-record.ts';
import type { KnownDelivery, Mailboxes } from '../../../coordination/mailboxes.ts';
import type { Check, Found, Scope } from '../check.ts';
import { count, few, percent, time } from '../words.ts';

export interface CommunicationsOptions {
  store: Pick<Store, 'scan'>;
  directory: AgentDirectory;
  mailboxes: Pick<Mailboxes, 'of' | 'total'>;
  storeMs(): number;
  maxMailbox: number;
  /** How long an agent has to take something on. */
  acceptWithinMs: number;
}

/** Waiting for so long at an agent that is there, and takes nothing on, it is stuck. */
const STUCK_MS = 60_000;
const FULL_SHARE = 0.8;
const HOUR_MS = 3_600_000;
/** Dead letters of a namespace that are looked at. */
const LOOKED_AT = 10_000;
const PAGE = 1000;

/** Whether what is sent is taken on. */
export function reviewCommunications(options: CommunicationsOptions): Check {
  return {
    id: 'agent_management.review_communications',
    step: 2,
    async run(scope) {
      const { mailboxes } = options;
      const found: Found[] = [];
      let waiting = 0;
      let dead = 0;
      for (const namespace of scope.namespaces) {
        waiting += mailboxes.total(namespace);
        if (mailboxes.total(namespace) > 0) found.push(...(await mail(options, namespace, scope)));
        const letters = await deadLetters(options, namespace, scope);
        dead += letters.count;
        found.push(...letters.found);
      }
      const well = `${count(waiting, 'delivery', 'deliveries')} under way, none stuck; ${count(dead, 'dead letter')}.`;
      return { found, well };
    },
  };
}

async function mail(options: CommunicationsOptions, namespace: string, scope: Scope): Promise<Found[]> {
  const { directory, mailboxes, maxMailbox, storeMs } = options;
  const stuckMs = Math.max(STUCK_MS, 3 * options.acceptWithinMs);
  const stuck: { known: KnownDelivery; ageMs: number }[] = [];
  const full: { id: string; many: number }[] = [];
  let away = 0;
  for (const { id, record } of directory.all(namespace)) {
    await scope.breathe();
    const deliveries = mailboxes.of(namespace, id);
    if (deliveries.length >= maxMailbox * FULL_SHARE) full.push({ id, many: deliveries.length });
    const [oldest] = deliveries;
    if (oldest === undefined) continue;
    if (agentOf(record).liveness !== Agent_Liveness.CONNECTED) {
      away += deliveries.length;
      continue;
    }
    // What it works on may keep what comes next waiting: then it is busy, and not stuck.
    if (deliveries.some((each) => each.record.accepted)) continue;
    const { createTime } = oldest.record;
    const ageMs = createTime === undefined ? 0 : storeMs() - msFromTimestamp(createTime);
    if (ageMs >= stuckMs) stuck.push({ known: oldest, ageMs });
  }
  return [
    ...stuckFound(stuck, namespace),
    ...fullFound(full, maxMailbox, namespace),
    ...awayFound(away, namespace),
  ];
}

function stuckFound(stuck: { known: KnownDelivery; ageMs: number }[], namespace: string): Found[] {
  if (stuck.length === 0) return [];
  const ids = stuck.map(({ known }) => known.agentId);
  return [
    {
      code: 'stuck_deliveries',
      severity: Finding_Severity.WARNING,
      summary: `${count(ids.length, 'attached agent')} take${ids.length === 1 ? 's' : ''} nothing on that waits for ${ids.length === 1 ? 'it' : 'them'}: ${few(ids)}.`,
      evidence: stuck.map(
        ({ known: { agentId, id, record }, ageMs }) =>
          `${agentId}: ${itemWords(record)} ${id} has waited for ${time(ageMs)}, handed out ${count(attemptsOf(record), 'time')}`,
      ),
      advice: `See for what it waits: orchestrator agents explain ${ids[0] ?? ''}`,
      namespace,
      subjects: stuck.map(({ known }) => known.id),
    },
  ];
}

function fullFound(full: { id: string; many: number }[], most: number, namespace: string): Found[] {
  if (full.length === 0) return [];
  return [
    {
      code: 'mailbox_nearly_full',
      severity: full.some(({ many }) => many >= most) ? Finding_Severity.CRITICAL : Finding_Severity.WARNING,
      summary: `The mailboxes of ${count(full.length, 'agent')} are nearly full: ${few(full.map(({ id }) => id))}.`,
      evidence: full.map(({ id, many }) => `${id}: ${many} of ${most} (${percent(many / most)})`),
      advice:
        'Senders are refused once one is full. Slow them down with a link policy, or start more agents of this kind.',
      namespace,
      subjects: full.map(({ id }) => id),
    },
  ];
}

function awayFound(away: number, namespace: string): Found[] {
  if (away === 0) return [];
  return [
    {
      code: 'deliveries_for_absent',
      severity: Finding_Severity.INFO,
      summary: `${count(away, 'delivery', 'deliveries')} wait for agents that are not attached.`,
      advice: 'They are handed out when the agents come back.',
      namespace,
    },
  ];
}

async function deadLetters(
  { store, storeMs }: CommunicationsOptions,
  namespace: string,
  scope: Scope,
): Promise<{ count: number; found: Found[] }> {
  const reasons = new Map<string, number>();
  const fresh: string[] = [];
  let all = 0;
  let after: string | undefined;
  let more = true;
  while (more && all < LOOKED_AT) {
    const from = after === undefined ? {} : { after };
    const page = await store.scan(namespace, { prefix: DEAD_PREFIX, limit: PAGE, ...from });
    for (const { value } of page.entries) {
      await scope.breathe();
      const { delivery, reason, time: at } = fromBinary(DeadLetterRecordSchema, value);
      all += 1;
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      if (at !== undefined && storeMs() - msFromTimestamp(at) < HOUR_MS) fresh.push(delivery?.id ?? '');
    }
    after = page.entries.at(-1)?.key;
    more = page.more && after !== undefined;
  }
  if (all === 0) return { count: 0, found: [] };
  const many = `${more ? 'at least ' : ''}${count(all, 'dead letter')}`;
  return {
    count: all,
    found: [
      {
        code: 'dead_letters',
        severity: fresh.length > 0 ? Finding_Severity.WARNING : Finding_Severity.INFO,
        summary: `There ${all === 1 ? 'is' : 'are'} ${many}, ${fresh.length} of the last hour.`,
        evidence: [...reasons].map(([reason, times]) => `${reason}: ${times}`),
        advice:
          'orchestrator dead-letters list; once the cause is mended: orchestrator dead-letters redrive.',
        namespace,
        subjects: fresh,
      },
    ],
  };
}
