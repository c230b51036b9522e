import { fromBinary } from '@bufbuild/protobuf';
import {
  type GoAway_Reason,
  OpenSessionRequestSchema,
  type OpenSessionResponse,
  GoAway_Reason as Reason,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Clock } from '../../lib/clock.ts';
import { DomainError } from '../../lib/errors.ts';
import { type TimingWheel, type WheelTask, wheelLink } from '../../lib/timing-wheel.ts';
import { protocolViolation } from './errors.ts';
import { encodeFrame, encodePlainPing, encodeStored, goAwayFrame, pingFrame } from './frames.ts';
import { decodePlainHeartbeat } from './heartbeat-codec.ts';
import type { FrameCarrier, SessionProtocolOptions } from './session-ports.ts';
import { SessionProtocol } from './session-protocol.ts';

/** The stream as a binding gives it (the shape of SessionChannel in rpc/service.ts). */
export interface FrameChannel {
  readonly peer: string;
  send(message: Uint8Array): void;
  pendingBytes(): number;
  onDrain: (() => void) | undefined;
  end(error?: unknown, options?: { abort?: boolean; retire?: boolean }): void;
}

export interface StreamCarrierOptions {
  protocol: SessionProtocolOptions;
  channel: FrameChannel;
  clock: Clock;
  token: string | undefined;
  wheel: TimingWheel;
  /** Hello must come within this time. */
  helloTimeoutMs: number;
  /** What may be on its way to the client. */
  windowBytes: number;
}

/** A client that has read nothing for so long is not waited for; a goaway that was just sent still goes out. */
const STUCK_MS = 500;
/** Results that may wait for a client that does not read. */
const MAX_WAITING = 1024;

/**
 * A session on a bidirectional stream. What is on its way to the client stays within a window of our own, because the
 * transport queues without bound for a client that does not read: pings go first and conflate (one waits at most),
 * results follow in order.
 */
export class StreamCarrier implements FrameCarrier, WheelTask {
  /** Until hello came: when it is overdue. */
  readonly wheel = wheelLink();
  readonly peer: string;
  readonly protocol: SessionProtocol;
  readonly #channel: FrameChannel;
  readonly #clock: Clock;
  readonly #wheel: TimingWheel;
  readonly #windowBytes: number;
  #waiting: Uint8Array[] = [];
  #waitingPing: Uint8Array | undefined;
  #blockedSinceMs: number | undefined;
  #finished = false;

  constructor(options: StreamCarrierOptions) {
    this.peer = options.channel.peer;
    this.#channel = options.channel;
    this.#clock = options.clock;
    this.#windowBytes = options.windowBytes;
    this.protocol = new SessionProtocol(options.protocol, this, options.token);
    options.channel.onDrain = () => this.#drained();
    this.#wheel = options.wheel;
    this.#wheel.schedule(this, this.#clock.monoMs() + options.helloTimeoutMs);
  }

  /** No hello came in time. */
  due(): void {
    if (this.protocol.silent) this.protocol.fail(protocolViolation('no hello came in time'));
  }

