import type { Work } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  type DeliveryUpdate,
  GoAway_Reason,
  type Heartbeat,
  type Hello,
  type OpenSessionRequest,
  type OpenSessionResponse,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Background } from '../../lib/background.ts';
import { DomainError, type FieldViolation } from '../../lib/errors.ts';
import { durationFromMs, msFromDuration, msFromTimestamp } from '../../lib/proto-time.ts';
import { invalidFields, protocolViolation, tokenMissing } from './errors.ts';
import { goAwayFrame, resultFrame, type WireError, welcomeFrame } from './frames.ts';
import type { Session } from './session.ts';
import type { SessionLine, Sessions } from './sessions.ts';
import { claimOf, hashToken } from './token.ts';

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

/** Where deliveries are sent to. */
export interface DeliveryRoom {
  /** Whether a delivery may be sent now: the client reads, and nothing waits before it. */
  hasRoom(): boolean;
  send(frame: OpenSessionResponse): void;
}

export interface SessionProtocolOptions {
  sessions: Sessions;
  deliveries: SessionDeliveries;
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
  /** Ends the call with an error (or well), after what was sent. */
  finish(error?: unknown): void;
}

/** Features of this server that a client may ask for in hello; none goes beyond the basics yet. */
const FEATURES: ReadonlySet<string> = new Set();
/** Frames that may wait while the attachment is being stored. */
const MAX_EARLY_FRAMES = 64;
/** Delivery updates that may wait for the store at a time. */
const MAX_UPDATES = 1024;
/** More frames a second than any honest agent sends. */
const MAX_FRAMES_PER_SECOND = 2000;

type State = 'new' | 'attaching' | 'open' | 'leaving' | 'over';

/** The rules of one session's conversation, the same on a stream and by long poll. */
export class SessionProtocol {
  readonly #options: SessionProtocolOptions;
  readonly #carrier: FrameCarrier;
  readonly #token: string | undefined;
  #state: State = 'new';
  #session: Session | undefined;
  #early: OpenSessionRequest[] = [];
  #windowStartMs = 0;
  #windowFrames = 0;
  #halfClosed = false;
  /** Delivery updates that are being stored. */
  #storing = 0;

  constructor(options: SessionProtocolOptions, carrier: FrameCarrier, token: string | undefined) {
    this.#options = options;
    this.#carrier = carrier;
    this.#token = token;
  }

  get session(): Session | undefined {
    return this.#session;
  }

  /** Whether the conversation has ended, from whichever side. */
  get over(): boolean {
    return this.#state === 'over';
  }

  /** Whether the session was welcomed: nothing may be sent before. */
  get open(): boolean {
    return this.#state === 'open';
  }

