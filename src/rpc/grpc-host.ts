import { constants } from 'node:http2';
import type { ServerInterceptingCallInterface } from '@grpc/grpc-js';
import { isStreamClosed, resetStream } from './grpc-status.ts';
import type { Pipeline } from './pipeline.ts';

/** A call that waits for its client: for the rest of a request, or for the client to read the end. */
export interface WaitingCall {
  readonly call: ServerInterceptingCallInterface;
  /** The request did not come in time. */
  requestOverdue(): void;
}

export interface GrpcHostOptions {
  pipeline: Pipeline;
  /** How long a request may take to arrive once its headers have. */
  requestTimeoutMs: number;
  /** How long a client may take to read what is left when its call has ended. */
  lingerMs: number;
  sweepMs?: number;
}

/** What the calls of one gRPC listener share. One timer looks after all that wait, instead of one each. */
export class GrpcHost {
  readonly pipeline: Pipeline;
  readonly #options: GrpcHostOptions;
  readonly #requests = new Map<WaitingCall, number>();
  readonly #ending = new Map<WaitingCall, { deadline: number; answer: boolean }>();
  readonly #closing = new Map<WaitingCall, number>();
  readonly #timer: NodeJS.Timeout;

  constructor(options: GrpcHostOptions) {
    this.pipeline = options.pipeline;
    this.#options = options;
    this.#timer = setInterval(() => this.#sweep(), options.sweepMs ?? 500);
    this.#timer.unref();
  }

  awaitRequest(call: WaitingCall): void {
    this.#requests.set(call, performance.now() + this.#options.requestTimeoutMs);
  }

  requestCame(call: WaitingCall): void {
    this.#requests.delete(call);
  }

  /**
   * The status was handed to the transport; unless the call closes in time, its stream is reset. `answer`: it holds an
   * answer that counts as a call until it is read. The end of a session holds none, and thousands may end at once.
   */
  awaitEnd(call: WaitingCall, answer: boolean): void {
    if (this.#ending.has(call)) return;
    this.#ending.set(call, { deadline: performance.now() + this.#options.lingerMs, answer });
    if (answer) this.pipeline.limits.unread += 1;
  }

  /** The transport is done with the call. The client's side of its stream may still be open; not for long. */
  gone(call: WaitingCall): void {
    this.#requests.delete(call);
    this.#endingOver(call);
    if (!isStreamClosed(call.call)) this.#closing.set(call, performance.now() + this.#options.lingerMs);
  }

  #endingOver(call: WaitingCall): void {
    if (this.#ending.get(call)?.answer === true) this.pipeline.limits.unread -= 1;
    this.#ending.delete(call);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    const now = performance.now();
    for (const [call, deadline] of this.#requests) {
      if (now < deadline) break;
      this.#requests.delete(call);
      call.requestOverdue();
    }
    for (const [call, { deadline }] of this.#ending) {
      if (now < deadline) break;
      this.#endingOver(call);
      resetStream(call.call, constants.NGHTTP2_CANCEL);
    }
    for (const [call, deadline] of this.#closing) {
      if (now < deadline) break;
      this.#closing.delete(call);
      if (!isStreamClosed(call.call)) resetStream(call.call, constants.NGHTTP2_NO_ERROR);
    }
  }
}
