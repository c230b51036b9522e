import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { DeregisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  DeliveryUpdate_State,
  SendMessageSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  CallAgentRequestSchema,
  CreateSubscriptionRequestSchema,
  MessageTrace_Step,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { Latency } from '../../../src/domain/coordination/traffic/latency.ts';
import { durationFromMs, msFromDuration, msFromTimestamp } from '../../../src/lib/proto-time.ts';
import { fleet, protocolOptions, token, useFleet } from '../agent/conversation-fixture.ts';
import { rejection, startFleet, turns } from '../agent/fleet-fixture.ts';
import { attach, type TestAgent } from './delivery-fixture.ts';
import { ANN, links, send, toAgent, watchTraffic } from './traffic-fixture.ts';

const { ACCEPTED, DECLINED, SUCCEEDED, FAILED } = DeliveryUpdate_State;

useFleet();

let a1: TestAgent;
beforeEach(async () => {
  a1 = await attach(fleet, protocolOptions(), token);
});

const last = (agent: TestAgent) => {
  const delivery = agent.deliveries().at(-1);
  if (delivery === undefined) throw new Error('nothing was delivered');
  return delivery;
};
const upkeep = async () => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of fleet.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await fleet.store.now() });
  await turns();
};
const call = (to: string, signal = new AbortController().signal) => {
  const request = create(CallAgentRequestSchema, {
    send: { message: { id: 'c1', type: 'ask' }, to: toAgent(to) },
    timeout: durationFromMs(5000),
  });
  return fleet.coordination.calls.call(request, ANN, { signal, timeLeftMs: undefined });
};

