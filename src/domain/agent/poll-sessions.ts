import { create } from '@bufbuild/protobuf';
import {
  type GoAway_Reason,
  type OpenSessionResponse,
  type PollSessionRequest,
  type PollSessionResponse,
  PollSessionResponseSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Clock } from '../../lib/clock.ts';
import { DomainError } from '../../lib/errors.ts';
import { durationFromMs, msFromDuration } from '../../lib/proto-time.ts';
import { StallLog } from '../../lib/stall-log.ts';
import { type TimingWheel, type WheelTask, wheelLink } from '../../lib/timing-wheel.ts';
import { tokenMissing } from './errors.ts';
import { goAwayFrame, pingFrame, resultFrame } from './frames.ts';
import type { FrameCarrier, SessionProtocolOptions } from './session-ports.ts';
import { SessionProtocol } from './session-protocol.ts';
import { claimOf, hashToken, knowsToken } from './token.ts';

const DEFAULT_WAIT_MS = 20_000;
const MAX_WAIT_MS = 60_000;
/** Frames that may wait for the next poll. */
const MAX_WAITING = 1024;
const MAX_FRAMES_PER_POLL = 256;
/** Times between polls that are remembered: a ping ends a poll, so there is hardly more than one for each that waits. */
const MAX_GAPS = 32;

/** One agent that polls: the frames for it gather here between its polls. */
class PollCarrier implements FrameCarrier, WheelTask {
  readonly wheel = wheelLink();
  readonly peer: string;
  readonly protocol: SessionProtocol;
  readonly tokenHash: Uint8Array;
  readonly #onExpired: (carrier: PollCarrier) => void;
  readonly #clock: Clock;
  /** When no poll was open. */
  readonly #gaps = new StallLog(MAX_GAPS);
  #closedMs: number;
  #frames: OpenSessionResponse[] = [];
  #wake: (() => void) | undefined;
  #error: unknown;
  finished = false;
  /** Under which it is found; undefined before its session began. */
  key: string | undefined;
  lastSequence = 0n;
  lastResponse: PollSessionResponse | undefined;
  /** The poll under way, if it has a sequence. */
  current: { sequence: bigint; response: Promise<PollSessionResponse> } | undefined;

  constructor(options: {
    protocol: SessionProtocolOptions;
    peer: string;
    token: string;
    clock: Clock;
    onExpired: (carrier: PollCarrier) => void;
  }) {
    this.peer = options.peer;
    this.tokenHash = hashToken(options.token);
    this.#onExpired = options.onExpired;
    this.#clock = options.clock;
    this.#closedMs = this.#clock.monoMs();
    this.protocol = new SessionProtocol(options.protocol, this, options.token);
  }

  get polling(): boolean {
    return this.#wake !== undefined;
  }

  get error(): unknown {
    return this.#error;
  }

  /** No poll came in time. */
  due(): void {
    this.#onExpired(this);
  }

  ready(): boolean {
    return this.polling && this.protocol.open;
  }

  hasRoom(): boolean {
    return this.polling && this.#frames.length < MAX_FRAMES_PER_POLL;
  }

  ping(echo: number, fullReport: boolean, leaseMs: number | undefined): boolean {
    this.send(pingFrame(echo, fullReport, leaseMs));
    return true;
  }

  awayMs(fromMs: number, toMs: number): number {
    const now = this.polling ? 0 : Math.max(0, toMs - Math.max(fromMs, this.#closedMs));
    return this.#gaps.overlapMs(fromMs, toMs) + now;
  }

  blockedMs(): number {
    return 0;
  }

  send(frame: OpenSessionResponse): void {
    if (this.#frames.length >= MAX_WAITING) {
      this.#frames = [];
      const message = `${MAX_WAITING} frames wait and no poll fetches them`;
      this.protocol.fail(new DomainError({ reason: ErrorReason.SLOW_CONSUMER, message, retryAfterMs: 1000 }));
      return;
    }
    this.#frames.push(frame);
    this.#wake?.();
  }

  stored(frameId: string): void {
    this.send(resultFrame(frameId, undefined));
  }

  goAway(reason: GoAway_Reason, detail: string, reconnectAfterMs: number | undefined): void {
    this.protocol.ended();
    this.send(goAwayFrame(reason, detail, reconnectAfterMs));
    this.finish();
  }

  finish(error?: unknown): void {
    this.finished = true;
    this.#error = error;
    this.#wake?.();
  }

  /** Resolves with the frames that wait, as soon as there are some, or with none after `waitMs`. */
  async collect(waitMs: number, signal: AbortSignal): Promise<OpenSessionResponse[]> {
    // A newer poll takes over from one that is still open (its client gave up on it).
    this.#wake?.();
    if (this.#frames.length === 0 && !this.finished && waitMs > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          signal.removeEventListener('abort', end);
          if (this.#wake === end) {
            this.#wake = undefined;
            this.#closedMs = this.#clock.monoMs();
          }
          resolve();
        };
        const timer = setTimeout(end, waitMs);
        signal.addEventListener('abort', end, { once: true });
        this.#wake = end;
        this.#gaps.add(this.#closedMs, this.#clock.monoMs());
        this.protocol.session?.senderReady();
        this.protocol.roomAgain();
      });
    }
    return signal.aborted ? [] : this.#frames.splice(0);
  }
}

export interface PollSessionsOptions {
  protocol: SessionProtocolOptions;
  clock: Clock;
  wheel: TimingWheel;
  /** The lease that holds now: half of it may pass between two polls. */
  leaseMs(): number;
}

