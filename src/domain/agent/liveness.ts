import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Event_Severity } from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';

interface LivenessWords {
  /** As in event types and metric labels. */
  name: string;
  /** Completes "<agent> is …". */
  words: string;
  severity: Event_Severity;
}

const WORDS: readonly (readonly [Agent_Liveness, LivenessWords])[] = [
  [Agent_Liveness.NEVER_SEEN, { name: 'never_seen', words: 'never seen', severity: Event_Severity.INFO }],
  [Agent_Liveness.CONNECTED, { name: 'answering', words: 'answering again', severity: Event_Severity.INFO }],
  [Agent_Liveness.SUSPECT, { name: 'suspect', words: 'suspect', severity: Event_Severity.WARNING }],
  [
    Agent_Liveness.DISCONNECTED,
    { name: 'disconnected', words: 'disconnected', severity: Event_Severity.WARNING },
  ],
  [Agent_Liveness.LOST, { name: 'lost', words: 'lost', severity: Event_Severity.ERROR }],
  [Agent_Liveness.LEFT, { name: 'left', words: 'gone', severity: Event_Severity.INFO }],
];

const BY_LIVENESS = new Map(WORDS);
const UNKNOWN: LivenessWords = { name: 'unknown', words: 'unknown', severity: Event_Severity.INFO };

export const livenessWords = (liveness: Agent_Liveness): LivenessWords =>
  BY_LIVENESS.get(liveness) ?? UNKNOWN;

/** A process of the agent may be there: it was seen, and did not say goodbye. */
export const mayBeThere = (liveness: Agent_Liveness): boolean =>
  liveness !== Agent_Liveness.NEVER_SEEN && liveness !== Agent_Liveness.LEFT;

/** A session is held (or was, when the record was written). */
export const isAttached = (liveness: Agent_Liveness): boolean =>
  liveness === Agent_Liveness.CONNECTED || liveness === Agent_Liveness.SUSPECT;
