import type { Agent_Liveness, Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Check } from '../../state/store.ts';
import type { NewEvent } from '../monitoring/events.ts';
import { livenessWords } from './liveness.ts';

/** Whom a judgement is about. */
export interface Judged {
  namespace: string;
  agentId: string;
  /** The session judged; a judgement is dropped if a newer one has attached meanwhile. */
  epoch: bigint;
}

/** A judgement that is to be stored. Without liveness it is an event alone. */
export interface Judgement extends Judged {
  liveness?: Agent_Liveness;
  verdict: Verdict;
  event: NewEvent;
  /** The lease under which it was judged, where nobody holds the session: without it the judgement is dropped. */
  fence?: Check;
  /** It was our doing, and no failure of the agent. */
  blameless?: boolean;
}

/** Liveness was judged anew. */
export function livenessJudgement(
  { namespace, agentId, epoch }: Judged,
  liveness: Agent_Liveness,
  verdict: Verdict,
  peer: string | undefined,
): Judgement {
  const { name, words, severity } = livenessWords(liveness);
  return {
    namespace,
    agentId,
    epoch,
    liveness,
    verdict,
    event: {
      type: `agent.${name}`,
      severity,
      message: `${agentId} is ${words}: ${verdict.detail}`,
      actor: `rule:${verdict.rule}`,
      agentId,
      verdict,
      attributes: { epoch: `${epoch}`, ...(peer === undefined ? {} : { peer }) },
    },
  };
}

/** The progress contract was broken, or is kept again. */
export function progressJudgement(
  { namespace, agentId, epoch }: Judged,
  stuck: boolean,
  verdict: Verdict,
): Judgement {
  return {
    namespace,
    agentId,
    epoch,
    verdict,
    event: {
      type: stuck ? 'agent.stuck' : 'agent.progressing',
      severity: stuck ? Event_Severity.WARNING : Event_Severity.INFO,
      message: `${agentId}: ${verdict.detail}`,
      actor: 'rule:progress',
      agentId,
      verdict,
    },
  };
}

/** The store was lost, or fell back, and was told again of an agent whose session is held. */
export function restoredEvent(agentId: string, epoch: bigint, replicaId: string): NewEvent {
  return {
    type: 'agent.restored',
    severity: Event_Severity.WARNING,
    message: `${agentId} was stored again from its session: the store had lost it`,
    actor: `replica:${replicaId}`,
    agentId,
    attributes: { epoch: `${epoch}` },
  };
}
