// Spans by whatever OpenTelemetry SDK the application has registered; without one, the API's own stubs do nothing.
import {
  type Attributes,
  type Context,
  context,
  createTraceState,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { Delivery, Task } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentError, DeclineError } from './errors.ts';
import type { MessageTarget } from './outgoing.ts';

/** W3C trace context by its header names; empty where nothing is traced. */
export type TraceContext = Readonly<Record<string, string>>;

/** Spans around what is sent, called and handled. */
export interface MessageTracing {
  /** `work` gets the context that goes along with the message. */
  send<T>(target: MessageTarget, type: string, work: (context: TraceContext) => Promise<T>): Promise<T>;
  call<T>(target: MessageTarget, type: string, work: (context: TraceContext) => Promise<T>): Promise<T>;
  /** Runs a handler: in a child of the span of the message or task, or in a trace of its own that links to it where others have it too. */
  process<T>(delivery: Delivery, work: () => Promise<T>): Promise<T>;
}

const SYSTEM = 'mycosoft.orchestrator';
const TRACEPARENT = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})/;

/** Names and attributes are those of OpenTelemetry's conventions for messaging and CloudEvents. */
export function messageTracing(version: string, agentId: () => string): MessageTracing {
  const tracer = trace.getTracer('@mycosoft/orchestrator/client', version);
  return {
    send: (target, type, work) => outgoing(tracer, 'send', SpanKind.PRODUCER, target, type, work),
    call: (target, type, work) => outgoing(tracer, 'call', SpanKind.CLIENT, target, type, work),
    process: (delivery, work) => {
      const { item, work: attempt, shared, wantsAnswer } = delivery;
      if (item.case === 'task') return task(tracer, delivery, item.value, agentId(), work);
      if (item.case !== 'message') return work();
      const sender = remoteOf(delivery);
      const parent =
        sender === undefined || shared ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, sender);
      const attributes: Attributes = {
        'messaging.system': SYSTEM,
        'messaging.operation.name': 'process',
        'messaging.operation.type': 'process',
        'messaging.message.id': item.value.id,
        'cloudevents.event_type': item.value.type,
        'cloudevents.event_source': item.value.source,
        'orchestrator.delivery.id': attempt?.deliveryId ?? '',
        'orchestrator.message.wants_answer': wantsAnswer,
      };
      const links = sender !== undefined && shared ? [{ context: sender }] : [];
      const span = tracer.startSpan(
        `process ${item.value.type}`,
        { kind: SpanKind.CONSUMER, attributes, links },
        parent,
      );
      return within(span, parent, work);
    },
  };
}

/** An attempt at a task, in a child of the span of whoever submitted it. */
function task<T>(
  tracer: Tracer,
  delivery: Delivery,
  { id, capability, attempt }: Task,
  agentId: string,
  work: () => Promise<T>,
): Promise<T> {
  const sender = remoteOf(delivery);
  const parent = sender === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, sender);
  const attributes: Attributes = {
    'gen_ai.agent.id': agentId,
    'orchestrator.task.id': id,
    'orchestrator.task.capability': capability,
    'orchestrator.task.attempt': attempt,
    'orchestrator.delivery.id': delivery.work?.deliveryId ?? '',
  };
  const span = tracer.startSpan(`run ${capability}`, { kind: SpanKind.CONSUMER, attributes }, parent);
  return within(span, parent, work);
}

function outgoing<T>(
  tracer: Tracer,
  operation: string,
  kind: SpanKind,
  target: MessageTarget,
  type: string,
  work: (context: TraceContext) => Promise<T>,
): Promise<T> {
  const parent = context.active();
  const attributes: Attributes = {
    'messaging.system': SYSTEM,
    'messaging.operation.name': operation,
    'messaging.operation.type': 'send',
    'messaging.destination.name': nameOf(target),
    'cloudevents.event_type': type,
  };
  const span = tracer.startSpan(`${operation} ${type}`, { kind, attributes }, parent);
  return within(span, parent, () => work(headersOf(span.spanContext())));
}

async function within<T>(span: Span, parent: Context, work: () => Promise<T>): Promise<T> {
  try {
    return await context.with(trace.setSpan(parent, span), work);
  } catch (error) {
    if (!(error instanceof DeclineError)) span.setStatus({ code: SpanStatusCode.ERROR });
    span.setAttribute('error.type', errorType(error));
    throw error;
  } finally {
    span.end();
  }
}

function errorType(error: unknown): string {
  if (error instanceof AgentError) return error.reason || `code ${error.code}`;
  return error instanceof Error ? error.name : typeof error;
}

function nameOf(target: MessageTarget): string {
  return typeof target === 'string' ? target : (Object.values(target)[0] ?? '');
}

function headersOf(span: SpanContext): TraceContext {
  if (!trace.isSpanContextValid(span)) return {};
  const flags = span.traceFlags.toString(16).padStart(2, '0');
  const tracestate = span.traceState?.serialize() ?? '';
  return {
    traceparent: `00-${span.traceId}-${span.spanId}-${flags}`,
    ...(tracestate !== '' && { tracestate }),
  };
}

function remoteOf({ traceparent, tracestate }: Delivery): SpanContext | undefined {
  const [, traceId, spanId, flags] = TRACEPARENT.exec(traceparent) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined;
  const span: SpanContext = {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED,
    isRemote: true,
    ...(tracestate !== '' && { traceState: createTraceState(tracestate) }),
  };
  return trace.isSpanContextValid(span) ? span : undefined;
}
