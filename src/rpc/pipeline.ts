import { type DescMessage, fromBinary, type Message } from '@bufbuild/protobuf';
import { ErrorReason } from '../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import type { Clock } from '../lib/clock.ts';
import { DomainError } from '../lib/errors.ts';
import type { Logger } from '../lib/logger.ts';
import { ActiveCall, cancelled, shuttingDown } from './active-call.ts';
import { Code } from './codes.ts';
import type { ErrorMapper, MappedError } from './errors.ts';
import { principalOf } from './interceptors/identity.ts';
import { Limits, type LimitsOptions } from './interceptors/limits.ts';
import { logCall } from './interceptors/logging.ts';
import { checkRequest, type ValidateRequest } from './interceptors/validation.ts';
import type { CallInfo, RpcObserver } from './observer.ts';
import type {
  BidiHandler,
  ServerStreamHandler,
  SessionChannel,
  SessionHandler,
  SessionReceiver,
  UnaryHandler,
} from './service.ts';

export interface PipelineOptions {
  observer: RpcObserver;
  mapper: ErrorMapper;
  log: Logger;
  clock: Clock;
  validate: ValidateRequest;
  limits: LimitsOptions;
  /** A stream whose client takes nothing for so long is cut off. */
  drainTimeoutMs: number;
}

/** What a binding gets instead of the error of a handler: already mapped, logged and told to telemetry. */
export class CallFailure extends Error {
  override readonly name = 'CallFailure';
  readonly mapped: MappedError;
  constructor(mapped: MappedError) {
    super(mapped.message);
    this.mapped = mapped;
  }
}

/**
 * What happens around every handler, the same on both listeners and in this order: tracing, logging, errors,
 * identity, limits, decoding and validation, handler. A binding calls `begin`, then one of the four kinds, and tells
 * the call (`call.end`) when its client goes away.
 */
