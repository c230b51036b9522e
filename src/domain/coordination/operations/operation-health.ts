import { Agent_Liveness } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentOutcome_State } from '../../../../gen/mycosoft/orchestrator/coordination/v1/fleet_operation_service_pb.ts';
import type { AgentDirectory, KnownAgent } from '../../agent/directory.ts';
import { isAttached } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import { operationOf } from './operation-record.ts';
import type { KnownOperation } from './operation-view.ts';

/** The worst agents are named. */
const NAMED = 5;

/**
 * The mean health of the agents that an operation is done with; undefined: it is not looked at, or nobody can be judged. One
 * that is disconnected or lost counts 0; one that left, or of which nothing was measured yet, is left out.
 */
export function meanHealth(
  { namespace, record, outcomes }: Pick<KnownOperation, 'namespace' | 'record' | 'outcomes'>,
  directory: AgentDirectory,
  health: (known: KnownAgent) => number | undefined,
): { score: number; words: string } | undefined {
  const least = operationOf(record).spec?.minHealth ?? 0;
  if (least === 0) return undefined;
  const scores: { id: string; score: number }[] = [];
  for (const { record: outcome } of outcomes.values()) {
    if (outcome.outcome?.state !== AgentOutcome_State.DONE) continue;
    const known = directory.get(namespace, outcome.outcome.agentId);
    if (known === undefined) continue;
    const { liveness } = agentOf(known.record);
    const gone = liveness === Agent_Liveness.DISCONNECTED || liveness === Agent_Liveness.LOST;
    const score = gone ? 0 : isAttached(liveness) ? health(known) : undefined;
    if (score !== undefined) scores.push({ id: known.id, score });
  }
  if (scores.length === 0) return undefined;
  const score = scores.reduce((sum, each) => sum + each.score, 0) / scores.length;
  const worst = [...scores].sort((a, b) => a.score - b.score).slice(0, NAMED);
  const names = worst.map((each) => `${each.id} ${each.score.toFixed(2)}`).join(', ');
  const words = `the mean health of ${scores.length} agents done is ${score.toFixed(2)}, below ${least}: ${names}`;
  return { score, words };
}
