import { type DescMethod, fromBinary, type Message } from '@bufbuild/protobuf';
import { encode } from '../lib/encode.ts';
import { type ActiveCall, cancelled } from './active-call.ts';
import { CallFailure, type Pipeline } from './pipeline.ts';
import type { SessionChannel, SessionHandler, SessionReceiver } from './service.ts';

export interface ConnectSessionOptions {
  pipeline: Pipeline;
  call: ActiveCall;
  method: DescMethod;
  handle: SessionHandler;
  authorization: string | undefined;
  /** Breaks the connection's stream off. */
  abort: () => void;
}

/**
 * A session on the HTTP listener, over HTTP/2. Convenience, not the hot path: frames pass through async iterables.
 * `pendingBytes` counts what the transport has not asked for; up to 16 KiB more may be in its own buffer.
 */
export class ConnectSession implements SessionChannel {
  readonly peer: string;
  onDrain: (() => void) | undefined;
  readonly #options: ConnectSessionOptions;
  #queue: Uint8Array[] = [];
  #pending = 0;
  #ended = false;
  #error: unknown;
  #wake: (() => void) | undefined;

  constructor(options: ConnectSessionOptions) {
    this.#options = options;
    this.peer = options.call.peer;
  }

  /** Runs the session; throws a CallFailure if it ended with an error. */
  async *run(requests: AsyncIterable<Message>): AsyncGenerator<Message, void, undefined> {
    const { pipeline, call, method, handle, authorization } = this.#options;
    const receiver = pipeline.session(call, handle, authorization, this);
    call.onEnd((reason) => this.end(reason));
    // Awaited by nobody: it ends with the request's body, which ends with the response.
    this.#receive(requests, receiver).catch((error: unknown) => this.end(error));
    try {
      for (;;) {
        const next = this.#queue.shift();
        if (next !== undefined) {
          yield fromBinary(method.output, next);
          this.#taken(next.byteLength);
        } else if (this.#ended) {
          break;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
      if (this.#error !== undefined) throw this.#error;
      pipeline.finish(call, undefined);
    } catch (error) {
      throw new CallFailure(pipeline.fail(call, error));
    } finally {
      this.#ended = true;
      // Reached unfinished only when the transport stopped asking: the client is gone.
      if (!call.finished) pipeline.fail(call, this.#error ?? cancelled());
      this.onDrain = undefined;
      receiver.closed();
    }
  }

  send(message: Uint8Array): void {
    if (this.#ended) return;
    this.#pending += message.byteLength;
    this.#queue.push(message);
    this.#wake?.();
  }

  pendingBytes(): number {
    return this.#pending;
  }

  end(error?: unknown, options?: { abort?: boolean }): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    if (options?.abort === true && this.#pending > 0) {
      this.#queue = [];
      this.#options.abort();
    }
    this.#wake?.();
  }

  #taken(size: number): void {
    this.#pending -= size;
    if (this.#pending === 0) this.onDrain?.();
  }

  async #receive(requests: AsyncIterable<Message>, receiver: SessionReceiver): Promise<void> {
    const { method } = this.#options;
    for await (const request of requests) {
      if (this.#ended) return;
      receiver.message(encode(method.input, request));
    }
    if (!this.#ended) receiver.halfClosed();
  }
}
