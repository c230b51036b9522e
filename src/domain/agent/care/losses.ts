import { Event_Severity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { timestampFromMs } from '../../../lib/proto-time.ts';
import type { Append, Check } from '../../../state/store.ts';
import type { KnownAgent } from '../directory.ts';
import { agentOf } from '../record.ts';
import type { Change, ChangeContext } from './changes.ts';
import type { LossHook } from './loss-hook.ts';

/** What hooks add to a commit, joined. */
export interface HookEffects {
  checks: Check[];
  puts: { key: string; value: Uint8Array }[];
  deletes: string[];
  appends: Append[];
  summaries: string[];
  more: boolean;
}

/** Asks every hook what the loss of an agent means for what it had. */
export async function askHooks(
  hooks: readonly LossHook[],
  known: KnownAgent,
  storeMs: number,
): Promise<HookEffects> {
  const joined: HookEffects = { checks: [], puts: [], deletes: [], appends: [], summaries: [], more: false };
  for (const hook of hooks) {
    const effects = await hook.effects({ namespace: known.namespace, known, storeMs });
    joined.checks.push(...(effects.checks ?? []));
    joined.puts.push(...(effects.puts ?? []));
    joined.deletes.push(...(effects.deletes ?? []));
    joined.appends.push(...(effects.appends ?? []));
    if (effects.summary !== undefined && effects.summary !== '') joined.summaries.push(effects.summary);
    joined.more ||= effects.more === true;
  }
  return joined;
}

/** Marks a loss as dealt with, once no hook has more to do about it. */
export function handleLoss(change: Change, effects: HookEffects, context: ChangeContext): void {
  const { record, events } = change;
  const agent = agentOf(record);
  agent.updateTime = timestampFromMs(context.wallMs);
  if (!effects.more) record.lossHandledEpoch = record.sessionEpoch;
  const kept = context.policy.onLoss === 'keep';
  const done = kept
    ? 'its work and reservations wait for it, as its policy says'
    : effects.summaries.length === 0
      ? 'it had nothing that could be given to others'
      : effects.summaries.join(', ');
  const confirmed = record.lossConfirmedEpoch === record.sessionEpoch;
  events.push({
    type: 'agent.loss_handled',
    severity: Event_Severity.WARNING,
    message: `${agent.id} is lost (${agent.verdict?.detail ?? 'no verdict is known'}): ${done}`,
    actor: 'rule:on_loss',
    agentId: agent.id,
    ...(agent.verdict === undefined ? {} : { verdict: agent.verdict }),
    attributes: {
      epoch: `${record.sessionEpoch}`,
      on_loss: context.policy.onLoss,
      cause: agent.verdict?.rule ?? '',
      confirmed: `${confirmed}`,
      complete: `${!effects.more}`,
    },
  });
}
