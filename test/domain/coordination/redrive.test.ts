import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { DeregisterAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import { DeliveryUpdate_State } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { RedriveDeadLettersRequestSchema } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { DeliveryRecordSchema } from '../../../gen/mycosoft/orchestrator/store/v1/records_pb.ts';
import { putDeadLetter } from '../../../src/domain/coordination/delivery-record.ts';
import { BLOB_PREFIX } from '../../../src/domain/coordination/messages/message-record.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { fleet, protocolOptions, useFleet } from '../agent/conversation-fixture.ts';
import { turns } from '../agent/fleet-fixture.ts';
import { attach } from './delivery-fixture.ts';
import { ANN, send, setPolicy, type To, toAgent } from './traffic-fixture.ts';

useFleet();

const DAY = 24 * 3600 * 1000;
const large = 'x'.repeat(50_000);
const text = (value: string) => ({ data: { data: { case: 'text' as const, value } } });
const SHORT = { expireAfter: durationFromMs(1000) };

const redrive = async (more: MessageInitShape<typeof RedriveDeadLettersRequestSchema> = {}) => {
  const request = create(RedriveDeadLettersRequestSchema, more);
  const response = await fleet.coordination.deadLetters.redrive(request, ANN);
  await turns();
  return response;
};
const upkeep = async () => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of fleet.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await fleet.storeTime.exact() });
  await turns();
};
const keys = (prefix: string) =>
  [...(fleet.store.data.namespaces.get('default')?.entries.keys() ?? [])].filter((key) =>
    key.startsWith(prefix),
  );
const expire = async (to: To, messages: object[]) => {
  for (const message of messages) await send(fleet, to, message, SHORT);
  fleet.clock.advance(1100);
  await upkeep();
  expect(keys('mail/')).toEqual([]);
};
const idsOf = (prefix: string) => keys(prefix).map((key) => key.slice(key.lastIndexOf('/') + 1));
const textsIn = (agentId: string) =>
  fleet.mailboxes
    .of('default', agentId)
    .flatMap(({ record: { item } }) => (item.case === 'message' ? [item.value.data?.data.value] : []));

describe('the payload of a dead letter that is put back', () => {
  it('is kept as long as its new delivery', async () => {
    const token = await fleet.register('w1');
    await expire(toAgent('w1'), [text(large)]);
    fleet.clock.advance(7 * DAY - 60_000);
    await redrive();
    expect(keys(BLOB_PREFIX)).toHaveLength(1);
    fleet.clock.advance(600_000);
    await upkeep();
    const w1 = await attach(fleet, protocolOptions(), token);
    await turns(20);
    const [item] = w1.deliveries().map((delivery) => delivery.item);
    expect(item?.case === 'message' && item.value.data?.data.value).toBe(large);
  });

  it('is stored once for all receivers, and stays for those that are not put back', async () => {
    for (const id of ['w1', 'w2', 'w3']) await fleet.register(id, { labels: { tier: 'x' } });
    await expire({ case: 'selector', value: 'tier=x' }, [text(large)]);
    const [old] = keys(BLOB_PREFIX);
    const [first = '', second = ''] = idsOf('dead/');
    await redrive({ deliveryIds: [first, second] });
    expect(keys(BLOB_PREFIX)).toHaveLength(2);
    expect(keys(BLOB_PREFIX)).toContain(old);
    const used = [...fleet.mailboxes.all('default')].map(({ record }) => record.payloadKey);
    expect(used).toHaveLength(2);
    expect(new Set([...used, old]).size).toBe(2);
  });

  it('may be gone: then it stays a dead letter, and others are put back', async () => {
    await fleet.register('w1');
    await expire(toAgent('w1'), [text(large)]);
    await fleet.store.commit({ namespace: 'default', deletes: keys(BLOB_PREFIX) });
    await expect(redrive()).rejects.toThrow('the payload of dead letter');
    await expire(toAgent('w1'), [text('small')]);
    expect(await redrive()).toMatchObject({ redriven: 1, left: 1 });
    expect(textsIn('w1')).toEqual(['small']);
  });
});

describe('dead letters that are put back', () => {
  it('are found by their ids alone among any number', async () => {
    await fleet.register('w1');
    const puts = Array.from({ length: 2500 }, (_, index) => {
      const id = `d${String(index).padStart(4, '0')}`;
      return putDeadLetter(create(DeliveryRecordSchema, { id, agentId: 'gone' }), 'expired', '', 0);
    });
    await fleet.store.commit({ namespace: 'default', puts });
    expect(await redrive({ deliveryIds: ['d2400', 'd0001'], toAgentId: 'w1' })).toMatchObject({
      redriven: 2,
    });
    await expect(redrive({ deliveryIds: ['d2400'], toAgentId: 'w1' })).rejects.toThrow(
      'no dead letter d2400',
    );
    expect(await redrive({ toAgentId: 'w1' })).toMatchObject({ redriven: 256, left: 2498 - 256 });
  });

  it('come in the order in which they were sent, named or not', async () => {
    await fleet.register('w1');
    const order = Array.from({ length: 12 }, (_, index) => `${index}`);
    await expire(toAgent('w1'), order.map(text));
    await redrive();
    expect(textsIn('w1')).toEqual(order);
    await fleet.store.commit({ namespace: 'default', deletes: keys('mail/') });
    await turns();
    await expire(toAgent('w1'), order.map(text));
    await redrive({ agentId: 'w1', deliveryIds: idsOf('dead/') });
    expect(textsIn('w1')).toEqual(order);
  });

  it('come in that order also when they were given up in another one', async () => {
    const w1 = await attach(fleet, protocolOptions(), await fleet.register('w1'));
    const order = Array.from({ length: 8 }, (_, index) => `${index}`);
    for (const value of order) await send(fleet, toAgent('w1'), { ...text(value), source: `s${value}` });
    for (const delivery of w1.deliveries().reverse())
      expect(await w1.say(delivery, DeliveryUpdate_State.DECLINED)).toBe('');
    expect(keys('dead/')).toHaveLength(8);
    await fleet.register('w2');
    await redrive({ toAgentId: 'w2' });
    expect(textsIn('w2')).toEqual(order);
  });

  it('give back what they took from a throttle when one of them cannot be put back', async () => {
    await fleet.register('b1');
    await fleet.register('b2');
    await expire(toAgent('b1'), [text('1')]);
    await expire(toAgent('b2'), [text('2')]);
    await fleet.agents.deregister(create(DeregisterAgentRequestSchema, { agentId: 'b2' }), ANN);
    const throttle = { case: 'throttle' as const, value: { maxPerSecond: 0.01 } };
    await setPolicy(fleet, { id: 'calm', to: 'agent:b1', action: throttle });
    await expect(redrive()).rejects.toThrow('no agent b2');
    expect(await redrive({ agentId: 'b1' })).toMatchObject({ redriven: 1 });
  });
});