describe('a watch of the traffic', () => {
  it('tells each step of a message, with its times, at every replica', async () => {
    const other = await startFleet({ store: fleet.store, clock: fleet.clock, replicaId: 'replica-2' });
    const here = await watchTraffic(fleet);
    const there = await watchTraffic(other);
    expect(there.first).toMatchObject({ traces: [], revision: here.first?.revision });
    await send(fleet, toAgent('a1'), { id: 'm-1', source: 'ann', extensions: { partitionkey: 'k' } });
    await fleet.pass(100);
    await a1.say(last(a1), ACCEPTED);
    await fleet.pass(200);
    await a1.say(last(a1), SUCCEEDED);
    await turns();
    expect(there.traces).toEqual(here.traces);
    expect(there.words()).toEqual(['STORED m-1 a1', 'HANDED_OUT m-1 a1', 'TAKEN_ON m-1 a1', 'DONE m-1 a1']);
    const [stored, handedOut, takenOn, done] = there.traces;
    expect(stored).toMatchObject({
      type: 'note',
      source: 'ann',
      target: 'agent:a1',
      orderingKey: 'k',
      count: 1,
      call: false,
    });
    expect(stored?.bytes).toBeGreaterThan(0);
    expect(stored?.data).toBeUndefined();
    expect(handedOut?.tries).toBe(1);
    expect([takenOn, done].map((trace) => trace?.latency && msFromDuration(trace.latency))).toEqual([
      100, 300,
    ]);
    expect(done?.time && msFromTimestamp(done.time)).toBe(await fleet.store.now());
    expect(done?.revision).toBeGreaterThan(takenOn?.revision ?? 0n);
    await here.stop();
    await there.stop();
    await other.stop();
  });

  it('tells how a message ended that was not done', async () => {
    const watch = await watchTraffic(fleet);
    await send(fleet, toAgent('a1'), { id: 'no', source: 's1' });
    await a1.say(last(a1), DECLINED, { error: 'not mine' });
    await send(fleet, toAgent('a1'), { id: 'oops', source: 's2' });
    await a1.say(last(a1), FAILED, { error: 'broken' });
    await send(fleet, toAgent('a1'), { id: 'later', source: 's3' });
    await a1.say(last(a1), DECLINED, { error: 'busy', retryable: true });
    await fleet.register('away');
    await send(fleet, toAgent('away'), { id: 'old', source: 's4' }, { expireAfter: durationFromMs(1000) });
    fleet.clock.advance(1500);
    await upkeep();
    await turns();
    const ends = watch.traces.filter(({ step }) => step > MessageTrace_Step.TAKEN_ON);
    expect(ends.map(({ messageId, step, reason, error }) => [messageId, step, reason, error])).toEqual([
      ['no', MessageTrace_Step.DECLINED, 'declined', 'not mine'],
      ['oops', MessageTrace_Step.FAILED, 'failed', 'broken'],
      ['later', MessageTrace_Step.DECLINED, 'declined', 'busy'],
      ['old', MessageTrace_Step.DEAD_LETTER, 'expired', ''],
    ]);
    expect(ends.map(({ retryTime }) => retryTime !== undefined)).toEqual([false, false, true, false]);
    await watch.stop();
  });

  it('tells of calls: answered, failed, given up by the caller', async () => {
    const watch = await watchTraffic(fleet);
    const answered = call('a1');
    await turns();
    await a1.say(last(a1), SUCCEEDED);
    await answered;
    const failed = rejection(call('a1'));
    await turns();
    await a1.say(last(a1), FAILED, { error: 'no' });
    await failed;
    const gone = new AbortController();
    const given = rejection(call('a1', gone.signal));
    await turns();
    gone.abort();
    await given;
    await turns();
    const ends = watch.traces.filter(({ step }) => step > MessageTrace_Step.TAKEN_ON);
    expect(ends.map(({ step, reason, call: isCall }) => [step, reason, isCall])).toEqual([
      [MessageTrace_Step.DONE, '', true],
      [MessageTrace_Step.FAILED, 'failed', true],
      [MessageTrace_Step.WITHDRAWN, 'caller_gone', true],
    ]);
    await watch.stop();
  });

  it('tells that a message went to another agent with the capability when the first was lost', async () => {
    const sum = { capabilities: [{ name: 'sum' }] };
    await attach(fleet, protocolOptions(), await fleet.register('sum-1', sum));
    await send(fleet, { case: 'capability', value: 'sum' }, { id: 'm-1' });
    await attach(fleet, protocolOptions(), await fleet.register('sum-2', sum));
    const watch = await watchTraffic(fleet);
    const known = fleet.directory.get('default', 'sum-1');
    const hook = fleet.coordination.hooks.find(({ name }) => name === 'upkeep of messages');
    if (known === undefined || hook === undefined) throw new Error('not wired');
    const effects = await hook.effects({ namespace: 'default', known, storeMs: 0 });
    await fleet.store.commit({
      namespace: 'default',
      puts: effects.puts ?? [],
      deletes: effects.deletes ?? [],
    });
    await turns();
    const moved = watch.traces.find(({ step }) => step === MessageTrace_Step.MOVED);
    expect(moved).toMatchObject({
      messageId: 'm-1',
      agentId: 'sum-2',
      fromAgentId: 'sum-1',
      target: 'capability:sum',
    });
    expect(watch.steps()).not.toContain('DONE');
    expect(links(fleet, { receiver: 'sum-1' })).toMatchObject([{ sent: 1n, inFlight: 0 }]);
    expect(links(fleet, { receiver: 'sum-2' })).toMatchObject([{ sent: 1n, inFlight: 1 }]);
    await watch.stop();
  });

  it('tells what it was asked for only', async () => {
    const topic = (agentId: string, name: string) =>
      fleet.coordination.subscriptions.create(
        create(CreateSubscriptionRequestSchema, { subscription: { agentId, topic: name } }),
        ANN,
      );
    await fleet.register('b1');
    await topic('b1', 'jobs.*');
    const wanted = [
      await watchTraffic(fleet, { agentIds: ['b1'] }),
      await watchTraffic(fleet, { senders: ['bob'] }),
      await watchTraffic(fleet, { receivers: ['a1'], steps: [MessageTrace_Step.STORED] }),
      await watchTraffic(fleet, { types: ['job.*'] }),
      await watchTraffic(fleet, { types: ['note'] }),
      await watchTraffic(fleet, { topics: ['jobs.*'] }),
      await watchTraffic(fleet, { topics: ['jobs'] }),
      await watchTraffic(fleet, { namespace: 'other' }),
    ];
    await send(fleet, toAgent('a1'), { id: 'one', source: 'bob' });
    await send(fleet, { case: 'topic', value: 'jobs.new' }, { id: 'two', type: 'job.new' });
    await turns();
    expect(wanted.map((watch) => watch.words().join(', '))).toEqual([
      'STORED two b1',
      'STORED one a1, HANDED_OUT one a1',
      'STORED one a1',
      'STORED two b1',
      'STORED one a1, HANDED_OUT one a1',
      'STORED two b1',
      '',
      '',
    ]);
    for (const watch of wanted) await watch.stop();
  });

  it('shows payloads when asked, large ones too', async () => {
    const watch = await watchTraffic(fleet, { withData: true });
    await send(fleet, toAgent('a1'), { id: 'small' });
    const value = 'x'.repeat(5000);
    await send(fleet, toAgent('a1'), { id: 'large', source: 's2', data: { data: { case: 'text', value } } });
    await turns();
    const stored = watch.traces.filter(({ step }) => step === MessageTrace_Step.STORED);
    expect(stored.map(({ data }) => data?.data.value)).toEqual(['hi', value]);
    expect(stored[1]?.bytes).toBe(5000);
    expect(watch.traces.filter(({ data }) => data !== undefined)).toHaveLength(2);
    await watch.stop();
  });

  it('is cut off when it reads too slowly, and when the store was replaced', async () => {
    const { traffic, store } = fleet.coordination.traffic;
    const { watchMessages } = await import('../../../src/domain/coordination/traffic/message-watch.ts');
    const { WatchMessagesRequestSchema } = await import(
      '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts'
    );
    const request = create(WatchMessagesRequestSchema, {});
    const slow = watchMessages(request, new AbortController().signal, { traffic, store, watchBuffer: 3 });
    await slow.next();
    for (let count = 0; count < 4; count += 1) await send(fleet, toAgent('a1'), { source: `s${count}` });
    expect(await rejection(slow.next())).toMatchObject({
      message: 'the watcher is more than 3 steps behind; watch again, with narrower filters',
    });
    const watch = await watchTraffic(fleet);
    traffic.replaced('default', { epoch: 2n, revision: 1n });
    expect(await rejection(watch.ended)).toMatchObject({ message: expect.stringContaining('watch again') });
  });
});

