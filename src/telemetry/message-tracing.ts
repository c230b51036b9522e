import type { AsyncLocalStorage } from 'node:async_hooks';
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
import type { W3CTraceContextPropagator } from '@opentelemetry/core';
import { ATTR, SPAN } from './names.ts';

/** The span that is active. */
export interface ActiveSpan {
  context: Context;
  span: Span;
  /** It is that of a whole session. */
  session: boolean;
  /** Its trace began elsewhere. */
  remote: boolean;
}

/** W3C trace context; empty where there is none. */
export interface TraceContext {
  traceparent: string;
  tracestate: string;
}

interface TracedMessage {
  id: string;
  type: string;
  source: string;
  extensions: { [name: string]: string };
}

interface TracedSend {
  message?: TracedMessage | undefined;
  to: { case: string | undefined; value?: unknown };
}

interface TracedDelivery {
  id: string;
  agentId: string;
  tries: number;
  capability: string;
  topic: string;
  traceparent: string;
  tracestate: string;
  item:
    | { case: 'task'; value: TracedTask }
    | { case: 'message' | 'command'; value: unknown }
    | { case: undefined; value?: undefined };
}

interface TracedTask {
  id: string;
  capability: string;
  attempt: number;
}

/** Follows messages through the service; see MessageTracing of the domain. */
export interface MessageSpans {
  send<T extends { receivers: number; agentId: string }>(
    namespace: string,
    send: TracedSend,
    work: (trace: TraceContext) => Promise<T>,
  ): Promise<T>;
  settled(record: TracedDelivery, state: string, elapsedMs: number): void;
}

const SYSTEM = 'mycosoft.orchestrator';
const getter = {
  keys: () => [],
  get: (carrier: { [name: string]: string | undefined }, name: string) => carrier[name],
};
const setter = {
  set: (carrier: { [name: string]: string }, name: string, value: string) => {
    carrier[name] = value;
  },
};

/**
 * A message's span is a child of the call that sends it, or of what its extension "traceparent" says where it came up a
 * session or by a call without a context; what goes along with its deliveries is that span.
 */
export function createMessageSpans(options: {
  tracer: Tracer;
  active: AsyncLocalStorage<ActiveSpan>;
  propagator: W3CTraceContextPropagator;
  noteError: (span: Span, error: unknown) => void;
}): MessageSpans {
  const { tracer, active, propagator, noteError } = options;
  const contextOf = (carrier: { [name: string]: string | undefined }): Context =>
    propagator.extract(ROOT_CONTEXT, carrier, getter);
  return {
    send: async (namespace, { message, to }, work) => {
      const given = contextOf(message?.extensions ?? {});
      const ambient = active.getStore();
      // A call that carries no context of its own has begun a trace; the message's is the one to follow.
      const own = ambient?.session === false && (ambient.remote || trace.getSpan(given) === undefined);
      const parent = own ? ambient.context : given;
      const span = tracer.startSpan(
        `${SPAN.send} ${templateOf(to.case, to.value)}`,
        { kind: SpanKind.PRODUCER, attributes: sendAttributes(namespace, message, to) },
        parent,
      );
      const context = trace.setSpan(parent, span);
      const carrier = { traceparent: '', tracestate: '' };
      // Of what is not sampled the context is passed on as it came.
      propagator.inject(span.isRecording() ? context : parent, carrier, setter);
      if (!span.isRecording()) return work(carrier);
      try {
        const response = await active.run({ context, span, session: false, remote: true }, () =>
          work(carrier),
        );
        span.setAttribute(ATTR.messageReceivers, response.receivers);
        if (response.agentId !== '') span.setAttribute(ATTR.agentId, response.agentId);
        return response;
      } catch (error) {
        noteError(span, error);
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        span.end();
      }
    },
    settled: (record, state, elapsedMs) => {
      // "…-01": sampled.
      if ((Number.parseInt(record.traceparent.slice(53, 55), 16) & 1) !== 1) return;
      const { item } = record;
      if (item.case !== 'message' && item.case !== 'task') return;
      const now = Date.now();
      const attributes: Attributes = {
        ...(item.case === 'task' ? taskAttributes(record.agentId, item.value) : DELIVERED),
        [ATTR.agentId]: record.agentId,
        [ATTR.deliveryId]: record.id,
        [ATTR.deliveryOutcome]: state,
        [ATTR.deliveryTries]: record.tries,
      };
      const span = tracer.startSpan(
        item.case === 'task' ? `${SPAN.task} ${item.value.capability}` : SPAN.deliver,
        { kind: SpanKind.INTERNAL, attributes, startTime: now - elapsedMs },
        contextOf({ traceparent: record.traceparent, tracestate: record.tracestate }),
      );
      if (state !== 'succeeded') span.setStatus({ code: SpanStatusCode.ERROR });
      span.end(now);
    },
  };
}

const DELIVERED: Attributes = {
  [ATTR.messagingSystem]: SYSTEM,
  [ATTR.messagingOperation]: SPAN.deliver,
};

function taskAttributes(agentId: string, { id, attempt, capability }: TracedTask): Attributes {
  return {
    [ATTR.genAiAgentId]: agentId,
    [ATTR.taskId]: id,
    [ATTR.taskAttempt]: attempt,
    [ATTR.capability]: capability,
  };
}

/** Of low cardinality: names of agents are not in it. */
function templateOf(kind: string | undefined, value: unknown): string {
  switch (kind) {
    case 'agentId':
      return 'agent/{id}';
    case 'capability':
    case 'topic':
      return `${kind}/${String(value)}`;
    default:
      return 'selector';
  }
}

function sendAttributes(
  namespace: string,
  message: TracedMessage | undefined,
  to: TracedSend['to'],
): Attributes {
  return {
    [ATTR.messagingSystem]: SYSTEM,
    [ATTR.messagingOperation]: SPAN.send,
    [ATTR.messagingOperationType]: 'send',
    [ATTR.messagingDestination]: String(to.value ?? ''),
    [ATTR.messagingTemplate]: templateOf(to.case, to.value),
    [ATTR.messageId]: message?.id ?? '',
    [ATTR.eventType]: message?.type ?? '',
    [ATTR.eventSource]: message?.source ?? '',
    [ATTR.namespace]: namespace,
  };
}
