import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { DeregisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  DeliveryUpdate_State,
  SendMessageSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { ErrorReason } from '../../../gen/mycosoft/orchestrator/common/v1/error_reason_pb.ts';
import {
  CallAgentRequestSchema,
  CreateSubscriptionRequestSchema,
  DeleteSubscriptionRequestSchema,
  ListDeadLettersRequestSchema,
  ListDeliveriesRequestSchema,
  ListSubscriptionsRequestSchema,
  RedriveDeadLettersRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { BLOB_PREFIX } from '../../../src/domain/coordination/messages/message-record.ts';
import { SEEN_PREFIX } from '../../../src/domain/coordination/messages/seen-messages.ts';
import { patternsOf } from '../../../src/domain/coordination/messages/subscription-view.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { fleet, protocolOptions, token, useFleet } from '../agent/conversation-fixture.ts';
import { startFleet, turns } from '../agent/fleet-fixture.ts';
import { attach, type TestAgent } from './delivery-fixture.ts';

const { ACCEPTED, DECLINED, SUCCEEDED, FAILED } = DeliveryUpdate_State;
const ANN = { principal: 'ann', token: undefined };
type To = NonNullable<MessageInitShape<typeof SendMessageSchema>['to']>;
type Content = NonNullable<MessageInitShape<typeof SendMessageSchema>['message']>;
type More = Omit<MessageInitShape<typeof SendMessageSchema>, 'to' | 'message' | '$typeName'>;

useFleet();

let a1: TestAgent;
beforeEach(async () => {
  a1 = await attach(fleet, protocolOptions(), token);
});

let ids = 0;
const text = (value: string) => ({ data: { case: 'text' as const, value } });
const message = (value = 'hi', more: object = {}) => {
  ids += 1;
  return { id: `m${ids}`, type: 'note', data: text(value), ...more };
};
const send = async (to: To, content: Content = message(), more: More = {}) => {
  const request = create(SendMessageSchema, { message: content, to, ...more });
  const response = await fleet.coordination.messages.send('default', request, {
    caller: ANN,
    sessionEpoch: 0n,
  });
  await turns();
  return response;
};
const toAgent = (value: string) => ({ case: 'agentId' as const, value });
const able = async (id: string, how: { attached?: boolean; labels?: Record<string, string> } = {}) => {
  const own = await fleet.register(id, { capabilities: [{ name: 'sum' }], labels: how.labels ?? {} });
  return how.attached === false ? undefined : attach(fleet, protocolOptions(), own);
};
const texts = (agent: TestAgent) =>
  agent.deliveries().flatMap(({ item }) => (item.case === 'message' ? [item.value.data?.data.value] : []));
const only = (agent: TestAgent) => {
  const delivery = agent.deliveries().at(-1);
  if (delivery?.item.case !== 'message') throw new Error('no message came');
  return { delivery, message: delivery.item.value };
};
const upkeep = async () => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of fleet.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await fleet.store.now() });
  await turns();
};
const keys = (prefix: string) =>
  [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith(prefix),
  );

