import { constants } from 'node:http2';
import type { DescMethod } from '@bufbuild/protobuf';
import type { Metadata, ServerInterceptingCallInterface, StatusObject } from '@grpc/grpc-js';
import type { DomainError } from '../lib/errors.ts';
import { type ActiveCall, cancelled } from './active-call.ts';
import { Code } from './codes.ts';
import type { GrpcHost, WaitingCall } from './grpc-host.ts';
import { headerOf, timeoutOf } from './grpc-metadata.ts';
import { grpcStatus, ownStatuses, resetStream, retireConnection, type StatusOwner } from './grpc-status.ts';
import type { CallInfo } from './observer.ts';
import type { EndOptions, SessionChannel, SessionHandler, SessionReceiver } from './service.ts';

/**
 * One session stream on grpc-js, frame by frame. It sits where a server interceptor sits, below grpc-js's Duplex
 * (which costs a fifth of the CPU and several KB a stream), and is channel, listener and call information in one
 * object: a session is held for days, and there are thousands.
 *
 * `pendingBytes` counts a message until the callback of its write. That callback waits for HTTP/2 flow control and
 * for the socket, so it is what the client's side has taken (up to the kernel's buffer); `writableLength` of
 * grpc-js's own stream counts messages, not bytes.
 */
export class GrpcSession implements SessionChannel, CallInfo, StatusOwner, WaitingCall {
  readonly call: ServerInterceptingCallInterface;
  readonly method: DescMethod;
  readonly protocol = 'grpc';
  readonly listener = 'grpc';
  readonly peer: string;
  onDrain: (() => void) | undefined;
  readonly #host: GrpcHost;
  readonly #handle: SessionHandler;
  readonly #written: () => void;
  #metadata: Metadata | undefined;
  #active: ActiveCall | undefined;
  #receiver: SessionReceiver | undefined;
  #pending = 0;
  /** Sizes of messages in flight, oldest first: nearly always there is one, kept without an array. */
  #oldest = 0;
  #later: number[] | undefined;
  #ended = false;

  constructor(
    host: GrpcHost,
    call: ServerInterceptingCallInterface,
    method: DescMethod,
    handle: SessionHandler,
  ) {
    this.call = call;
    this.method = method;
    this.peer = call.getPeer();
    this.#host = host;
    this.#handle = handle;
    this.#written = () => this.#onWritten();
    ownStatuses(call, this);
  }

  header(name: string): string | undefined {
    return this.#metadata === undefined ? undefined : headerOf(this.#metadata, name);
  }

  onReceiveMetadata(metadata: Metadata): void {
    const { pipeline } = this.#host;
    this.#metadata = metadata;
    const active = pipeline.begin(this, timeoutOf(this.call));
    this.#active = active;
    active.onEnd((reason) => this.end(reason));
    try {
      const receiver = pipeline.session(active, this.#handle, headerOf(metadata, 'authorization'), this);
      this.#receiver = receiver;
    } catch (error) {
      this.end(error);
      return;
    } finally {
      this.#metadata = undefined;
    }
    this.call.startRead();
  }

  onReceiveMessage(message: Uint8Array): void {
    if (this.#ended) return;
    try {
      this.#receiver?.message(message);
    } catch (error) {
      this.end(error);
      return;
    }
    this.call.startRead();
  }

  onReceiveHalfClose(): void {
    if (this.#ended) return;
    try {
      this.#receiver?.halfClosed();
    } catch (error) {
      this.end(error);
    }
  }

  onCancel(): void {
    this.#host.gone(this);
    const active = this.#active;
    if (!this.#ended) {
      this.#ended = true;
      active?.leave();
    }
    if (active !== undefined && !active.finished) this.#host.pipeline.fail(active, cancelled());
    const receiver = this.#receiver;
    this.#receiver = undefined;
    this.onDrain = undefined;
    receiver?.closed();
  }

  send(message: Uint8Array): void {
    if (this.#ended) return;
    const size = message.byteLength;
    if (this.#pending === 0) this.#oldest = size;
    else {
      this.#later ??= [];
      this.#later.push(size);
    }
    this.#pending += size;
    this.call.sendMessage(message, this.#written);
  }

  pendingBytes(): number {
    return this.#pending;
  }

  end(error?: unknown, options?: EndOptions): void {
    if (this.#ended) return;
    this.#ended = true;
    const { pipeline } = this.#host;
    const active = this.#active;
    let status: StatusObject | { code: Code; details: string };
    if (error === undefined || active === undefined) {
      if (active !== undefined) pipeline.finish(active, undefined);
      status = { code: Code.OK, details: 'OK' };
    } else {
      status = grpcStatus(pipeline.fail(active, error));
    }
    if (options?.abort === true && this.#pending > 0) {
      resetStream(this.call, constants.NGHTTP2_CANCEL);
      return;
    }
    this.call.sendStatus(status);
    if (options?.retire === true) retireConnection(this.call);
    this.#host.awaitEnd(this, false);
  }

  replaceStatus(error: DomainError): StatusObject {
    this.#ended = true;
    this.#host.awaitEnd(this, false);
    const active = this.#active ?? this.#host.pipeline.begin(this, undefined);
    return grpcStatus(this.#host.pipeline.fail(active, error));
  }

  requestOverdue(): void {}

  #onWritten(): void {
    const size = this.#oldest;
    this.#oldest = this.#later?.shift() ?? 0;
    this.#pending -= size;
    if (this.#pending === 0) {
      this.#later = undefined;
      this.onDrain?.();
    }
  }
}
