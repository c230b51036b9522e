import type { DescMethod } from '@bufbuild/protobuf';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { DomainError } from '../lib/errors.ts';
import { anonymous } from './interceptors/identity.ts';
import type { CallInfo, Protocol, RpcObservation } from './observer.ts';
import type { CallContext, Principal } from './service.ts';
import { traceOf } from './trace-context.ts';

/** The longest delay that setTimeout takes; deadlines beyond it (24 days) are none. */
const maxTimerMs = 0x7fff_ffff;

const deadlineSlackMs = 10;

export interface ActiveCallOptions {
  info: CallInfo;
  /** Milliseconds until the caller's deadline; undefined: none. */
  timeoutMs: number | undefined;
  /** Monotonic milliseconds. */
  nowMs: () => number;
  observation: RpcObservation;
  /** Told once when the call is ended early; for the binding. */
  onEnded: (() => void) | undefined;
}

/**
 * A call under way: its context, its deadline and its cancellation. Made for every call and every session, so it
 * holds little: the AbortController and the deadline's timer exist only where someone asked for them.
 */
export class ActiveCall implements CallContext {
  readonly method: DescMethod;
  readonly protocol: Protocol;
  readonly listener: CallInfo['listener'];
  readonly peer: string;
  readonly json: boolean;
  readonly startMs: number;
  readonly observation: RpcObservation;
  principal: Principal = anonymous;
  /** Of unary calls only: a session would keep its headers in memory for as long as it lasts. */
  readonly #info: CallInfo | undefined;
  readonly #nowMs: () => number;
  readonly #deadlineMs: number;
  readonly #onEnded: (() => void) | undefined;
  #controller: AbortController | undefined;
  #onEnd: ((reason: DomainError) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #ended: DomainError | undefined;
  #finished = false;

  constructor(options: ActiveCallOptions) {
    const { info, timeoutMs } = options;
    this.method = info.method;
    this.protocol = info.protocol;
    this.listener = info.listener;
    this.peer = info.peer;
    this.observation = options.observation;
    this.json =
      info.method.methodKind === 'server_streaming' && /json/i.test(info.header('content-type') ?? '');
    this.#info = info.method.methodKind === 'unary' ? info : undefined;
    this.#nowMs = options.nowMs;
    this.#onEnded = options.onEnded;
    this.startMs = options.nowMs();
    this.#deadlineMs = timeoutMs === undefined ? Infinity : this.startMs + timeoutMs;
    if (timeoutMs !== undefined && timeoutMs <= maxTimerMs) {
      this.#timer = setTimeout(() => this.end(deadlineExceeded()), Math.max(0, timeoutMs));
    }
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#ended !== undefined) this.#controller.abort(this.#ended);
      else if (this.#finished) this.#controller.abort(cancelled());
    }
    return this.#controller.signal;
  }

  /** Why the call was ended before its handler was done. */
  get ended(): DomainError | undefined {
    return this.#ended;
  }

  get finished(): boolean {
    return this.#finished;
  }

  trace(): { traceparent: string; tracestate: string } {
    return traceOf((name) => this.#info?.header(name));
  }

  timeLeftMs(): number | undefined {
    return this.#deadlineMs === Infinity ? undefined : Math.max(0, this.#deadlineMs - this.#nowMs());
  }

  /** Calls back once when the call is ended early; replaces an earlier callback. */
  onEnd(callback: (reason: DomainError) => void): void {
    this.#onEnd = callback;
    if (this.#ended !== undefined) callback(this.#ended);
  }

  /** Ends the call early; the first reason stands. */
  end(reason: DomainError): void {
    if (this.#ended !== undefined || this.#finished) return;
    this.#ended = reason;
    this.#release();
    this.#onEnd?.(reason);
    this.#onEnded?.();
    this.#controller?.abort(reason);
  }

  /** The caller went away: at its deadline, if it had one (its own timer beats ours by a little), or before. */
  leave(): void {
    // Most calls are over when their transport says so, and an error costs its stack.
    if (this.#ended !== undefined || this.#finished) return;
    this.end((this.timeLeftMs() ?? Infinity) <= deadlineSlackMs ? deadlineExceeded() : cancelled());
  }

  /** Marks the call as over; true the first time. A signal that was handed out fires, so that nothing hangs on it. */
  finish(): boolean {
    if (this.#finished) return false;
    this.#finished = true;
    this.#release();
    this.#onEnd = undefined;
    if (this.#controller !== undefined && !this.#controller.signal.aborted) {
      this.#controller.abort(cancelled());
    }
    return true;
  }

  #release(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

export function deadlineExceeded(): DomainError {
  return new DomainError({
    reason: ErrorReason.DEADLINE_EXCEEDED,
    message: 'the deadline of the call passed before it was done',
  });
}

export function cancelled(): DomainError {
  return new DomainError({ reason: ErrorReason.CANCELLED, message: 'the caller ended the call' });
}

export function shuttingDown(): DomainError {
  return new DomainError({
    reason: ErrorReason.SHUTTING_DOWN,
    message: 'this replica is leaving',
    retryAfterMs: 1_000,
  });
}