describe('a message to an agent', () => {
  it('reaches it with all that it says, and is gone when it succeeded', async () => {
    const response = await send(
      toAgent('a1'),
      message('hello', { subject: 's', extensions: { partitionkey: 'k' } }),
    );
    expect(response).toMatchObject({ receivers: 1, agentId: 'a1' });
    const { delivery, message: got } = only(a1);
    expect(got).toMatchObject({ type: 'note', subject: 's', source: 'ann', data: text('hello') });
    expect(delivery).toMatchObject({ wantsAnswer: false, work: { deliveryId: response.deliveryId } });
    expect(await a1.say(delivery, SUCCEEDED)).toBe('');
    expect(fleet.mailboxes.total()).toBe(0);
  });

  it('is one message however often it is sent with the same source and id', async () => {
    const content = message();
    const first = await send(toAgent('a1'), content);
    expect(await send(toAgent('a1'), content)).toEqual(first);
    expect(texts(a1)).toEqual(['hi']);
    await expect(send(toAgent('a1'), { ...content, type: 'other' })).rejects.toThrow('before with another');
  });

  it('sent twice in one breath is one message', async () => {
    const content = message();
    const [first, second] = await Promise.all([send(toAgent('a1'), content), send(toAgent('a1'), content)]);
    expect(second).toEqual(first);
    expect(texts(a1)).toEqual(['hi']);
  });

  it('that a store has lost comes again as the same delivery, with a higher attempt', async () => {
    const content = message();
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const before = new Map(entries);
    await send(toAgent('a1'), content);
    entries?.clear();
    for (const [key, entry] of before) entries?.set(key, entry);
    fleet.store.promote();
    await turns();
    await send(toAgent('a1'), content);
    await fleet.pass(1000);
    const [first, second] = a1.deliveries();
    expect(second?.work?.deliveryId).toBe(first?.work?.deliveryId);
    expect(second?.work?.attempt).toBeGreaterThan(first?.work?.attempt ?? 0n);
  });

  it('that was stored is answered as before when its receiver is gone since, or has a full mailbox', async () => {
    await fleet.register('w1');
    const content = message();
    const first = await send(toAgent('w1'), content);
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'w1' }), ANN);
    await turns();
    expect(await send(toAgent('w1'), content)).toEqual(first);
    await expect(send(toAgent('w1'))).rejects.toMatchObject({ reason: ErrorReason.AGENT_NOT_FOUND });
  });

  it.each([
    [5, false],
    [9.99, false],
    [10.01, true],
  ])(
    'is forgotten after five to ten minutes, and its trace with it: after %d',
    async (minutes, forgotten) => {
      const periodMs = 300_000;
      fleet.clock.advance(periodMs - (fleet.clock.wallMs() % periodMs));
      const content = message();
      await send(toAgent('a1'), content);
      fleet.clock.advance(minutes * 60_000);
      await fleet.storeTime.exact();
      await upkeep();
      expect(keys(SEEN_PREFIX)).toHaveLength(forgotten ? 0 : 1);
      await send(toAgent('a1'), content);
      expect(fleet.mailboxes.of('default', 'a1').length).toBe(forgotten ? 2 : 1);
    },
  );

  it('to an attached agent is handed out as it was stored, without another commit', async () => {
    const before = fleet.store.position('default');
    await send(toAgent('a1'));
    const { delivery } = only(a1);
    expect((await fleet.store.position('default')).revision).toBe((await before).revision + 1n);
    // A later session gets another attempt.
    a1.breakOff();
    const next = await attach(fleet, protocolOptions(), token);
    expect(only(next).delivery.work?.attempt).toBeGreaterThan(delivery.work?.attempt ?? 0n);
  });

  it('that waited for room in a session that ended has lost none of its tries', async () => {
    const own = await fleet.register('w1');
    const first = await attach(fleet, protocolOptions(), own, { maxInFlight: 1 });
    await send(toAgent('w1'), message('one'), { orderingKey: 'k1' });
    await send(toAgent('w1'), message('two'), { orderingKey: 'k2' });
    expect(texts(first)).toEqual(['one']);
    const tries = () => fleet.mailboxes.of('default', 'w1').map(({ record }) => record.tries);
    expect(tries()).toEqual([0, 0]);
    first.breakOff();
    const next = await attach(fleet, protocolOptions(), own, { maxInFlight: 2 });
    expect(texts(next)).toEqual(['one', 'two']);
    expect(tries()).toEqual([1, 1]);
  });

  it('that nobody answers comes again, and each time counts, the first one included', async () => {
    await send(toAgent('a1'));
    for (const times of [2, 3]) {
      await fleet.pass(10_500);
      expect(texts(a1)).toHaveLength(times);
      expect(fleet.mailboxes.of('default', 'a1').map(({ record }) => record.tries)).toEqual([times]);
    }
  });

  it('keeps a large payload apart: once, out of mailbox and log, and removes it with the outcome', async () => {
    const large = 'x'.repeat(50_000);
    await send(toAgent('a1'), message(large));
    const [blob] = keys(BLOB_PREFIX);
    expect(blob).toBeDefined();
    const entry = fleet.store.data.namespaces.get('default')?.entries.get(keys('mail/')[0] ?? '');
    expect(entry?.value.length).toBeLessThan(1000);
    const { delivery, message: got } = only(a1);
    expect(got.data?.data.value).toBe(large);
    await a1.say(delivery, SUCCEEDED);
    expect(keys(BLOB_PREFIX)).toEqual([]);
  });

  it('comes after those before it of the same sender, and other senders pass', async () => {
    for (const value of ['1', '2']) await send(toAgent('a1'), message(value, { source: 's' }));
    await send(toAgent('a1'), message('other', { source: 't' }));
    expect(texts(a1)).toEqual(['1', 'other']);
    const first = a1.deliveries()[0];
    if (first === undefined) throw new Error('nothing came');
    await a1.say(first, ACCEPTED);
    await turns();
    expect(texts(a1)).toEqual(['1', 'other', '2']);
  });

  it('waits for one that is away, and expires as a dead letter that can be put back', async () => {
    await fleet.register('w1');
    await send(toAgent('w1'), message('late'), { expireAfter: durationFromMs(5000) });
    const listed = fleet.coordination.deadLetters.deliveries(
      create(ListDeliveriesRequestSchema, { agentId: 'w1' }),
    );
    expect(listed.deliveries).toMatchObject([{ agentId: 'w1', tries: 0, accepted: false }]);
    await fleet.pass(5100);
    await upkeep();
    const dead = await fleet.coordination.deadLetters.list(
      create(ListDeadLettersRequestSchema, { agentId: 'w1' }),
    );
    expect(dead.deadLetters).toMatchObject([{ reason: 'expired', delivery: { agentId: 'w1' } }]);
    const request = create(RedriveDeadLettersRequestSchema, {
      agentId: 'w1',
      toAgentId: 'a1',
      requestId: 'r',
    });
    expect(await fleet.coordination.deadLetters.redrive(request, ANN)).toMatchObject({
      redriven: 1,
      left: 0,
    });
    expect(await fleet.coordination.deadLetters.redrive(request, ANN)).toMatchObject({ redriven: 1 });
    await turns();
    expect(texts(a1)).toEqual(['late']);
    expect(keys('dead/')).toEqual([]);
  });

  it('becomes a dead letter when the agent is deregistered first, by whatever way', async () => {
    await fleet.register('w1');
    await send(toAgent('w1'));
    await fleet.store.commit({ namespace: 'default', deletes: ['agent/w1'] });
    await upkeep();
    expect(keys('dead/')).toHaveLength(1);
    expect(fleet.mailboxes.total()).toBe(0);
  });

  it.each<[string, To, object, string]>([
    ['an agent that is not there', toAgent('none'), {}, 'no agent none'],
    ['a capability that nobody has', { case: 'capability', value: 'fly' }, {}, 'has the capability fly'],
    ['a topic without subscribers', { case: 'topic', value: 'news' }, {}, 'subscribed'],
    ['a selector that picks nobody', { case: 'selector', value: 'tier=x' }, {}, 'picks no agent'],
    [
      'a time that has passed',
      toAgent('a1'),
      { extensions: { expirytime: '1999-01-01T00:00:00Z' } },
      'has passed',
    ],
    [
      'a time too far ahead',
      toAgent('a1'),
      { extensions: { expirytime: '9999-12-31T23:59:59Z' } },
      'more than 30 days ahead',
    ],
  ])('is refused at once for %s', async (_, to, more, words) => {
    await expect(send(to, message('x', more))).rejects.toThrow(words);
  });

  it('is refused when the mailbox is full', async () => {
    await fleet.register('w1');
    const puts = Array.from({ length: 1000 }, (_, index) => ({
      key: `mail/w1/m${index}`,
      value: new Uint8Array(),
    }));
    await fleet.store.commit({ namespace: 'default', puts });
    await expect(send(toAgent('w1'))).rejects.toThrow('1000');
  });
});

