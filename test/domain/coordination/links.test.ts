import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import { DeliveryUpdate_State } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import {
  CallAgentRequestSchema,
  ListLinkPoliciesRequestSchema,
  MessageTrace_Step,
  RedriveDeadLettersRequestSchema,
  SetLinkPolicyRequestSchema,
} from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { TokenBuckets } from '../../../src/domain/coordination/links/token-buckets.ts';
import { validateRequest } from '../../../src/domain/validation/requests.ts';
import { fleet, protocolOptions, token, useFleet } from '../agent/conversation-fixture.ts';
import { rejection, startFleet, turns } from '../agent/fleet-fixture.ts';
import { attach, type TestAgent } from './delivery-fixture.ts';
import {
  ANN,
  deletePolicy,
  links,
  send,
  setPolicy,
  type To,
  toAgent,
  watchTraffic,
} from './traffic-fixture.ts';

useFleet();

let a1: TestAgent;
beforeEach(async () => {
  a1 = await attach(fleet, protocolOptions(), token);
  await fleet.register('b1', { labels: { team: 'blue' } });
  await fleet.register('b2', { labels: { team: 'blue' } });
});

const BLUE: To = { case: 'selector', value: 'team=blue' };
const mute = { case: 'mute' as const, value: {} };
const throttle = (maxPerSecond: number, more: object = {}) => ({
  case: 'throttle' as const,
  value: { maxPerSecond, ...more },
});
const reroute = (agentId: string) => ({ case: 'reroute' as const, value: { agentId } });
const inMailbox = (agentId: string) => fleet.mailboxes.count('default', agentId);
const list = (more: object = {}) =>
  fleet.coordination.linkPolicies.list(create(ListLinkPoliciesRequestSchema, more));

