import { create } from '@bufbuild/protobuf';
import {
  AlwaysOnSampler,
  BasicTracerProvider,
  InMemorySpanExporter,
  ParentBasedSampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { afterEach, describe, expect, it } from 'vitest';
import { SendMessageSchema } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { SendMessageResponseSchema } from '../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { DeliveryRecordSchema } from '../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { type TraceContext, untraced } from '../../src/domain/coordination/messages/message-tracing.ts';
import { createTracing, noTracing } from '../../src/telemetry/tracing.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const OTHER = '1bf7651916cd43dd8448eb211c80319d';
const parentOf = (trace: string, flags = '01') => `00-${trace}-b7ad6b7169203331-${flags}`;

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({
  sampler: new ParentBasedSampler({ root: new AlwaysOnSampler() }),
  spanProcessors: [new SimpleSpanProcessor(exporter)],
});
const tracing = createTracing(provider.getTracer('test'));
const { messages } = tracing;
if (messages === undefined) throw new Error('nothing is traced');
afterEach(() => exporter.reset());

const send = (
  extensions: Record<string, string> = {},
  to: { case: 'agentId' | 'topic'; value: string } = { case: 'agentId', value: 'w1' },
) => create(SendMessageSchema, { message: { id: 'm', type: 't', source: 's', extensions }, to });

/** Stores a message, within a call where one is given; resolves to what goes along with its deliveries. */
async function stored(
  sent: ReturnType<typeof send>,
  call?: { method: string; traceparent?: string },
): Promise<TraceContext> {
  let context: TraceContext | undefined;
  const store = () =>
    messages?.send('default', sent, async (trace) => {
      context = trace;
      await tracing.withStoreSpan(
        { system: 'lmdb', namespace: 'default' },
        async () => 'x',
        () => 'committed',
      );
      return create(SendMessageResponseSchema, { receivers: 1, agentId: 'w1' });
    });
  if (call === undefined) await store();
  else {
    const span = tracing.startRpcSpan({
      service: 'S',
      method: call.method,
      listener: 'grpc',
      peer: '127.0.0.1:1',
      carrier: (name) => (name === 'traceparent' ? call.traceparent : undefined),
    });
    await span.run(store);
    span.end('OK');
  }
  if (context === undefined) throw new Error('nothing was stored');
  return context;
}

const spans = () => Object.fromEntries(exporter.getFinishedSpans().map((span) => [span.name, span]));

describe('the span of a message', () => {
  it('is under the call that brings a context, has the commit under it, and is what deliveries carry on', async () => {
    const context = await stored(send({ traceparent: parentOf(OTHER) }), {
      method: 'SendMessage',
      traceparent: parentOf(TRACE),
    });
    const { 'S/SendMessage': call, 'send agent/{id}': message, 'store commit': commit } = spans();
    expect(message?.spanContext().traceId).toBe(TRACE);
    expect(message?.parentSpanContext?.spanId).toBe(call?.spanContext().spanId);
    expect(commit?.parentSpanContext?.spanId).toBe(message?.spanContext().spanId);
    expect(context.traceparent).toBe(`00-${TRACE}-${message?.spanContext().spanId}-01`);
    expect(message?.attributes).toMatchObject({
      'messaging.destination.name': 'w1',
      'messaging.destination.template': 'agent/{id}',
      'orchestrator.message.receivers': 1,
    });
  });

  it.each([
    ['by a call without a context', { method: 'SendMessage' }],
    ['up a session', { method: 'OpenSession', traceparent: parentOf(OTHER) }],
    ['by long poll', { method: 'PollSession', traceparent: parentOf(OTHER) }],
    ['from within', undefined],
  ])('that comes %s is under what its extension says', async (_, call) => {
    const context = await stored(send({ traceparent: parentOf(TRACE), tracestate: 'a=b' }), call);
    expect(spans()['send agent/{id}']?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    expect(context).toMatchObject({ traceparent: expect.stringContaining(TRACE), tracestate: 'a=b' });
  });

  it('without any context is under its call, or begins a trace of its own where it came up a session', async () => {
    await stored(send(), { method: 'SendMessage' });
    expect(spans()['send agent/{id}']?.parentSpanContext?.spanId).toBe(
      spans()['S/SendMessage']?.spanContext().spanId,
    );
    exporter.reset();
    await stored(send({ traceparent: 'nonsense' }), { method: 'OpenSession', traceparent: parentOf(OTHER) });
    expect(spans()['send agent/{id}']?.parentSpanContext).toBeUndefined();
  });

  it('of what is not sampled there is none, and the context goes along as it came', async () => {
    const context = await stored(send({ traceparent: parentOf(TRACE, '00') }));
    expect(exporter.getFinishedSpans()).toEqual([]);
    expect(context.traceparent).toBe(parentOf(TRACE, '00'));
  });

  it('that is refused has its error', async () => {
    const refused = messages.send('default', send({}, { case: 'topic', value: 'jobs' }), async () => {
      throw new TypeError('nobody');
    });
    await expect(refused).rejects.toThrow('nobody');
    expect(spans()['send topic/jobs']).toMatchObject({
      status: { code: 2 },
      attributes: { 'error.type': 'TypeError' },
    });
  });
});

describe('the end of an attempt', () => {
  const record = (traceparent: string) =>
    create(DeliveryRecordSchema, {
      id: 'd',
      agentId: 'w1',
      tries: 2,
      traceparent,
      item: { case: 'message', value: {} },
    });

  it('is a span from where it was handed out, under the message', () => {
    messages.settled(record(parentOf(TRACE)), 'declined', 1_500);
    const { deliver } = spans();
    expect(deliver?.parentSpanContext?.spanId).toBe('b7ad6b7169203331');
    expect(deliver?.duration[0]).toBe(1);
    expect(deliver).toMatchObject({
      status: { code: 2 },
      attributes: { 'orchestrator.delivery.outcome': 'declined', 'orchestrator.delivery.tries': 2 },
    });
  });

  it('is none of what is not sampled, or is no message', () => {
    messages.settled(record(parentOf(TRACE, '00')), 'succeeded', 1);
    messages.settled(record(''), 'succeeded', 1);
    messages.settled(
      create(DeliveryRecordSchema, { traceparent: parentOf(TRACE), item: { case: 'command', value: {} } }),
      'succeeded',
      1,
    );
    expect(exporter.getFinishedSpans()).toEqual([]);
  });
});

describe('without tracing', () => {
  it('what the sender says is passed on, where it is a trace context', async () => {
    expect(noTracing.messages).toBeUndefined();
    const passed = async (extensions: Record<string, string>) => {
      let context: TraceContext | undefined;
      await untraced.send('default', send(extensions), async (trace) => {
        context = trace;
        return create(SendMessageResponseSchema);
      });
      return context;
    };
    const traceparent = parentOf(TRACE);
    expect(await passed({ traceparent, tracestate: 'a=b' })).toEqual({ traceparent, tracestate: 'a=b' });
    expect(await passed({ traceparent, tracestate: `a=${'b'.repeat(600)}` })).toEqual({
      traceparent,
      tracestate: '',
    });
    expect(await passed({ traceparent: `${traceparent}\r\nx` })).toEqual({ traceparent: '', tracestate: '' });
    expect(await passed({})).toEqual({ traceparent: '', tracestate: '' });
  });
});