describe('counts of a link', () => {
  it('tell what came of its messages and how long that took', async () => {
    for (const id of ['one', 'two', 'three']) {
      await send(fleet, toAgent('a1'), { id, source: 'ann' });
      await fleet.pass(100);
      await a1.say(last(a1), ACCEPTED);
      await fleet.pass(300);
      if (id === 'two') await a1.say(last(a1), FAILED);
      else if (id === 'one') await a1.say(last(a1), SUCCEEDED);
    }
    await turns();
    const [link] = links(fleet);
    expect(link).toMatchObject({
      ...{
        sender: 'ann',
        receiver: 'a1',
        sent: 3n,
        handedOut: 3n,
        takenOn: 3n,
        done: 1n,
        failed: 1n,
        inFlight: 1,
      },
      takeOnLatency: { count: 3n },
      doneLatency: { count: 1n },
    });
    const ms = (value: Parameters<typeof msFromDuration>[0] | undefined) =>
      msFromDuration(value ?? durationFromMs(0));
    expect(ms(link?.takeOnLatency?.p50)).toBeGreaterThan(80);
    expect(ms(link?.takeOnLatency?.p99)).toBeLessThanOrEqual(100);
    expect(ms(link?.doneLatency?.max)).toBe(400);
  });

  it('are the same at a replica that came later, as far as it saw them, and say since when', async () => {
    await send(fleet, toAgent('a1'), { source: 'ann' });
    await turns();
    fleet.clock.advance(5000);
    const other = await startFleet({ store: fleet.store, clock: fleet.clock, replicaId: 'replica-2' });
    expect(links(other)).toMatchObject([{ sender: 'ann', receiver: 'a1', sent: 0n, inFlight: 1 }]);
    expect(other.coordination.traffic.traffic.startMs('default')).toBe(fleet.clock.wallMs());
    await a1.say(last(a1), SUCCEEDED);
    await turns();
    expect(links(other)).toMatchObject([{ done: 1n, inFlight: 0 }]);
    expect(links(fleet)).toMatchObject([{ sent: 1n, done: 1n, inFlight: 0 }]);
    await other.stop();
  });

  it('are bounded: the least recently used are forgotten, and what is in flight is right when they come again', async () => {
    const small = await startFleet({ flags: { 'limits.max_links': '2' } });
    await small.register('b1');
    for (const source of ['s1', 's2', 's3', 's1']) await send(small, toAgent('b1'), { source });
    expect(links(small).map(({ sender, sent, inFlight }) => [sender, sent, inFlight])).toEqual([
      ['s1', 1n, 2],
      ['s3', 1n, 1],
    ]);
    expect(small.coordination.traffic.counts.forgotten).toBe(2);
    await small.stop();
  });

  it('are listed in pages, and by end', async () => {
    await fleet.register('b1');
    for (const source of ['x', 'y', 'b1']) await send(fleet, toAgent('a1'), { source });
    await send(fleet, toAgent('b1'), { source: 'x' });
    const { listMessageLinks } = await import('../../../src/domain/coordination/traffic/message-links.ts');
    const { ListMessageLinksRequestSchema } = await import(
      '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts'
    );
    const names: string[] = [];
    let pageToken = '';
    do {
      const request = create(ListMessageLinksRequestSchema, { pageSize: 3, pageToken });
      const page = listMessageLinks(request, fleet.coordination.traffic);
      names.push(...page.links.map(({ sender, receiver }) => `${sender}>${receiver}`));
      pageToken = page.nextPageToken;
      expect(page.replicaId).toBe('replica-1');
    } while (pageToken !== '');
    expect(names).toEqual(['b1>a1', 'x>a1', 'x>b1', 'y>a1']);
    expect(links(fleet, { agentId: 'b1' })).toHaveLength(2);
    expect(links(fleet, { sender: 'x' })).toHaveLength(2);
    expect(links(fleet, { receiver: 'b1' })).toHaveLength(1);
  });

  it('do not count down twice what ends when its agent is deregistered', async () => {
    await fleet.register('b1');
    await send(fleet, toAgent('b1'), { source: 'ann' });
    const watch = await watchTraffic(fleet);
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'b1' }), ANN);
    await turns();
    expect(watch.traces).toMatchObject([{ step: MessageTrace_Step.WITHDRAWN, reason: 'deregistered' }]);
    expect(links(fleet)).toMatchObject([{ inFlight: 0, failed: 1n, done: 0n }]);
    await watch.stop();
  });
});