describe('a message from a session', () => {
  const frame = (content: Content, frameId: string) => ({
    frameId,
    frame: { case: 'send' as const, value: { message: content, to: toAgent('a1') } },
  });
  const results = (agent: TestAgent) =>
    agent
      .frames()
      .flatMap((each) => (each.case === 'result' ? [[each.value.frameId, each.value.reason]] : []));

  it('is stored in the order of sending, under the name of the agent', async () => {
    const own = await fleet.register('w1');
    const w1 = await attach(fleet, protocolOptions(), own, { features: ['messages/1'] });
    for (const value of ['1', '2', '3']) w1.send(frame(message(value), value));
    await turns(60);
    expect(results(w1)).toEqual([
      ['1', ''],
      ['2', ''],
      ['3', ''],
    ]);
    expect(only(a1).message.source).toBe('w1');
    const stored = fleet.mailboxes.of('default', 'a1').map(({ record }) => record.item.value);
    expect(stored).toMatchObject([{ data: text('1') }, { data: text('2') }, { data: text('3') }]);
  });

  it('under another name, or without having agreed on the feature, is refused', async () => {
    const own = await fleet.register('w1');
    const w1 = await attach(fleet, protocolOptions(), own, { features: ['messages/1'] });
    w1.send(frame(message('x', { source: 'a1' }), 'false'));
    await turns(20);
    expect(results(w1)).toEqual([['false', 'INVALID_FIELDS']]);
    a1.send(frame(message(), 'plain'));
    await turns();
    expect(results(a1)).toEqual([['plain', 'UNKNOWN_FRAME']]);
  });

  it('is put off while the store has lost the attachment, and refused with an epoch that never was', async () => {
    const own = await fleet.register('w1');
    const entries = fleet.store.data.namespaces.get('default')?.entries;
    const before = entries?.get('agent/w1');
    const w1 = await attach(fleet, protocolOptions(), own, { features: ['messages/1'] });
    const attached = entries?.get('agent/w1');
    if (before === undefined || attached === undefined) throw new Error('no agent');
    const sessionEpoch = (fleet.directory.get('default', 'w1')?.record.sessionEpoch ?? 0n) + 1n;
    const request = create(SendMessageSchema, { message: message(), to: toAgent('a1') });
    const caller = { principal: 'x', token: own };
    await expect(
      fleet.coordination.messages.send('default', request, { caller, sessionEpoch }),
    ).rejects.toMatchObject({ reason: ErrorReason.EPOCH_STALE });
    fleet.store.data.epoch += 1n;
    entries?.set('agent/w1', before);
    w1.send(frame(message('again'), 'lost'));
    await turns(20);
    entries?.set('agent/w1', attached);
    w1.send(frame(message('again'), 'told'));
    await turns(20);
    expect(results(w1)).toEqual([
      ['lost', 'CONTENTION'],
      ['told', ''],
    ]);
  });
});

