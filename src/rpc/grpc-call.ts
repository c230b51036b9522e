import type { DescMethod, Message } from '@bufbuild/protobuf';
import type { Metadata, ServerInterceptingCallInterface, StatusObject } from '@grpc/grpc-js';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import { encode } from '../lib/encode.ts';
import { DomainError } from '../lib/errors.ts';
import { type ActiveCall, cancelled } from './active-call.ts';
import { Code } from './codes.ts';
import type { GrpcHost, WaitingCall } from './grpc-host.ts';
import { headerOf, timeoutOf } from './grpc-metadata.ts';
import { grpcStatus, ownStatuses, type StatusOwner } from './grpc-status.ts';
import type { CallInfo } from './observer.ts';
import { decodeRequest } from './pipeline.ts';
import { RequestQueue } from './request-queue.ts';
import type { Handler } from './service.ts';

const ok = { code: Code.OK, details: 'OK' };
const nothing = () => {};

/** One unary, server-streaming or plain bidirectional call on grpc-js, from its headers to its status. */
export class GrpcCall implements CallInfo, StatusOwner, WaitingCall {
  readonly call: ServerInterceptingCallInterface;
  readonly method: DescMethod;
  readonly protocol = 'grpc';
  readonly listener = 'grpc';
  readonly peer: string;
  readonly #host: GrpcHost;
  readonly #handler: Exclude<Handler, { kind: 'session' }>;
  #metadata: Metadata | undefined;
  #active: ActiveCall | undefined;
  #request: Uint8Array | undefined;
  #requests: RequestQueue | undefined;
  #over = false;
  /** Continues a stream whose last message is being written. */
  #resume: () => void = nothing;

  constructor(
    host: GrpcHost,
    call: ServerInterceptingCallInterface,
    handler: Exclude<Handler, { kind: 'session' }>,
  ) {
    this.call = call;
    this.method = handler.method;
    this.peer = call.getPeer();
    this.#host = host;
    this.#handler = handler;
    ownStatuses(call, this);
  }

  header(name: string): string | undefined {
    return this.#metadata === undefined ? undefined : headerOf(this.#metadata, name);
  }

  onReceiveMetadata(metadata: Metadata): void {
    this.#metadata = metadata;
    this.#active = this.#host.pipeline.begin(this, timeoutOf(this.call), () => this.#resume());
    if (this.#handler.kind === 'bidi') {
      this.#requests = new RequestQueue(() => this.call.startRead());
      this.#start();
      return;
    }
    this.#host.awaitRequest(this);
    this.call.startRead();
  }

  onReceiveMessage(message: Uint8Array): void {
    if (this.#requests !== undefined) {
      this.#requests.push(message);
      return;
    }
    if (this.#request !== undefined) {
      this.#fail(violation('a second request message came on a call that takes one'));
      return;
    }
    this.#request = message;
    this.call.startRead();
  }

  onReceiveHalfClose(): void {
    if (this.#requests !== undefined) {
      this.#requests.end();
      return;
    }
    this.#host.requestCame(this);
    if (this.#over) return;
    if (this.#request === undefined) this.#fail(violation('the call ended without a request message'));
    else this.#start();
  }

  onCancel(): void {
    this.#over = true;
    this.#host.gone(this);
    const active = this.#active;
    if (active === undefined) return;
    active.leave();
    this.#requests?.end();
    this.#resume();
    // While a handler runs, the pipeline reports the end when it has let go.
    if (this.#request === undefined && this.#requests === undefined)
      this.#host.pipeline.fail(active, cancelled());
  }

  requestOverdue(): void {
    this.#fail(violation('the request did not arrive in time'));
  }

  replaceStatus(error: DomainError): StatusObject {
    this.#over = true;
    this.#host.requestCame(this);
    this.#host.awaitEnd(this, true);
    const { pipeline } = this.#host;
    const active = this.#active ?? pipeline.begin(this, undefined);
    active.end(error);
    return grpcStatus(pipeline.fail(active, error));
  }

  #start(): void {
    this.#run().catch((error: unknown) => this.#fail(error));
  }

  async #run(): Promise<void> {
    const { pipeline } = this.#host;
    const active = this.#active;
    if (active === undefined) return;
    const handler = this.#handler;
    const authorization = this.header('authorization');
    const decode = () => decodeRequest(this.method.input, this.#request ?? new Uint8Array());
    switch (handler.kind) {
      case 'unary': {
        const response = await pipeline.unary(active, handler.handle, authorization, decode);
        if (!this.#over) this.call.sendMessage(this.#encode(response), nothing);
        break;
      }
      case 'server_stream':
        await this.#pump(pipeline.serverStream(active, handler.handle, authorization, decode));
        break;
      case 'bidi': {
        const requests = this.#decoded(this.#requests ?? new RequestQueue(nothing));
        await this.#pump(pipeline.bidi(active, handler.handle, authorization, requests));
        break;
      }
    }
    this.#end(ok);
  }

  /** Pulls a response only when the one before has left: the client's pace is the handler's. */
  async #pump(responses: AsyncGenerator<Message, void, undefined>): Promise<void> {
    for await (const response of responses) {
      if (this.#over) continue;
      await new Promise<void>((resolve) => {
        this.#resume = resolve;
        this.call.sendMessage(this.#encode(response), resolve);
      });
      this.#resume = nothing;
    }
  }

  async *#decoded(requests: AsyncIterable<Uint8Array>): AsyncGenerator<Message, void, undefined> {
    for await (const bytes of requests) yield decodeRequest(this.method.input, bytes);
  }

  #encode(message: Message): Uint8Array {
    return encode(this.method.output, message);
  }

  #fail(error: unknown): void {
    const active = this.#active;
    if (active === undefined) return;
    const status = grpcStatus(this.#host.pipeline.fail(active, error));
    this.#end(status);
  }

  #end(status: StatusObject | typeof ok): void {
    if (this.#over) return;
    this.#over = true;
    this.#host.requestCame(this);
    this.#host.awaitEnd(this, true);
    this.call.sendStatus(status);
  }
}

function violation(message: string): DomainError {
  return new DomainError({ reason: ErrorReason.PROTOCOL_VIOLATION, message });
}
