import { context as active, trace } from '@opentelemetry/api';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { type AgentHandle, connectAgent, type MessageHandlers } from '../../src/client/index.ts';
import { traceAgents } from '../support/agent-tracing.ts';
import { connectClients } from '../support/clients.ts';
import { OtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts';
import { ReplicasRig } from '../support/replicas-rig.ts';
import { until } from '../support/until.ts';

let collector: OtlpReceiver;
let rig: ReplicasRig;
let tracing: ReturnType<typeof traceAgents>;
const agents: AgentHandle[] = [];

beforeAll(async () => {
  collector = await OtlpReceiver.start();
  const env = {
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_METRICS_EXPORTER: 'none',
    OTEL_LOGS_EXPORTER: 'none',
    OTEL_BSP_SCHEDULE_DELAY: '100',
  };
  rig = await ReplicasRig.start({ replicas: 2, env });
  tracing = traceAgents(collector.url);
}, 60_000);
afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.close()));
  await tracing?.end();
  await rig?.stop();
  await collector?.close();
});

async function attach(id: string, replica: number, onMessage: MessageHandlers = {}): Promise<AgentHandle> {
  const server = rig.replicas[replica]?.grpc ?? '';
  const agent = await connectAgent({ server, id, spec: { kind: 'test' }, maxInFlight: 4, onMessage });
  agents.push(agent);
  return agent;
}

/** The spans of these names that have come, once there are as many as asked for of each. */
async function spans(wanted: Record<string, number>, of: (span: ReceivedSpan) => boolean) {
  const present = () => {
    const found = collector.spans.filter((span) => of(span) && wanted[span.name] !== undefined);
    return Object.entries(wanted).every(
      ([name, count]) => found.filter((span) => span.name === name).length >= count,
    )
      ? found
      : undefined;
  };
  return (
    (await until(present, Boolean, {
      what: `the spans ${Object.keys(wanted).join(', ')}`,
      timeoutMs: 10_000,
    })) ?? []
  );
}

const CALL = 'mycosoft.orchestrator.coordination.v1.MessageService/CallAgent';
const SEND = 'send agent/{id}';
const replicaOf = ({ resource }: ReceivedSpan) => resource['service.instance.id'];

describe('one trace from the sender through the service to the receiver and back', () => {
  it('a call at one replica, its handler at another, and what that handler sends', async () => {
    const done: string[] = [];
    const a = await attach('a', 0, { note: ({ data }) => void done.push(String(data)) });
    const b = await attach('b', 1, {
      outer: async (_, context) => {
        await b.send('a', { type: 'note', data: 'from the handler' });
        return { attempt: String(context.attempt) };
      },
    });
    const root = trace.getTracer('test').startSpan('test');
    const { traceId, spanId } = root.spanContext();
    await active.with(trace.setSpan(active.active(), root), () => a.call('b', { type: 'outer' }));
    root.end();
    await until(
      () => done.length,
      (count) => count === 1,
      { what: 'the note' },
    );

    const wanted = {
      'call outer': 1,
      [CALL]: 1,
      [SEND]: 2,
      'process outer': 1,
      'send note': 1,
      'process note': 1,
      deliver: 2,
    };
    const found = await spans(wanted, (span) => span.traceId === traceId);
    const one = (name: string, parent: ReceivedSpan | undefined) => {
      const spans = found.filter((span) => span.name === name && span.parentSpanId === parent?.spanId);
      expect(spans, `${name} under ${parent?.name}`).toHaveLength(1);
      return spans[0];
    };
    const call = found.find(({ name }) => name === 'call outer');
    expect(call?.parentSpanId).toBe(spanId);
    const rpc = one(CALL, call);
    const stored = one(SEND, rpc);
    const handled = one('process outer', stored);
    const delivered = one('deliver', stored);
    const sent = one('send note', handled);
    const storedToo = one(SEND, sent);
    const handledToo = one('process note', storedToo);
    one('deliver', storedToo);
    expect([call, rpc, stored, handled, sent, handledToo].map((span) => span?.kind)).toEqual([
      3, 2, 4, 5, 4, 5,
    ]);
    // Taken in by one replica, handed out and settled by the other.
    expect([rpc, delivered, storedToo].map((span) => span && replicaOf(span))).toEqual([
      'replica-1',
      'replica-2',
      'replica-2',
    ]);
    expect(handled?.links).toEqual([]);
    expect(delivered?.attributes).toMatchObject({
      'orchestrator.agent.id': 'b',
      'orchestrator.delivery.outcome': 'succeeded',
    });
    expect(stored?.attributes).toMatchObject({
      'messaging.destination.name': 'b',
      'cloudevents.event_type': 'outer',
      'orchestrator.message.receivers': 1,
    });
  });

  it('of a topic with several receivers each handler is a trace of its own that links to the one message', async () => {
    const sender = await attach('sender', 0);
    const sendersReplica = connectClients(rig.replicas[0]?.grpc ?? '');
    onTestFinished(() => sendersReplica.close());
    for (const [id, replica] of [
      ['first', 0],
      ['second', 1],
    ] as const) {
      const agent = await attach(id, replica);
      await agent.subscribe('news', () => {});
    }
    // The sender's replica hears of what was subscribed at the other one a moment later.
    const subscribed = () => sendersReplica.messages.listSubscriptions({});
    await until(subscribed, ({ subscriptions }) => subscriptions.length === 2, { what: 'the subscriptions' });
    await sender.publish('news', { type: 'story' });
    const ours = () => true;
    const found = await spans({ 'send story': 1, 'send topic/news': 1, 'process story': 2 }, ours);
    const sent = found.find(({ name }) => name === 'send story');
    const stored = found.find(({ name }) => name === 'send topic/news');
    expect(stored).toMatchObject({
      parentSpanId: sent?.spanId,
      attributes: { 'orchestrator.message.receivers': 2 },
    });
    const handled = found.filter(({ name }) => name === 'process story');
    expect(handled.map(({ parentSpanId }) => parentSpanId)).toEqual(['', '']);
    expect(handled.map(({ links }) => links)).toEqual([
      [{ traceId: stored?.traceId, spanId: stored?.spanId }],
      [{ traceId: stored?.traceId, spanId: stored?.spanId }],
    ]);
    expect(new Set([...handled, sent].map((span) => span?.traceId)).size).toBe(3);
  });

  it('a handler that fails is an error of its span and of its attempt', async () => {
    const a = await attach('asker', 0);
    await attach('failing', 1, {
      impossible: () => {
        throw new TypeError('no way');
      },
    });
    await expect(a.call('failing', { type: 'impossible' })).rejects.toMatchObject({ agentError: 'no way' });
    const [span] = await spans({ 'process impossible': 1 }, () => true);
    expect(span).toMatchObject({ status: 2, attributes: { 'error.type': 'TypeError' } });
    const all = await spans({ 'call impossible': 1, deliver: 1 }, ({ traceId }) => traceId === span?.traceId);
    expect(all.find(({ name }) => name === 'deliver')).toMatchObject({
      status: 2,
      attributes: { 'orchestrator.delivery.outcome': 'failed' },
    });
    expect(all.find(({ name }) => name === 'call impossible')).toMatchObject({
      status: 2,
      attributes: { 'error.type': 'CALL_FAILED' },
    });
  });
});
