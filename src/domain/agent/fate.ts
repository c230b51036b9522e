import { Agent_Phase } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { KnownAgent } from './directory.ts';
import { isAttached } from './liveness.ts';
import { agentOf } from './record.ts';
import type { Session } from './session.ts';
import { knowsToken } from './token.ts';

/** What news of an agent means for the session of it that is held here. */
export type Fate =
  /** The session is over. */
  | { kind: 'end'; cause: 'revoked' | 'superseded' | 'stopped'; reason: GoAway_Reason; detail: string }
  /** Another replica took it for gone: it is told otherwise. */
  | { kind: 'reassert'; detail: string };

/** Pure. @param after the agent as it is now; undefined: deregistered */
export function fateOf(session: Session, after: KnownAgent | undefined): Fate | undefined {
  const { SUPERSEDED, REVOKED } = GoAway_Reason;
  if (after === undefined || agentOf(after.record).uid !== session.uid) {
    return { kind: 'end', cause: 'revoked', reason: REVOKED, detail: 'the agent was deregistered' };
  }
  const { record } = after;
  if (record.sessionEpoch > session.epoch) {
    const detail = `superseded by a session from ${record.peer}`;
    return { kind: 'end', cause: 'superseded', reason: SUPERSEDED, detail };
  }
  if (!knowsToken(record.tokenHashes, session.tokenHash)) {
    const detail = 'the agent was taken over by a new registration';
    return { kind: 'end', cause: 'superseded', reason: SUPERSEDED, detail };
  }
  // Told to stop, it had until its deadline to leave by itself.
  if (agentOf(record).phase === Agent_Phase.STOPPED && record.stopDeadline === undefined) {
    return { kind: 'end', cause: 'stopped', reason: REVOKED, detail: 'the agent was stopped' };
  }
  // Our own verdicts of that kind come after the session's end.
  if (record.sessionEpoch === session.epoch && !isAttached(agentOf(record).liveness)) {
    const by = agentOf(record).verdict?.replicaId ?? '';
    return { kind: 'reassert', detail: `its session is held here, although replica ${by} judged otherwise` };
  }
  return undefined;
}