describe('a muted link', () => {
  it('refuses a message for its receiver alone, and tells who watches within a second', async () => {
    await setPolicy(fleet, { id: 'quiet', from: 'agent:a1', to: 'team=blue', action: mute });
    const watch = await watchTraffic(fleet);
    for (let count = 0; count < 3; count += 1) {
      await expect(send(fleet, toAgent('b1'), { id: `x${count}`, source: 'a1' })).rejects.toMatchObject({
        message: 'link policy quiet mutes messages from this sender to agent b1',
        metadata: { policy_id: 'quiet', agent_id: 'b1' },
      });
    }
    await send(fleet, toAgent('b1'), { source: 'somebody' });
    await fleet.coordination.refusals.flush();
    await turns();
    expect(inMailbox('b1')).toBe(1);
    expect(watch.traces.filter(({ step }) => step === MessageTrace_Step.MUTED)).toMatchObject([
      { messageId: 'x0', source: 'a1', agentId: 'b1', policyId: 'quiet', count: 3, target: 'agent:b1' },
    ]);
    expect(links(fleet, { sender: 'a1' })).toMatchObject([{ keptBack: 3n, sent: 0n }]);
    expect(fleet.metrics.messages.get('muted')).toBe(3);
    await watch.stop();
  });

  it('holds whatever name an agent sends under, and however it sends', async () => {
    await setPolicy(fleet, { id: 'quiet', from: 'agent:a1', to: 'agent:b1', action: mute });
    const asAgent = { principal: 'agent:default/a1', token };
    const refused = { message: expect.stringContaining('mutes') };
    const { messages, calls } = fleet.coordination;
    const sendNote = { message: { id: 'n1', type: 'note', source: 'nobody' }, to: toAgent('b1') };
    const { send: note } = create(CallAgentRequestSchema, { send: sendNote });
    if (note === undefined) throw new Error('no message');
    await expect(messages.send('default', note, { caller: asAgent, sessionEpoch: 0n })).rejects.toMatchObject(
      refused,
    );
    await attach(fleet, protocolOptions(), await fleet.register('b1', { labels: { team: 'blue' } }));
    const call = calls.call(create(CallAgentRequestSchema, { send: sendNote }), asAgent, {
      signal: new AbortController().signal,
      timeLeftMs: undefined,
    });
    await expect(call).rejects.toMatchObject(refused);
    const session = await attach(fleet, protocolOptions(), token, { features: ['messages/1'] });
    session.send({
      frameId: 'f',
      frame: {
        case: 'send',
        value: sendNote.message && { ...sendNote, message: { id: 'n2', type: 'note' } },
      },
    });
    await turns();
    const results = session
      .frames()
      .flatMap((frame) => (frame.case === 'result' ? [frame.value.reason] : []));
    expect(results).toEqual(['LINK_MUTED']);
    expect(inMailbox('b1')).toBe(0);
  });

  it('leaves its receivers out of a message to many, and says how many', async () => {
    await setPolicy(fleet, { id: 'quiet', to: 'agent:b1', action: mute });
    expect(await send(fleet, BLUE)).toMatchObject({ receivers: 1, muted: 1, throttled: 0, agentId: 'b2' });
    expect([inMailbox('b1'), inMailbox('b2')]).toEqual([0, 1]);
    await setPolicy(fleet, { id: 'quieter', to: 'team=blue', action: mute });
    await expect(send(fleet, BLUE)).rejects.toMatchObject({ metadata: { agent_id: 'b1' } });
  });

  it('has another agent with the capability chosen', async () => {
    const sum = { capabilities: [{ name: 'sum' }] };
    for (const id of ['s1', 's2', 's3']) await fleet.register(id, sum);
    await setPolicy(fleet, { id: 'q1', to: 'agent:s1', action: mute });
    await setPolicy(fleet, { id: 'q2', to: 'agent:s2', action: mute });
    for (let count = 0; count < 3; count += 1)
      expect((await send(fleet, { case: 'capability', value: 'sum' })).agentId).toBe('s3');
    await setPolicy(fleet, { id: 'q3', to: 'agent:s3', action: mute });
    await expect(send(fleet, { case: 'capability', value: 'sum' })).rejects.toThrow('mutes');
  });

  it('holds from the change of a label on, and no longer than its policy', async () => {
    await setPolicy(fleet, { id: 'quiet', to: 'team=red', action: mute });
    await send(fleet, toAgent('b1'));
    await fleet.register('b1', { labels: { team: 'red' } });
    await turns();
    await expect(send(fleet, toAgent('b1'))).rejects.toThrow('mutes');
    await deletePolicy(fleet, 'quiet');
    await send(fleet, toAgent('b1'));
    expect(inMailbox('b1')).toBe(2);
  });

  it('keeps dead letters what they are when they are put back', async () => {
    await send(fleet, toAgent('a1'), { source: 'x' });
    const [delivery] = a1.deliveries();
    if (delivery === undefined) throw new Error('nothing came');
    await a1.say(delivery, DeliveryUpdate_State.DECLINED);
    await setPolicy(fleet, { id: 'quiet', to: 'agent:b1', action: mute });
    const redrive = (toAgentId: string) =>
      fleet.coordination.deadLetters.redrive(create(RedriveDeadLettersRequestSchema, { toAgentId }), ANN);
    await expect(redrive('b1')).rejects.toThrow('mutes');
    expect(await redrive('b2')).toMatchObject({ redriven: 1, left: 0 });
    expect(inMailbox('b2')).toBe(1);
  });
});

describe('a rerouted link', () => {
  it('has messages go to another agent, once, and tells from whom', async () => {
    await setPolicy(fleet, { id: 'detour', to: 'agent:b1', action: reroute('b2') });
    await setPolicy(fleet, {
      id: 'never-asked',
      to: 'agent:b2',
      action: mute,
      priority: -1,
      from: 'team=blue',
    });
    const watch = await watchTraffic(fleet);
    expect(await send(fleet, toAgent('b1'), { id: 'm-1' })).toMatchObject({ receivers: 1, agentId: 'b2' });
    expect(watch.traces).toMatchObject([
      {
        step: MessageTrace_Step.REROUTED,
        agentId: 'b2',
        fromAgentId: 'b1',
        policyId: 'detour',
        target: 'agent:b1',
      },
    ]);
    // Both are addressed: one of them gets it, once.
    expect(await send(fleet, BLUE)).toMatchObject({ receivers: 1 });
    expect([inMailbox('b1'), inMailbox('b2')]).toEqual([0, 2]);
    expect(fleet.metrics.messages.get('rerouted')).toBe(1);
    await watch.stop();
  });

  it('is refused with the reason when nobody is at its end', async () => {
    await fleet.register('gone');
    await setPolicy(fleet, { id: 'detour', to: 'agent:b1', action: reroute('gone') });
    const call = fleet.coordination.calls.call(
      create(CallAgentRequestSchema, { send: { message: { id: 'c', type: 't' }, to: toAgent('a1') } }),
      ANN,
      { signal: new AbortController().signal, timeLeftMs: 1000 },
    );
    await turns();
    expect(a1.deliveries()).toHaveLength(1);
    const [delivery] = a1.deliveries();
    if (delivery !== undefined) await a1.say(delivery, DeliveryUpdate_State.SUCCEEDED);
    await call;
    await fleet.store.commit({ namespace: 'default', deletes: ['agent/gone'] });
    await expect(send(fleet, toAgent('b1'))).rejects.toThrow('there is no agent gone');
  });
});