  /** What was sent has been read: deliveries may go on. */
  roomAgain(): void {
    if (this.#state !== 'open' || this.#session === undefined) return;
    this.#options.deliveries.wake(this.#session.namespace, this.#session.agentId);
  }

  /** Whether hello has not come yet. */
  get silent(): boolean {
    return this.#state === 'new';
  }

  /** The plain answer to a ping, decoded without building a message; see heartbeat-codec.ts. */
  plainHeartbeat(echo: number, heldMs: number, agentWallMs: number | undefined, nowMs: number): boolean {
    if (this.#state !== 'open' || this.#session === undefined || this.#tooFast(nowMs)) return false;
    this.#session.heartbeat(echo, heldMs, agentWallMs, undefined);
    return true;
  }

  frame(frame: OpenSessionRequest, nowMs: number): void {
    if (this.#state === 'over') return;
    if (this.#tooFast(nowMs)) {
      this.fail(
        new DomainError({
          reason: ErrorReason.LIMIT_REACHED,
          message: `more than ${MAX_FRAMES_PER_SECOND} frames in a second`,
          retryAfterMs: 5000,
        }),
      );
      return;
    }
    const violations = this.#options.validateFrame(frame);
    if (violations.length > 0) {
      this.#refuse(frame, invalidFields('the frame breaks the rules of its fields', violations));
      return;
    }
    if (this.#state === 'new') this.#first(frame);
    else if (this.#state === 'attaching') this.#hold(frame);
    else this.#next(frame);
  }

  /** The client sends nothing more. Without leave that is a lost connection; what it said before still counts. */
  halfClosed(): void {
    this.#halfClosed = true;
    if (this.#state === 'new') this.fail(protocolViolation('the stream was half-closed before hello'));
    if (this.#state !== 'open') return;
    this.closed('the stream was half-closed without leave');
    this.#carrier.finish();
  }

  /** The call is over. */
  closed(detail: string): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    if (this.#session !== undefined) this.#options.sessions.lost(this.#session, detail);
  }

  /** Ends the conversation because of `error`: a goaway, then the status. */
  fail(error: unknown): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    const told = this.#options.wireError(error);
    if (this.#session !== undefined) this.#options.sessions.lost(this.#session, told.detail);
    if (error instanceof DomainError && isProtocolFault(error.reason)) {
      this.#carrier.send(goAwayFrame(GoAway_Reason.PROTOCOL, told.detail, undefined));
    }
    this.#carrier.finish(error);
  }

  /** The registry ended the session and said goaway. */
  ended(): void {
    this.#state = 'over';
  }

  #first(frame: OpenSessionRequest): void {
    if (frame.frame.case !== 'hello') {
      const got = frame.frame.case ?? 'an unknown frame';
      this.fail(protocolViolation(`the first frame must be hello, not ${got}`));
      return;
    }
    const claim = this.#token === undefined ? undefined : claimOf(this.#token);
    if (this.#token === undefined || claim === undefined) {
      this.fail(tokenMissing());
      return;
    }
    this.#state = 'attaching';
    const hello = frame.frame.value;
    const hash = hashToken(this.#token);
    this.#options.background.run('attach', async () => {
      try {
        const { sessions, deliveries } = this.#options;
        const { session, revision } = await sessions.attach(claim, hash, hello, this.#carrier);
        const work = await deliveries.reconcile(session, hello.held, revision).catch((error: unknown) => {
          // This replica lags behind: that is no failure of the agent.
          sessions.lost(session, 'what it holds could not be compared with its mailbox', true);
          throw error;
        });
        this.#welcome(session, hello, work, frame.frameId);
      } catch (error) {
        this.fail(error);
      }
    });
  }

  #welcome(session: Session, hello: Hello, { kept, revoked }: HeldWork, frameId: string): void {
    if (this.#state === 'over') {
      this.#options.sessions.lost(session, 'the stream closed while attaching');
      return;
    }
    // Somebody else may have attached, or deregistered the agent, in between; goaway was said then.
    if (session.ended) return;
    this.#session = session;
    this.#state = 'open';
    const { intervalMs, leaseMs } = this.#options.pacing();
    this.#carrier.send(
      welcomeFrame({
        epoch: session.epoch,
        features: hello.features.filter((feature) => FEATURES.has(feature)),
        revoked,
        pingInterval: durationFromMs(intervalMs),
        lease: durationFromMs(leaseMs),
        reconnectGrace: durationFromMs(this.#options.reconnectGraceMs),
        maxFrameBytes: this.#options.maxFrameBytes,
        replicaId: this.#options.replicaId,
      }),
    );
    if (frameId !== '') this.#result(frameId);
    session.senderReady();
    // Before what it sent early: among that may be what became of what it holds.
    this.#options.deliveries.began(session, this.#carrier, hello.maxInFlight, kept);
    const early = this.#early;
    this.#early = [];
    for (const frame of early) this.#next(frame);
    if (this.#halfClosed) this.halfClosed();
  }

  #hold(frame: OpenSessionRequest): void {
    if (this.#early.length < MAX_EARLY_FRAMES) {
      this.#early.push(frame);
      return;
    }
    this.fail(
      new DomainError({
        reason: ErrorReason.LIMIT_REACHED,
        message: `more than ${MAX_EARLY_FRAMES} frames before welcome`,
        retryAfterMs: 1000,
      }),
    );
  }

  #next(frame: OpenSessionRequest): void {
    const session = this.#session;
    if (session === undefined || this.#state === 'over') return;
    if (this.#state === 'leaving') {
      this.fail(protocolViolation('a frame came after leave'));
      return;
    }
    switch (frame.frame.case) {
      case 'heartbeat':
        heartbeat(session, frame.frame.value);
        if (frame.frameId !== '') this.#result(frame.frameId);
        return;
      case 'leave':
        this.#leave(session, frame.frame.value.reason, frame.frameId);
        return;
      case 'hello':
        this.fail(protocolViolation('hello came twice'));
        return;
      case 'deliveryUpdate':
        this.#deliveryUpdate(session, frame.frame.value, frame.frameId);
        return;
      default:
        this.#refuse(
          frame,
          new DomainError({
            reason: ErrorReason.UNKNOWN_FRAME,
            message: `frame ${frame.frame.case ?? 'of an unknown kind'} was not agreed on in hello and welcome`,
          }),
        );
    }
  }

  /** Without a frame id nobody learns of a refusal; it is the client's choice, and no reason to end its session. */
  #deliveryUpdate(session: Session, update: DeliveryUpdate, frameId: string): void {
    if (this.#storing >= MAX_UPDATES) {
      const message = `more than ${MAX_UPDATES} delivery updates wait to be stored`;
      this.fail(new DomainError({ reason: ErrorReason.LIMIT_REACHED, message, retryAfterMs: 1000 }));
      return;
    }
    this.#storing += 1;
    this.#options.background.run('delivery update', async () => {
      let failure: WireError | undefined;
      try {
        await this.#options.deliveries.update(session, update);
      } catch (error) {
        failure = this.#options.wireError(error);
      } finally {
        this.#storing -= 1;
      }
      if (frameId !== '' && this.#state === 'open') this.#result(frameId, failure);
    });
  }

  #leave(session: Session, reason: string, frameId: string): void {
    this.#state = 'leaving';
    this.#options.background.run('leave', async () => {
      const stored = await this.#options.sessions.left(session, reason);
      if (this.#state !== 'leaving') return;
      if (!stored) {
        const message = 'this replica is leaving, and could not store the goodbye';
        this.fail(new DomainError({ reason: ErrorReason.SHUTTING_DOWN, message, retryAfterMs: 1000 }));
        return;
      }
      this.#state = 'over';
      if (frameId !== '') this.#result(frameId);
      this.#carrier.finish();
    });
  }

