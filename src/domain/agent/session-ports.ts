import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import type {
  DeliveryUpdate,
  OpenSessionRequest,
  OpenSessionResponse,
  SendMessage,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import type { Background } from '../../lib/background.ts';
import type { FieldViolation } from '../../lib/errors.ts';
import type { Caller } from './caller.ts';
import type { WireError } from './frames.ts';
import type { Session } from './session.ts';
import type { SessionLine, Sessions } from './sessions.ts';

/** Of the work that an agent says it holds: the attempts that are still its own, by delivery id, and what it must stop. */
export interface HeldWork {
  kept: ReadonlyMap<string, bigint>;
  revoked: Work[];
}

/** The way of deliveries down a session, and of their outcomes back. */
export interface SessionDeliveries {
  /** Compares what an agent says it holds with its mailbox. */
  reconcile(session: Session, held: readonly Work[], revision: bigint): Promise<HeldWork>;
  /** The session was welcomed. */
  began(session: Session, line: DeliveryRoom, maxInFlight: number, held: ReadonlyMap<string, bigint>): void;
  /** There may be room for deliveries again. */
  wake(namespace: string, agentId: string): void;
  /** Resolves when the update is stored. */
  update(session: Session, update: DeliveryUpdate): Promise<void>;
}

/** The way of messages up a session. */
export interface SessionMessages {
  /** Resolves when it is stored. */
  send(namespace: string, send: SendMessage, how: { caller: Caller; sessionEpoch: bigint }): Promise<unknown>;
}

/** Where deliveries are sent to. */
export interface DeliveryRoom {
  /** Whether a delivery may be sent now: the client reads, and nothing waits before it. */
  hasRoom(): boolean;
  send(frame: OpenSessionResponse): void;
}

export interface SessionProtocolOptions {
  sessions: Sessions;
  deliveries: SessionDeliveries;
  messages: SessionMessages;
  background: Background;
  /** Checks a frame; no violations: it is fine. */
  validateFrame(frame: OpenSessionRequest): FieldViolation[];
  /** Looks up how an error is told. */
  wireError(error: unknown): WireError;
  replicaId: string;
  maxFrameBytes: number;
  reconnectGraceMs: number;
  pacing(): { intervalMs: number; leaseMs: number };
}

/** What carries the frames: a stream or a series of polls. */
export interface FrameCarrier extends SessionLine, DeliveryRoom {
  /** Sends the result of a frame whose effect is stored. */
  stored(frameId: string): void;
  /** Ends the call with an error (or well), after what was sent. */
  finish(error?: unknown): void;
}