describe('a throttled link', () => {
  it('lets so many pass, and says when the next one may', async () => {
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(2) });
    await send(fleet, toAgent('b1'));
    await send(fleet, toAgent('b1'));
    await expect(send(fleet, toAgent('b1'))).rejects.toMatchObject({
      retryAfterMs: 500,
      metadata: { policy_id: 'slow' },
    });
    fleet.clock.advance(500);
    await send(fleet, toAgent('b1'));
    await expect(send(fleet, toAgent('b1'))).rejects.toThrow('lets no more messages');
    expect(inMailbox('b1')).toBe(3);
    expect(fleet.metrics.messages.get('throttled')).toBe(2);
  });

  it('counts each pair by itself where it is to', async () => {
    await setPolicy(fleet, { id: 'slow', to: 'team=blue', action: throttle(1, { perLink: true }) });
    await send(fleet, toAgent('b1'), { source: 'a1' });
    await send(fleet, toAgent('b2'), { source: 'a1' });
    await send(fleet, toAgent('b1'), { source: 'b2' });
    await expect(send(fleet, toAgent('b1'), { source: 'a1' })).rejects.toThrow('lets no more');
  });

  it('leaves a dead letter to those of many receivers that are throttled, in later chunks too', async () => {
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(1) });
    expect(await send(fleet, BLUE)).toMatchObject({ receivers: 2, throttled: 0 });
    expect(await send(fleet, BLUE)).toMatchObject({ receivers: 1, throttled: 1 });
    const dead = () =>
      [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
        key.startsWith('dead/'),
      );
    expect(dead()).toHaveLength(1);
    for (let count = 0; count < 300; count += 1)
      await fleet.register(`c${count}`, { labels: { team: 'blue' } });
    await setPolicy(fleet, { id: 'slow', to: 'team=blue', action: throttle(280) });
    expect(await send(fleet, BLUE)).toMatchObject({ receivers: 280, throttled: 22 });
    const fence = { key: 'lease/care', revision: 0n };
    for (const chore of fleet.chores)
      await chore.run({ namespace: 'default', fence, storeMs: await fleet.store.now() });
    expect(dead()).toHaveLength(23);
    const waiting = links(fleet, { pageSize: 1000 }).reduce((sum, { inFlight }) => sum + inFlight, 0);
    expect(waiting).toBe(fleet.mailboxes.total());
  });

  it('holds over replicas: each knows what the others let pass', async () => {
    const other = await startFleet({
      store: fleet.store,
      clock: fleet.clock,
      replicaId: 'replica-2',
      seed: 2,
    });
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(4) });
    for (const at of [fleet, other, fleet, other]) await send(at, toAgent('b1'), { id: `t${Math.random()}` });
    for (const at of [fleet, other]) await expect(send(at, toAgent('b1'))).rejects.toThrow('lets no more');
    fleet.clock.advance(250);
    await send(other, toAgent('b1'));
    await expect(send(fleet, toAgent('b1'))).rejects.toThrow('lets no more');
    expect(inMailbox('b1')).toBe(5);
    await other.stop();
  });

  it('counts nothing that was not stored: a repetition, a conflict', async () => {
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(2) });
    for (let count = 0; count < 5; count += 1) await send(fleet, toAgent('b1'), { id: 'same' });
    await send(fleet, toAgent('b1'), { id: 'next' });
    expect(inMailbox('b1')).toBe(2);
  });

  it('counts nothing that the store refused, and once what it stored without saying so', async () => {
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(2) });
    fleet.store.faults.away = true;
    for (let count = 0; count < 5; count += 1)
      await expect(send(fleet, toAgent('b1'))).rejects.not.toThrow('lets no more');
    fleet.store.faults.away = false;
    fleet.store.faults.loseAnswers = 1;
    await expect(send(fleet, toAgent('b1'))).rejects.not.toThrow('lets no more');
    await send(fleet, toAgent('b1'));
    await expect(send(fleet, toAgent('b1'))).rejects.toThrow('lets no more');
    expect(inMailbox('b1')).toBe(2);
  });

  it('gives back what dead letters took that were not put back after all', async () => {
    await send(fleet, toAgent('a1'), { source: 'x' });
    const [delivery] = a1.deliveries();
    if (delivery === undefined) throw new Error('nothing came');
    await a1.say(delivery, DeliveryUpdate_State.DECLINED);
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(1) });
    const request = create(RedriveDeadLettersRequestSchema, { toAgentId: 'b1' });
    const redrive = () => fleet.coordination.deadLetters.redrive(request, ANN);
    let refuse = true;
    fleet.store.faults.before = async () => {
      if (refuse) throw new Error('not now');
    };
    await expect(redrive()).rejects.toThrow('not now');
    refuse = false;
    expect(await redrive()).toMatchObject({ redriven: 1 });
  });

  it('tells nothing of a repetition: it is answered as the first time', async () => {
    await setPolicy(fleet, { id: 'slow', to: 'agent:b1', action: throttle(1) });
    const watch = await watchTraffic(fleet);
    const first = await send(fleet, toAgent('b1'), { id: 'same' });
    expect(await send(fleet, toAgent('b1'), { id: 'same' })).toEqual(first);
    await fleet.coordination.refusals.flush();
    await turns();
    expect(watch.words()).toEqual(['STORED same b1']);
    expect(fleet.metrics.messages.get('throttled')).toBeUndefined();
    await watch.stop();
  });
});