export class Pipeline {
  readonly limits: Limits;
  readonly #options: PipelineOptions;
  readonly #calls = new Set<ActiveCall>();
  readonly #nowMs: () => number;
  #leaving = false;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.#nowMs = () => options.clock.monoMs();
    this.limits = new Limits(options.limits);
  }

  /** Calls under way, sessions included. */
  get active(): number {
    return this.#calls.size;
  }

  /** `onEnded` is told when the call is ended early: by its deadline, a slow client, shutdown or `call.end`. */
  begin(info: CallInfo, timeoutMs: number | undefined, onEnded?: () => void): ActiveCall {
    const observation = this.#options.observer.start(info);
    const call = new ActiveCall({ info, timeoutMs, nowMs: this.#nowMs, observation, onEnded });
    this.#calls.add(call);
    return call;
  }

  /** Rejects with a CallFailure only. */
  async unary(
    call: ActiveCall,
    handle: UnaryHandler,
    authorization: string | undefined,
    decode: () => Message,
  ): Promise<Message> {
    try {
      const service = call.method.parent.typeName;
      this.#admit(call, authorization);
      this.limits.enterUnary(service);
      const work = call.observation.run(async () => handle(this.#checked(decode()) as never, call));
      const counted = work.finally(() => this.limits.leaveUnary(service));
      const response = await this.#endable(call, counted);
      this.finish(call, undefined);
      return response;
    } catch (error) {
      throw new CallFailure(this.fail(call, error));
    }
  }

  /** Throws a CallFailure only. The handler's iterator is always closed, however the call ends. */
  serverStream(
    call: ActiveCall,
    handle: ServerStreamHandler,
    authorization: string | undefined,
    decode: () => Message,
  ): AsyncGenerator<Message, void, undefined> {
    return this.#stream(call, authorization, () => handle(this.#checked(decode()) as never, call));
  }

  /** As `serverStream`; requests are validated as they come. */
  bidi(
    call: ActiveCall,
    handle: BidiHandler,
    authorization: string | undefined,
    requests: AsyncIterable<Message>,
  ): AsyncGenerator<Message, void, undefined> {
    const checked = this.#checkedAll(requests);
    return this.#stream(call, authorization, () => handle(checked as AsyncIterable<never>, call));
  }

  /** Opens a session; throws a CallFailure if it is refused at once. The binding reports its end with `finish` or `fail`. */
  session(
    call: ActiveCall,
    handle: SessionHandler,
    authorization: string | undefined,
    channel: SessionChannel,
  ): SessionReceiver {
    try {
      this.#admit(call, authorization);
      return call.observation.run(() => handle(channel, call));
    } catch (error) {
      throw new CallFailure(this.fail(call, error));
    }
  }

  /** Ends a call with an error: maps, logs, measures. */
  fail(call: ActiveCall, error: unknown): MappedError {
    if (error instanceof CallFailure) return error.mapped;
    const { method } = call;
    // What a handler throws because its call was ended is not news; why it was ended is.
    const cause = call.ended ?? error;
    const mapped = call.observation.run(() =>
      this.#options.mapper.map(cause, `${method.parent.typeName}/${method.name}`),
    );
    this.finish(call, mapped);
    return mapped;
  }

  /** Ends a call: logs and measures; a second time does nothing. */
  finish(call: ActiveCall, error: MappedError | undefined): void {
    if (!call.finish()) return;
    this.#calls.delete(call);
    const elapsedMs = this.#nowMs() - call.startMs;
    call.observation.run(() => logCall(this.#options.log, call, error, elapsedMs));
    call.observation.finish({ code: error?.code ?? Code.OK, reason: error?.reason, elapsedMs });
  }

  /** From now on: new calls are refused and watches end, with UNAVAILABLE; what else is under way may finish. */
  leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    for (const call of this.#calls)
      if (call.method.methodKind === 'server_streaming') call.end(shuttingDown());
  }

  /** Ends everything that is still under way on a listener. */
  endAll(listener: 'grpc' | 'http'): void {
    for (const call of this.#calls) if (call.listener === listener) call.end(shuttingDown());
  }

  /** Settles as `work` does, or as soon as the call is ended. */
  #endable<T>(call: ActiveCall, work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      call.onEnd(reject);
      work.then(resolve, (error: unknown) => {
        // Nobody is told any more; a mistake must not go unseen all the same.
        if (call.finished)
          this.#options.log.debug({ err: error }, 'a handler failed after its call had ended');
        reject(error);
      });
    });
  }

  #admit(call: ActiveCall, authorization: string | undefined): void {
    call.principal = principalOf(authorization);
    if (this.#leaving && call.method.parent.typeName !== 'grpc.health.v1.Health') throw shuttingDown();
    if (call.ended !== undefined) throw call.ended;
  }

  #checked(message: Message): Message {
    checkRequest(this.#options.validate, message);
    return message;
  }

  async *#checkedAll(requests: AsyncIterable<Message>): AsyncGenerator<Message, void, undefined> {
    for await (const request of requests) yield this.#checked(request);
  }

  async *#stream(
    call: ActiveCall,
    authorization: string | undefined,
    open: () => AsyncIterable<Message>,
  ): AsyncGenerator<Message, void, undefined> {
    let iterator: AsyncIterator<Message> | undefined;
    let counted = false;
    try {
      this.#admit(call, authorization);
      this.limits.enterWatch();
      counted = true;
      const stream = call.observation.run(() => open()[Symbol.asyncIterator]());
      iterator = stream;
      for (;;) {
        const next = await this.#endable(
          call,
          call.observation.run(() => stream.next()),
        );
        if (next.done === true) break;
        const slow = setTimeout(() => call.end(slowConsumer()), this.#options.drainTimeoutMs);
        try {
          yield next.value;
        } finally {
          clearTimeout(slow);
        }
        if (call.ended !== undefined) throw call.ended;
      }
      this.finish(call, undefined);
    } catch (error) {
      throw new CallFailure(this.fail(call, error));
    } finally {
      if (counted) this.limits.leaveWatch();
      // Reached unfinished only when the binding stopped pulling: the client is gone.
      if (!call.finished) this.fail(call, call.ended ?? cancelled());
      // Not awaited: a handler that ignores its signal must not hold the call open.
      iterator?.return?.().catch(() => {});
    }
  }
}

function slowConsumer(): DomainError {
  return new DomainError({
    reason: ErrorReason.SLOW_CONSUMER,
    message: 'the client does not read what is sent to it',
    retryAfterMs: 1_000,
  });
}

/** Decodes a request; whatever is wrong with the bytes is the caller's mistake. */
export function decodeRequest(schema: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(schema, bytes);
  } catch (error) {
    throw new DomainError({
      reason: ErrorReason.MALFORMED_MESSAGE,
      message: `the request is not a valid ${schema.typeName}: ${error instanceof Error ? error.message : 'unreadable'}`,
    });
  }
}
