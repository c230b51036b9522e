import { AsyncLocalStorage } from 'node:async_hooks';
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { outcomeAttributes } from './instruments.ts';
import { type ActiveSpan, createMessageSpans, type MessageSpans } from './message-tracing.ts';
import { ATTR, type Protocol, rpcSystem, SERVER_FAULTS, SPAN } from './names.ts';
import { scrub } from './scrub.ts';

export interface RpcSpanOptions {
  /** Full name of the service. */
  service: string;
  method: string;
  listener: Protocol;
  /** Reads a request header by its lower-case name: traceparent and tracestate. Untrusted. */
  carrier: (name: string) => string | undefined;
  /** "address:port" of the caller. */
  peer: string;
}

/** The span of one call. */
export interface RpcSpan {
  /** Runs `work` with the span as the active one, also in what it awaits. */
  run<T>(work: () => T): T;
  /** Notes an unexpected error; without its stack, which is in the log. */
  recordError(error: unknown): void;
  /** Ends the span; `code` is the status code's name. A second time does nothing. */
  end(code: string, reason?: string): void;
}

export interface StoreSpanOptions {
  /** "lmdb" or "redis". */
  system: string;
  namespace: string;
}

/** Ids of the active span as they stand in logs. */
export interface TraceIds {
  trace_id: string;
  span_id: string;
}

/** Spans, without OpenTelemetry's types. */
export interface Tracing {
  startRpcSpan(options: RpcSpanOptions): RpcSpan;
  /** Runs a commit in a child span, if a recorded span is active; `outcome` names what became of it. */
  withStoreSpan<T>(
    options: StoreSpanOptions,
    work: () => Promise<T>,
    outcome: (result: T) => string,
  ): Promise<T>;
  /** Spans of messages on their way through the service; undefined: nothing is traced. */
  messages: MessageSpans | undefined;
  /** Ids of the active span, or undefined. */
  activeIds(): TraceIds | undefined;
  /** The active context, for log records. */
  activeContext(): Context | undefined;
}

const noSpan: RpcSpan = { run: (work) => work(), recordError: () => {}, end: () => {} };

/** Tracing that is off: costs a call. */
export const noTracing: Tracing = {
  startRpcSpan: () => noSpan,
  withStoreSpan: (_options, work) => work(),
  messages: undefined,
  activeIds: () => undefined,
  activeContext: () => undefined,
};

/** Calls whose span lasts as long as a session: what happens in one belongs to other traces. */
const SESSIONS: ReadonlySet<string> = new Set(['OpenSession', 'PollSession']);

const propagator = new W3CTraceContextPropagator();
const headerGetter = {
  keys: () => [],
  get: (carrier: RpcSpanOptions['carrier'], name: string) => carrier(name),
};

/**
 * Tracing over one tracer. The active span is kept in a store of its own, not in OpenTelemetry's global one, so that
 * several services in one process do not meet; nothing enters it before the first recorded span, because async
 * context costs every promise of the process.
 */
export function createTracing(tracer: Tracer): Tracing {
  const active = new AsyncLocalStorage<ActiveSpan>();
  return {
    messages: createMessageSpans({ tracer, active, propagator, noteError }),
    startRpcSpan: (options) => {
      const parent = propagator.extract(ROOT_CONTEXT, options.carrier, headerGetter);
      const method = `${options.service}/${options.method}`;
      const attributes: Attributes = {
        [ATTR.rpcSystem]: rpcSystem(options.listener),
        [ATTR.rpcMethod]: method,
        [ATTR.rpcProtocol]: options.listener,
        ...peerAttributes(options.peer),
      };
      const span = tracer.startSpan(method, { kind: SpanKind.SERVER, attributes }, parent);
      if (!span.isRecording()) return noSpan;
      const session = SESSIONS.has(options.method);
      const remote = trace.getSpan(parent) !== undefined;
      const entry = { context: trace.setSpan(parent, span), span, session, remote };
      return {
        run: (work) => active.run(entry, work),
        recordError: (error) => noteError(span, error),
        end: (code, reason) => endRpc(span, code, reason),
      };
    },
    withStoreSpan: async (options, work, outcome) => {
      const parent = active.getStore();
      // A session's span may have ended while its last commits are still under way.
      if (parent === undefined || !parent.span.isRecording()) return work();
      const attributes: Attributes = {
        [ATTR.dbSystem]: options.system,
        [ATTR.dbOperation]: 'commit',
        [ATTR.namespace]: options.namespace,
      };
      const span = tracer.startSpan(SPAN.storeCommit, { kind: SpanKind.CLIENT, attributes }, parent.context);
      try {
        const result = await work();
        span.setAttributes(outcomeAttributes(outcome(result)));
        return result;
      } catch (error) {
        noteError(span, error);
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
    activeIds: () => {
      const context = active.getStore()?.span.spanContext();
      return context === undefined ? undefined : { trace_id: context.traceId, span_id: context.spanId };
    },
    activeContext: () => active.getStore()?.context,
  };
}

function endRpc(span: Span, code: string, reason: string | undefined): void {
  if (!span.isRecording()) return;
  span.setAttribute(ATTR.rpcStatus, code);
  if (code !== 'OK') {
    span.setAttribute(ATTR.errorType, code);
    if (reason !== undefined) span.setAttribute(ATTR.rpcReason, reason);
    if (SERVER_FAULTS.has(code)) span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
}

function noteError(span: Span, error: unknown): void {
  const type = error instanceof Error ? error.name : typeof error;
  const message = error instanceof Error ? error.message : String(error);
  span.setAttribute(ATTR.errorType, type);
  span.addEvent('exception', {
    [ATTR.exceptionType]: type,
    [ATTR.exceptionMessage]: scrub(message.slice(0, 1_000)),
  });
}

function peerAttributes(peer: string): Attributes {
  const colon = peer.lastIndexOf(':');
  const port = Number(peer.slice(colon + 1));
  if (colon <= 0 || !Number.isInteger(port)) return { [ATTR.peerAddress]: peer };
  const address = peer.slice(0, colon).replace(/^\[|\]$/g, '');
  return { [ATTR.peerAddress]: address, [ATTR.peerPort]: port };
}