describe('quantiles of latencies', () => {
  it('are good to an eighth, over six orders of magnitude', () => {
    for (const scale of [1, 10, 1000, 100_000]) {
      const latency = new Latency();
      for (let value = 1; value <= 100; value += 1) latency.add((value * scale) / 100);
      expect(Math.abs((latency.quantile(0.5) ?? 0) / (scale / 2) - 1)).toBeLessThan(0.15);
      expect(Math.abs((latency.quantile(0.99) ?? 0) / scale - 1)).toBeLessThan(0.15);
    }
    expect(new Latency().quantile(0.5)).toBeUndefined();
  });

  it('follow a change', () => {
    const latency = new Latency();
    for (let count = 0; count < 10_000; count += 1) latency.add(1);
    for (let count = 0; count < 3000; count += 1) latency.add(100);
    expect(latency.quantile(0.5)).toBeGreaterThan(80);
    expect(latency.shown().count).toBe(13_000n);
  });
});

it('the trace context of a request goes along with a message that brings none, and is no part of it', async () => {
  const context = (digit: string) => ({
    traceparent: `00-${digit.repeat(32)}-${digit.repeat(16)}-01`,
    tracestate: '',
  });
  const sending = (id: string, extensions: Record<string, string>, digit: string) => {
    const message = { id, type: 'note', source: id, extensions };
    const request = create(SendMessageSchema, { message, to: toAgent('a1') });
    const how = { caller: ANN, sessionEpoch: 0n, trace: context(digit) };
    return fleet.coordination.messages.send('default', request, how);
  };
  const first = await sending('one', {}, 'a');
  // Sent again by a client that traces each try.
  expect(await sending('one', {}, 'b')).toEqual(first);
  await sending('two', { traceparent: context('c').traceparent }, 'd');
  await turns();
  expect(a1.deliveries().map(({ traceparent }) => traceparent)).toEqual([
    context('a').traceparent,
    context('c').traceparent,
  ]);
});
