import type { Agent_Liveness, Verdict } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { SessionConfig } from '../../config/config.ts';
import type { Clock } from '../../lib/clock.ts';
import type { TimingWheel } from '../../lib/timing-wheel.ts';
import type { TroubleEvidence } from './care/troubles.ts';
import type { SelfWatch } from './observer.ts';
import type { Session } from './session.ts';
import type { Silences } from './silences.ts';

/** Measured on the hot path; must cost next to nothing. */
export interface SessionMetrics {
  heartbeat(rttMs: number): void;
  missedPing(): void;
  sessionOpened(): void;
  sessionClosed(reason: string): void;
  sessionCutOff(reason: string): void;
  verdict(liveness: string): void;
}

/** Whoever keeps figures of what sessions measure. On the hot path. */
export interface SessionMeasuring {
  /** A heartbeat was heard. @param rttMs undefined: it gave no round trip */
  heard(session: Session, rttMs: number | undefined, nowMs: number): void;
  ended(session: Session): void;
}

/** What all sessions of a replica share. */
export interface SessionContext {
  clock: Clock;
  wheel: TimingWheel;
  config: SessionConfig;
  replicaId: string;
  self: SelfWatch;
  metrics: SessionMetrics;
  /** Undefined: nobody keeps figures. */
  measuring?: SessionMeasuring | undefined;
  /** How long agents of this replica that live have left pings unanswered. */
  silences: Silences;
  /** The interval and lease that hold for this fleet now. */
  pacing(): { intervalMs: number; leaseMs: number };
  /** Whether a session may be sent on because another replica has room for it; it is counted if so. */
  mayMoveOn(): boolean;
  /** How much of the fleet is in trouble, as evidence of a verdict on one agent. */
  trouble(namespace: string, agentId: string): TroubleEvidence;
  /** The budget of an activity, or undefined without a contract. */
  progressBudgetMs(namespace: string, agentId: string, activity: string): number | undefined;
}

/** What a session tells its owner. */
export interface SessionOwner {
  /** Liveness was judged anew. */
  judged(session: Session, liveness: Agent_Liveness, verdict: Verdict): void;
  /** The progress contract was broken (or is kept again). */
  progressJudged(session: Session, stuck: boolean, detail: string): void;
  /** The agent reported the process that it stands for. */
  processReported(session: Session): void;
  /** The session must end. */
  end(session: Session, reason: GoAway_Reason, detail: string): void;
}

/** The way down, as a session needs it. */
export interface PingSender {
  /** False: nothing can be sent now and that is not the agent's fault (between two polls). */
  ready(): boolean;
  /** Sends a ping at once, before anything that waits. False: it waits, because the client does not read. */
  ping(echo: number, fullReport: boolean, leaseMs: number | undefined): boolean;
  /** How long between two instants the agent had no way to answer (no poll of its was open), milliseconds. */
  awayMs(fromMs: number, toMs: number): number;
  /** For how long the client has not read what was sent to it, milliseconds. */
  blockedMs(nowMs: number): number;
}