describe('a message for a capability', () => {
  const forSum = { case: 'capability' as const, value: 'sum' };

  it('goes to the agent with the least in its mailbox, of those that are there', async () => {
    await able('w1');
    await able('w2');
    await able('w3', { attached: false });
    const chosen: string[] = [];
    for (let index = 0; index < 6; index += 1) chosen.push((await send(forSum)).agentId);
    expect(chosen.filter((id) => id === 'w1')).toHaveLength(3);
    expect(chosen.filter((id) => id === 'w2')).toHaveLength(3);
  });

  it('of one ordering key goes to the same agent while that is there', async () => {
    const agents = new Map<string, TestAgent | undefined>();
    for (const id of ['w1', 'w2', 'w3']) agents.set(id, await able(id));
    const chosen = new Set<string>();
    for (let index = 0; index < 8; index += 1)
      chosen.add((await send(forSum, message(), { orderingKey: 'k' })).agentId);
    const [first = ''] = chosen;
    expect(chosen.size).toBe(1);
    agents.get(first)?.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    expect((await send(forSum, message(), { orderingKey: 'k' })).agentId).not.toBe(first);
  });

  it('goes to another agent when the first is lost before it took it on', async () => {
    await able('w1');
    await send(forSum);
    const w2 = await able('w2');
    const known = fleet.directory.get('default', 'w1');
    const hook = fleet.coordination.hooks.find(({ name }) => name === 'upkeep of messages');
    if (known === undefined || hook === undefined || w2 === undefined) throw new Error('not wired');
    const effects = await hook.effects({ namespace: 'default', known, storeMs: 0 });
    expect(effects.summary).toContain('1 messages');
    await fleet.store.commit({
      namespace: 'default',
      checks: [...(effects.checks ?? [])],
      puts: [...(effects.puts ?? [])],
      deletes: [...(effects.deletes ?? [])],
    });
    await turns();
    expect(texts(w2)).toEqual(['hi']);
  });
});