describe('what link policies kept back', () => {
  const muted = (watch: { traces: readonly { count: number }[] }) =>
    watch.traces.reduce((sum, { count }) => sum + count, 0);
  const refuse = async (count: number) => {
    for (let index = 0; index < count; index += 1)
      await expect(send(fleet, toAgent('b1'), { source: `s${index}` })).rejects.toThrow('mutes');
  };
  beforeEach(() => setPolicy(fleet, { id: 'quiet', to: 'team=blue', action: mute }));

  it('is counted to the last one, however many kinds there are', async () => {
    const watch = await watchTraffic(fleet);
    await refuse(70);
    await fleet.coordination.refusals.flush();
    await turns();
    expect(watch.traces).toHaveLength(65);
    expect(watch.traces.at(-1)).toMatchObject({ step: MessageTrace_Step.MUTED, source: '', count: 6 });
    expect(muted(watch)).toBe(70);
    await watch.stop();
  });

  it('is told when the store is there again, once', async () => {
    const watch = await watchTraffic(fleet);
    await refuse(2);
    fleet.store.faults.away = true;
    await expect(fleet.coordination.refusals.flush()).rejects.toThrow();
    fleet.store.faults.away = false;
    await refuse(1);
    for (let round = 0; round < 3; round += 1) await fleet.coordination.refusals.flush();
    await turns();
    expect(muted(watch)).toBe(3);
    await watch.stop();
  });
});