  /** With a frame id the refusal is an answer; without one it can only end the session. */
  #refuse(frame: OpenSessionRequest, error: DomainError): void {
    if (frame.frameId === '' || frame.frameId.length > 128 || this.#state !== 'open') this.fail(error);
    else this.#result(frame.frameId, this.#options.wireError(error));
  }

  #result(frameId: string, error?: WireError): void {
    this.#carrier.send(resultFrame(frameId, error));
  }

  #tooFast(nowMs: number): boolean {
    if (nowMs - this.#windowStartMs >= 1000) {
      this.#windowStartMs = nowMs;
      this.#windowFrames = 0;
    }
    this.#windowFrames += 1;
    return this.#windowFrames > MAX_FRAMES_PER_SECOND;
  }
}

function heartbeat(session: Session, frame: Heartbeat): void {
  const heldMs = frame.held === undefined ? 0 : msFromDuration(frame.held);
  const agentWallMs = frame.agentTime === undefined ? undefined : msFromTimestamp(frame.agentTime);
  session.heartbeat(Number(frame.echo), heldMs, agentWallMs, frame.report);
}

const isProtocolFault = (reason: ErrorReason): boolean =>
  reason === ErrorReason.PROTOCOL_VIOLATION ||
  reason === ErrorReason.UNKNOWN_FRAME ||
  reason === ErrorReason.INVALID_FIELDS ||
  reason === ErrorReason.MALFORMED_MESSAGE;