describe('a message to many', () => {
  const subscribe = async (agentId: string, topic: string, id = '') => {
    const request = create(CreateSubscriptionRequestSchema, { subscription: { id, agentId, topic } });
    const { subscription } = await fleet.coordination.subscriptions.create(request, ANN);
    await turns();
    return subscription;
  };

  it.each([
    ['a', ['a']],
    ['a.b', ['a.b', 'a.*']],
    ['a.b.c', ['a.b.c', 'a.*', 'a.b.*']],
  ])('of topic %s reaches those subscribed to %j', (topic, patterns) => {
    expect(patternsOf(topic)).toEqual(patterns);
  });

  it('reaches every subscriber of its topic once, exact or by prefix', async () => {
    for (const id of ['w1', 'w2', 'w3']) await fleet.register(id);
    await subscribe('w1', 'jobs.done');
    await subscribe('w1', 'jobs.*');
    await subscribe('w2', 'jobs.*');
    await subscribe('w3', 'jobs');
    expect(await send({ case: 'topic', value: 'jobs.done' })).toMatchObject({ receivers: 2, agentId: '' });
    expect(['w1', 'w2', 'w3'].map((id) => fleet.mailboxes.count('default', id))).toEqual([1, 1, 0]);
  });

  it('no longer reaches who ended its subscription', async () => {
    await fleet.register('w1');
    const subscription = await subscribe('w1', 'news', 'mine');
    expect(await subscribe('w1', 'news', 'mine')).toEqual(subscription);
    await expect(subscribe('a1', 'news', 'mine')).rejects.toThrow('there already');
    const list = () =>
      fleet.coordination.subscriptions.list(create(ListSubscriptionsRequestSchema, { agentId: 'w1' }));
    expect(list().subscriptions).toMatchObject([{ id: 'mine', topic: 'news', namespace: 'default' }]);
    await fleet.coordination.subscriptions.delete(
      create(DeleteSubscriptionRequestSchema, { subscriptionId: 'mine' }),
    );
    await turns();
    expect(list().subscriptions).toEqual([]);
    await expect(send({ case: 'topic', value: 'news' })).rejects.toThrow('subscribed');
  });

  it('is stored once with a large payload, and goes on in chunks from where it stopped', async () => {
    for (let index = 0; index < 600; index += 1) await fleet.register(`w${index}`, { labels: { tier: 'x' } });
    const response = await send({ case: 'selector', value: 'tier=x' }, message('x'.repeat(5000)));
    expect(response.receivers).toBe(600);
    expect(fleet.mailboxes.total()).toBe(256);
    expect(keys(BLOB_PREFIX)).toHaveLength(1);
    expect(keys('fanout/')).toHaveLength(1);
    await upkeep();
    await upkeep();
    expect(fleet.mailboxes.total()).toBe(600);
    expect(keys('fanout/')).toEqual([]);
    for (let index = 0; index < 600; index += 1)
      expect(fleet.mailboxes.count('default', `w${index}`)).toBe(1);
  });

  it('that are more than a message may have is refused, and reaches nobody', async () => {
    const small = await startFleet({ flags: { 'limits.max_receivers': '2' } });
    for (const id of ['w1', 'w2', 'w3']) {
      await small.register(id, { labels: { tier: 'z' } });
      const subscription = { agentId: id, topic: 'news' };
      await small.coordination.subscriptions.create(
        create(CreateSubscriptionRequestSchema, { subscription }),
        ANN,
      );
    }
    await turns();
    const targets: To[] = [
      { case: 'selector', value: 'tier=z' },
      { case: 'topic', value: 'news' },
    ];
    for (const to of targets) {
      const request = create(SendMessageSchema, { message: message(), to });
      const sent = small.coordination.messages.send('default', request, { caller: ANN, sessionEpoch: 0n });
      await expect(sent).rejects.toMatchObject({
        reason: ErrorReason.LIMIT_REACHED,
        message: 'the message has 3 receivers; at most 2 are allowed',
      });
    }
    expect(small.mailboxes.total()).toBe(0);
    await small.stop();
  });

  it('becomes a dead letter for those whose mailbox is full', async () => {
    for (const id of ['w1', 'w2']) await fleet.register(id, { labels: { tier: 'y' } });
    const puts = Array.from({ length: 1000 }, (_, index) => ({
      key: `mail/w1/m${index}`,
      value: new Uint8Array(),
    }));
    await fleet.store.commit({ namespace: 'default', puts });
    await send({ case: 'selector', value: 'tier=y' });
    expect(fleet.mailboxes.count('default', 'w2')).toBe(1);
    const dead = await fleet.coordination.deadLetters.list(create(ListDeadLettersRequestSchema, {}));
    expect(dead.deadLetters).toMatchObject([{ reason: 'mailbox_full', delivery: { agentId: 'w1' } }]);
  });
});