/** Sessions without a stream: the same conversation, carried by long polls. */
export class PollSessions {
  readonly #options: PollSessionsOptions;
  readonly #byEpoch = new Map<string, PollCarrier>();

  constructor(options: PollSessionsOptions) {
    this.#options = options;
  }

  /**
   * Serves one poll.
   * @throws DomainError TOKEN_INVALID, EPOCH_STALE, PROTOCOL_VIOLATION, and whatever attaching throws
   */
  async poll(
    request: PollSessionRequest,
    caller: { token: string | undefined; peer: string },
    signal: AbortSignal,
  ): Promise<PollSessionResponse> {
    const token = caller.token;
    const claim = token === undefined ? undefined : claimOf(token);
    if (token === undefined || claim === undefined) {
      throw tokenMissing();
    }
    const name = `${claim.namespace}/${claim.agentId}`;
    const carrier =
      request.epoch === 0n ? this.#open(token, caller.peer) : this.#find(`${name}/${request.epoch}`, token);
    if (
      request.sequence > 0n &&
      request.sequence === carrier.lastSequence &&
      carrier.lastResponse !== undefined
    ) {
      return carrier.lastResponse;
    }
    // Repeated before its answer left: its frames were taken already.
    if (request.sequence > 0n && request.sequence === carrier.current?.sequence)
      return carrier.current.response;
    this.#options.wheel.cancel(carrier);
    const answering = this.#answer(carrier, request, signal, name);
    const current = request.sequence > 0n ? { sequence: request.sequence, response: answering } : undefined;
    carrier.current = current;
    try {
      return await answering;
    } finally {
      if (carrier.current === current) carrier.current = undefined;
    }
  }

  async #answer(
    carrier: PollCarrier,
    request: PollSessionRequest,
    signal: AbortSignal,
    name: string,
  ): Promise<PollSessionResponse> {
    const response = await this.#converse(carrier, request, signal).finally(() => this.#rest(carrier, name));
    if (carrier.finished && response.frames.length === 0) this.#forget(carrier);
    carrier.lastSequence = request.sequence;
    carrier.lastResponse = request.sequence > 0n ? response : undefined;
    return response;
  }

  async #converse(
    carrier: PollCarrier,
    request: PollSessionRequest,
    signal: AbortSignal,
  ): Promise<PollSessionResponse> {
    const nowMs = this.#options.clock.monoMs();
    carrier.protocol.session?.heard(nowMs);
    const wasFinished = carrier.finished;
    for (const frame of request.frames.slice(0, MAX_FRAMES_PER_POLL)) {
      if (carrier.finished) break;
      carrier.protocol.frame(frame, nowMs);
    }
    const asked = request.wait === undefined ? DEFAULT_WAIT_MS : msFromDuration(request.wait);
    // A hello is answered by welcome, however short the wait.
    const waitMs = request.epoch === 0n ? MAX_WAIT_MS : Math.min(MAX_WAIT_MS, asked);
    const frames = await carrier.collect(waitMs, signal);
    // Nobody knows the epoch of a session whose welcome was not fetched, so nobody would poll it.
    if (signal.aborted && request.epoch === 0n) carrier.protocol.closed('the poll with hello was given up');
    if (carrier.error !== undefined && (!wasFinished || frames.length === 0)) throw carrier.error;
    // It was over before this poll, and goaway has been fetched.
    if (wasFinished && frames.length === 0) throw noSuchSession();
    return create(PollSessionResponseSchema, {
      epoch: carrier.protocol.session?.epoch ?? request.epoch,
      sequence: request.sequence,
      frames,
      pollWithin: durationFromMs(this.#pollWithinMs()),
    });
  }

  #open(token: string, peer: string): PollCarrier {
    return new PollCarrier({
      protocol: this.#options.protocol,
      peer,
      token,
      clock: this.#options.clock,
      onExpired: (carrier) => this.#expired(carrier),
    });
  }

  #find(key: string, token: string): PollCarrier {
    const carrier = this.#byEpoch.get(key);
    if (carrier === undefined) {
      throw noSuchSession();
    }
    if (!knowsToken([carrier.tokenHash], hashToken(token))) {
      throw new DomainError({
        reason: ErrorReason.TOKEN_INVALID,
        message: 'the token is not that of this session',
      });
    }
    return carrier;
  }

  /** Between two polls: the next one must come in time. */
  #rest(carrier: PollCarrier, name: string): void {
    const session = carrier.protocol.session;
    if (session === undefined || carrier.polling) return;
    carrier.key = `${name}/${session.epoch}`;
    this.#byEpoch.set(carrier.key, carrier);
    this.#options.wheel.schedule(carrier, this.#options.clock.monoMs() + this.#pollWithinMs());
  }

  #expired(carrier: PollCarrier): void {
    this.#forget(carrier);
    carrier.protocol.closed(`no poll came for ${Math.round(this.#pollWithinMs())} ms`);
  }

  #forget(carrier: PollCarrier): void {
    this.#options.wheel.cancel(carrier);
    if (carrier.key !== undefined) this.#byEpoch.delete(carrier.key);
  }

  #pollWithinMs(): number {
    return this.#options.leaseMs() / 2;
  }
}

const noSuchSession = (): DomainError =>
  new DomainError({
    reason: ErrorReason.EPOCH_STALE,
    message: 'this replica holds no such polling session; begin again with epoch 0 and hello',
    retryAfterMs: 1000,
  });
