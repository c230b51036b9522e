import {
  type DeliveryUpdate,
  GoAway_Reason,
  type Heartbeat,
  type Hello,
  type OpenSessionRequest,
  type SendMessage,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError, type FieldViolation } from '../../lib/errors.ts';
import { InTurns } from '../../lib/in-turns.ts';
import { durationFromMs, msFromDuration, msFromTimestamp } from '../../lib/proto-time.ts';
import { invalidFields, protocolViolation, tokenMissing } from './errors.ts';
import { goAwayFrame, resultFrame, type WireError, welcomeFrame } from './frames.ts';
import type { Session } from './session.ts';
import type { FrameCarrier, HeldWork, SessionProtocolOptions } from './session-ports.ts';
import { claimOf, hashToken } from './token.ts';

/** A result has no details: its words name the first fields that break their rules. */
function wordsOf(violations: readonly FieldViolation[]): string {
  const named = violations.slice(0, 3).map(({ field, description }) => `${field}: ${description}`);
  const more = violations.length > named.length ? `; and ${violations.length - named.length} more` : '';
  return `${named.join('; ')}${more}`;
}

/** Frames that send messages. */
const MESSAGES = 'messages/1';
/** Features of this server that a client may ask for in hello. */
const FEATURES: ReadonlySet<string> = new Set([MESSAGES]);
/** Frames that may wait while the attachment is being stored. */
const MAX_EARLY_FRAMES = 64;
/** Frames whose effects may wait for the store at a time. */
const MAX_STORING = 1024;
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
  /** Frames whose effects are being stored. */
  readonly #storing = new Set<Promise<void>>();
  /** Messages of this session are stored in their order. */
  readonly #sending = new InTurns<unknown>();
  /** Features agreed on. */
  #agreed: ReadonlySet<string> = new Set();

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
      this.#refuse(frame, invalidFields(wordsOf(violations), violations));
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
    this.#agreed = new Set(hello.features.filter((feature) => FEATURES.has(feature)));
    this.#carrier.send(
      welcomeFrame({
        epoch: session.epoch,
        features: [...this.#agreed],
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
      case 'send':
        if (!this.#agreed.has(MESSAGES)) {
          this.#refuseFrame(frame);
          return;
        }
        this.#sendFrame(session, frame.frame.value, frame.frameId);
        return;
      default:
        this.#refuseFrame(frame);
    }
  }

  /** Without a frame id nobody learns of a refusal; it is the client's choice, and no reason to end its session. */
  #store(frameId: string, effect: () => Promise<unknown>): void {
    if (this.#storing.size >= MAX_STORING) {
      const message = `the effects of more than ${MAX_STORING} frames wait to be stored`;
      this.fail(new DomainError({ reason: ErrorReason.LIMIT_REACHED, message, retryAfterMs: 1000 }));
      return;
    }
    this.#options.background.run('store the effect of a frame', async () => {
      let failure: WireError | undefined;
      const storing = (async () => {
        try {
          await effect();
        } catch (error) {
          failure = this.#options.wireError(error);
        }
      })();
      this.#storing.add(storing);
      await storing;
      this.#storing.delete(storing);
      if (frameId !== '' && this.#state === 'open') this.#result(frameId, failure);
    });
  }

  #deliveryUpdate(session: Session, update: DeliveryUpdate, frameId: string): void {
    this.#store(frameId, () => this.#options.deliveries.update(session, update));
  }

  #sendFrame(session: Session, send: SendMessage, frameId: string): void {
    this.#store(frameId, () => this.#send(session, send));
  }

  #refuseFrame(frame: OpenSessionRequest): void {
    this.#refuse(
      frame,
      new DomainError({
        reason: ErrorReason.UNKNOWN_FRAME,
        message: `frame ${frame.frame.case ?? 'of an unknown kind'} was not agreed on in hello and welcome`,
      }),
    );
  }

  /** In the order in which the agent sent them. */
  #send({ namespace, agentId, epoch }: Session, send: SendMessage): Promise<unknown> {
    const agent = { namespace, agentId };
    const how = {
      caller: { principal: `agent:${namespace}/${agentId}`, token: this.#token, agent },
      sessionEpoch: epoch,
    };
    return this.#sending.run(() => this.#options.messages.send(namespace, send, how));
  }

  #leave(session: Session, reason: string, frameId: string): void {
    this.#state = 'leaving';
    this.#options.background.run('leave', async () => {
      const stored = await this.#options.sessions.left(session, reason, this.#storing);
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
    if (error === undefined) this.#carrier.stored(frameId);
    else this.#carrier.send(resultFrame(frameId, error));
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
