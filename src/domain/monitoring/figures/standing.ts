import { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { AgentRecord } from '../../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { zoneOf } from '../../agent/care/troubles.ts';
import { isAttached } from '../../agent/liveness.ts';
import { agentOf } from '../../agent/record.ts';
import { amountOf, amountsOf, SLOTS } from '../../resource/amounts.ts';
import { unavailableWhy } from '../../resource/ledger.ts';

/** Agents that are expected to be there. */
export function shouldWork(liveness: Agent_Liveness, phase: Agent_Phase): boolean {
  return (
    liveness !== Agent_Liveness.NEVER_SEEN &&
    liveness !== Agent_Liveness.LEFT &&
    phase !== Agent_Phase.STOPPED
  );
}

/** What figures need to know of an agent besides what its session measures. */
export interface Standing {
  zone: string;
  /** What its load counts for, beside that of others. */
  weight: number;
  works: boolean;
  attached: boolean;
  /** It may be given work. */
  available: boolean;
  lost: boolean;
  quarantined: boolean;
}

/** @param judged instead of the liveness that is stored */
export function standingOf(record: AgentRecord, judged?: Agent_Liveness): Standing {
  const { phase, spec } = agentOf(record);
  const liveness = judged ?? agentOf(record).liveness;
  return {
    zone: zoneOf(record),
    weight: amountOf(amountsOf(spec?.capacity ?? {}), SLOTS) || 1,
    works: shouldWork(liveness, phase),
    attached: isAttached(liveness),
    available: unavailableWhy(liveness, phase) === '',
    lost: liveness === Agent_Liveness.LOST,
    quarantined: phase === Agent_Phase.QUARANTINED,
  };
}