describe('a call', () => {
  const call = (to: To, more: object = {}) =>
    fleet.coordination.calls.call(
      create(CallAgentRequestSchema, { send: { message: message('2+2'), to }, ...more }),
      ANN,
      { signal: new AbortController().signal, timeLeftMs: undefined },
    );

  it('brings back what the agent answered', async () => {
    const answer = call(toAgent('a1'));
    await turns();
    const { delivery } = only(a1);
    expect(delivery.wantsAnswer).toBe(true);
    await a1.say(delivery, ACCEPTED);
    await a1.say(delivery, SUCCEEDED, { output: text('4') });
    expect(await answer).toMatchObject({ agentId: 'a1', output: text('4') });
    await turns();
    expect(keys('reply/')).toEqual([]);
  });

  it('hears an answer that comes before the store has acknowledged the call', async () => {
    let resolve = (): void => {};
    const acknowledged = new Promise<void>((done) => {
      resolve = done;
    });
    fleet.store.faults.answer = ({ puts }) =>
      puts?.some(({ key }) => key.startsWith('mail/')) ? acknowledged : Promise.resolve();
    const answer = call(toAgent('a1'), { timeout: durationFromMs(1000) });
    await turns();
    fleet.store.faults.answer = undefined;
    await a1.say(only(a1).delivery, SUCCEEDED, { output: text('4') });
    resolve();
    expect(await answer).toMatchObject({ agentId: 'a1', output: text('4') });
  });

  it('ends in its time while the store has not acknowledged it yet, and is taken back when it has', async () => {
    let resolve = (): void => {};
    const acknowledged = new Promise<void>((done) => {
      resolve = done;
    });
    fleet.store.faults.answer = ({ puts }) =>
      puts?.some(({ key }) => key.startsWith('mail/')) ? acknowledged : Promise.resolve();
    await expect(call(toAgent('a1'), { timeout: durationFromMs(120) })).rejects.toMatchObject({
      reason: ErrorReason.DEADLINE_EXCEEDED,
    });
    expect(keys('mail/')).toHaveLength(1);
    fleet.store.faults.answer = undefined;
    resolve();
    await turns(30);
    expect(keys('mail/')).toEqual([]);
  });

  it('that nobody answers in its time leaves no dead letter', async () => {
    await able('w1');
    const late = expect(call(toAgent('w1'), { timeout: durationFromMs(300) })).rejects.toThrow('no answer');
    await turns();
    fleet.clock.advance(400);
    await fleet.storeTime.exact();
    await upkeep();
    expect(fleet.mailboxes.total()).toBe(0);
    expect(keys('dead/')).toEqual([]);
    await late;
  });

  it.each([
    ['failed', FAILED],
    ['declined', DECLINED],
  ])('tells that the agent %s, and why', async (word, state) => {
    const answer = call(toAgent('a1'));
    await turns();
    const told = expect(answer).rejects.toMatchObject({
      message: expect.stringContaining(`${word} the call: no such sum`),
    });
    await a1.say(only(a1).delivery, state, { error: 'no such sum' });
    await told;
  });

  it('is refused at once when nobody is there to take it', async () => {
    await expect(call({ case: 'capability', value: 'sum' })).rejects.toThrow('has the capability');
    await able('w1', { attached: false });
    await expect(call({ case: 'capability', value: 'sum' })).rejects.toThrow('is there to take it');
    await expect(call(toAgent('w1'))).rejects.toThrow('not attached');
  });

  it('ends when the agent leaves or is deregistered while it has it', async () => {
    const first = call(toAgent('a1'));
    await turns();
    const told = expect(first).rejects.toThrow('a1 has left');
    a1.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    await told;
    const again = await attach(fleet, protocolOptions(), token);
    const second = call(toAgent('a1'));
    await turns();
    expect(only(again).message.data).toMatchObject(text('2+2'));
    const gone = expect(second).rejects.toThrow('deregistered');
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'a1' }), ANN);
    await gone;
  });

  it('goes to another agent when the first leaves, if it is idempotent', async () => {
    const w1 = await able('w1');
    if (w1 === undefined) throw new Error('not attached');
    const answer = call({ case: 'capability', value: 'sum' }, { idempotent: true });
    await turns();
    await w1.say(only(w1).delivery, ACCEPTED);
    const w2 = await able('w2');
    if (w2 === undefined) throw new Error('not attached');
    w1.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    await turns(30);
    await w2.say(only(w2).delivery, SUCCEEDED, { output: text('4') });
    expect(await answer).toMatchObject({ agentId: 'w2' });
  });

  it('ends with its deadline, and takes the delivery back from the agent', async () => {
    await expect(call(toAgent('a1'), { timeout: durationFromMs(120) })).rejects.toThrow('no answer came');
    await turns();
    expect(fleet.mailboxes.total()).toBe(0);
    expect(a1.frames().at(-1)?.case).toBe('revoke');
  });
});

it('payloads that nobody fetched go when their message and its dead letter are over', async () => {
  await fleet.register('w1');
  await send(toAgent('w1'), message('x'.repeat(5000)), { expireAfter: durationFromMs(1000) });
  expect(keys(BLOB_PREFIX)).toHaveLength(1);
  fleet.clock.advance(8 * 24 * 3600 * 1000);
  await upkeep();
  expect(keys(BLOB_PREFIX)).toEqual([]);
});