  /** One encoded frame from the client. */
  message(bytes: Uint8Array): void {
    if (this.#finished) return;
    const nowMs = this.#clock.monoMs();
    const plain = decodePlainHeartbeat(bytes);
    if (
      plain !== undefined &&
      this.protocol.plainHeartbeat(plain.echo, plain.heldMs, plain.agentWallMs, nowMs)
    )
      return;
    let frame: ReturnType<typeof decode>;
    try {
      frame = decode(bytes);
    } catch (cause) {
      const message = 'the frame is not a valid protobuf message';
      this.protocol.fail(new DomainError({ reason: ErrorReason.MALFORMED_MESSAGE, message, cause }));
      return;
    }
    this.protocol.frame(frame, nowMs);
  }

  halfClosed(): void {
    if (!this.#finished) this.protocol.halfClosed();
  }

  closed(): void {
    this.#finished = true;
    this.#waiting = [];
    this.#wheel.cancel(this);
    this.#channel.onDrain = undefined;
    this.protocol.closed('the stream broke');
  }

  ready(): boolean {
    return this.protocol.open;
  }

  hasRoom(): boolean {
    return !this.#finished && this.#waiting.length === 0 && !this.#blocked();
  }

  ping(echo: number, fullReport: boolean, leaseMs: number | undefined): boolean {
    if (this.#finished) return false;
    const plain = !fullReport && leaseMs === undefined;
    const bytes = plain ? encodePlainPing(echo) : encodeFrame(pingFrame(echo, fullReport, leaseMs));
    if (this.#blocked()) {
      this.#waitingPing = bytes;
      return false;
    }
    this.#pass(bytes);
    return true;
  }

  awayMs(): number {
    return 0;
  }

  blockedMs(nowMs: number): number {
    return this.#blockedSinceMs === undefined ? 0 : nowMs - this.#blockedSinceMs;
  }

  send(frame: OpenSessionResponse): void {
    this.#sendBytes(encodeFrame(frame));
  }

  stored(frameId: string): void {
    this.#sendBytes(encodeStored(frameId));
  }

  #sendBytes(bytes: Uint8Array): void {
    if (this.#finished) return;
    if (!this.#blocked() && this.#waiting.length === 0) {
      this.#pass(bytes);
      return;
    }
    if (this.#waiting.length < MAX_WAITING) {
      this.#waiting.push(bytes);
      return;
    }
    const message = `the client does not read: ${MAX_WAITING} frames wait for it`;
    this.protocol.fail(new DomainError({ reason: ErrorReason.SLOW_CONSUMER, message, retryAfterMs: 1000 }));
  }

  goAway(reason: GoAway_Reason, detail: string, reconnectAfterMs: number | undefined): void {
    this.protocol.ended();
    if (this.#finished) return;
    this.#pass(encodeFrame(goAwayFrame(reason, detail, reconnectAfterMs)));
    // On the same connection a balancer would never see it again.
    const elsewhere = reason === Reason.REBALANCE || reason === Reason.SHUTDOWN;
    this.#end(statusOf(reason, detail, reconnectAfterMs), elsewhere);
  }

  finish(error?: unknown): void {
    this.#end(error, false);
  }

  #end(error: unknown, retire: boolean): void {
    if (this.#finished) return;
    this.#finished = true;
    for (const bytes of this.#waiting) this.#channel.send(bytes);
    this.#waiting = [];
    // A client that does not read would keep the call open for ever.
    this.#channel.end(error, { abort: this.blockedMs(this.#clock.monoMs()) >= STUCK_MS, retire });
  }

  #pass(bytes: Uint8Array): void {
    this.#channel.send(bytes);
    if (this.#blockedSinceMs === undefined && this.#channel.pendingBytes() > 0) {
      this.#blockedSinceMs = this.#clock.monoMs();
    }
  }

  #blocked(): boolean {
    return this.#channel.pendingBytes() >= this.#windowBytes;
  }

  #drained(): void {
    this.#blockedSinceMs = undefined;
    if (this.#finished) return;
    const ping = this.#waitingPing;
    this.#waitingPing = undefined;
    if (ping !== undefined) this.#pass(ping);
    while (!this.#blocked()) {
      const bytes = this.#waiting.shift();
      if (bytes === undefined) break;
      this.#pass(bytes);
    }
    if (this.hasRoom()) this.protocol.roomAgain();
  }
}

const decode = (bytes: Uint8Array) => fromBinary(OpenSessionRequestSchema, bytes);

/** With what a call ends whose session the server ended. */
export function statusOf(
  reason: GoAway_Reason,
  detail: string,
  reconnectAfterMs: number | undefined,
): DomainError | undefined {
  const retry = reconnectAfterMs === undefined ? {} : { retryAfterMs: reconnectAfterMs };
  switch (reason) {
    case Reason.SUPERSEDED:
      return new DomainError({ reason: ErrorReason.SESSION_SUPERSEDED, message: detail });
    case Reason.REVOKED:
      return new DomainError({ reason: ErrorReason.AGENT_NOT_FOUND, message: detail });
    case Reason.SLOW:
      return new DomainError({ reason: ErrorReason.SLOW_CONSUMER, message: detail, ...retry });
    case Reason.LOST:
      return new DomainError({ reason: ErrorReason.EPOCH_STALE, message: detail, ...retry });
    case Reason.SHUTDOWN:
      return new DomainError({ reason: ErrorReason.SHUTTING_DOWN, message: detail, ...retry });
    default:
      return undefined;
  }
}