describe('link policies', () => {
  it('are looked at by priority, then by id, and the first that matches holds', async () => {
    await setPolicy(fleet, { id: 'b', to: 'agent:b1', action: mute });
    await setPolicy(fleet, { id: 'a', to: 'agent:b1', action: throttle(1) });
    expect(list().policies.map(({ id }) => id)).toEqual(['a', 'b']);
    await send(fleet, toAgent('b1'));
    await setPolicy(fleet, { id: 'b', to: 'agent:b1', action: mute, priority: 5 });
    expect(list({ pageSize: 1 }).policies.map(({ id }) => id)).toEqual(['b']);
    const { nextPageToken } = list({ pageSize: 1 });
    expect(list({ pageSize: 1, pageToken: nextPageToken }).policies.map(({ id }) => id)).toEqual(['a']);
    await expect(send(fleet, toAgent('b1'))).rejects.toThrow('policy b mutes');
  });

  it('are set with a revision check and once for a request id, with events that name who did it', async () => {
    const policy = { id: 'p', from: 'team=blue', to: '', action: mute, reason: 'noise' };
    const first = await setPolicy(fleet, policy, { expectedRevision: 0n, requestId: 'r1' });
    expect(first).toMatchObject({ namespace: 'default', actor: 'ann', reason: 'noise' });
    expect(await setPolicy(fleet, policy, { expectedRevision: 0n, requestId: 'r1' })).toEqual(first);
    await expect(setPolicy(fleet, policy, { expectedRevision: 0n })).rejects.toMatchObject({
      metadata: { current_revision: `${first?.revision}` },
    });
    const second = await setPolicy(fleet, policy, { expectedRevision: first?.revision ?? 0n });
    expect(second?.createTime).toEqual(first?.createTime);
    await expect(deletePolicy(fleet, 'p', { expectedRevision: first?.revision ?? 0n })).rejects.toThrow(
      'has revision',
    );
    await deletePolicy(fleet, 'p');
    await expect(deletePolicy(fleet, 'p')).rejects.toThrow('there is no link policy p');
    expect(fleet.events().filter(({ type }) => type.startsWith('link.'))).toMatchObject([
      {
        type: 'link.policy_set',
        actor: 'ann',
        message: 'link policy p mutes messages from team=blue to everyone: noise',
      },
      { type: 'link.policy_set' },
      {
        type: 'link.policy_deleted',
        attributes: { policy_id: 'p', from: 'team=blue', to: '', action: 'mute' },
      },
    ]);
  });

  it('are limited in number, and reroute to agents that are there', async () => {
    const small = await startFleet({ flags: { 'limits.max_link_policies': '1' } });
    await small.register('a1');
    await expect(setPolicy(small, { id: 'x', action: reroute('none') })).rejects.toThrow('no agent none');
    await setPolicy(small, { id: 'x', action: reroute('a1') });
    await setPolicy(small, { id: 'x', action: mute });
    expect(await rejection(setPolicy(small, { id: 'y', action: mute }))).toMatchObject({
      message: 'namespace default has its maximum of 1 link policies',
    });
    await small.stop();
  });

  it.each<[string, object, string]>([
    ['no action', { id: 'p' }, 'one of mute, reroute and throttle must be given'],
    ['a bad id', { id: 'p q', action: mute }, 'must be of characters'],
    ['a selector that is none', { id: 'p', from: 'a==', to: 'a b', action: mute }, 'at position'],
    ['an agent that cannot be', { id: 'p', to: 'agent:', action: mute }, 'must not be empty'],
    ['a rate of nothing', { id: 'p', action: throttle(0) }, '0.001 to 1,000,000 is allowed'],
    ['a rate of next to nothing', { id: 'p', action: throttle(1e-320) }, '0.001 to 1,000,000 is allowed'],
    ['a rate that is no number', { id: 'p', action: throttle(Number.NaN) }, '0.001 to 1,000,000'],
    ['a priority out of range', { id: 'p', action: mute, priority: 1001 }, '-1000 to 1000'],
    ['a long reason', { id: 'p', action: mute, reason: 'x'.repeat(1025) }, 'at most 1024'],
  ])('with %s are refused', (_, policy, words) => {
    const violations = validateRequest(create(SetLinkPolicyRequestSchema, { policy }));
    expect(violations.map(({ description }) => description).join()).toContain(words);
  });
});

describe('a token bucket', () => {
  it('lets a burst pass, then the rate, and pays back what others took', () => {
    const buckets = new TokenBuckets({ max: 2 });
    const rate = { perSecond: 10, burst: 3 };
    expect([1, 2, 3].map(() => buckets.take('x', rate, 0))).toEqual([0, 0, 0]);
    expect(buckets.take('x', rate, 0)).toBe(100);
    expect(buckets.take('x', rate, 100)).toBe(0);
    for (let count = 0; count < 100; count += 1) buckets.taken('x', rate, 100);
    // Bounded below: it is never closed for longer than a burst takes.
    expect(buckets.take('x', rate, 100)).toBe(400);
    buckets.take('y', rate, 100);
    buckets.take('z', rate, 100);
    expect(buckets.take('x', rate, 100)).toBe(0);
  });
});
