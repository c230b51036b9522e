import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeliveryUpdate_State,
  SendMessageSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { CallAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
import { orderingKeyOf } from '../../../src/domain/coordination/messages/message-record.ts';
import { fleet, protocolOptions, useFleet } from '../agent/conversation-fixture.ts';
import { turns } from '../agent/fleet-fixture.ts';
import { attach, type TestAgent } from './delivery-fixture.ts';

const ANN = { principal: 'ann', token: undefined };
const TO_SUM = { case: 'capability' as const, value: 'sum' };

useFleet();

const able = async (id: string): Promise<TestAgent> =>
  attach(fleet, protocolOptions(), await fleet.register(id, { capabilities: [{ name: 'sum' }] }));

let ids = 0;
const send = async (orderingKey: string, value = ''): Promise<string> => {
  ids += 1;
  const data = { data: { case: 'text' as const, value } };
  const message = { id: `m${ids}`, type: 'note', data };
  const { agentId } = await fleet.coordination.messages.send(
    'default',
    create(SendMessageSchema, { message, to: TO_SUM, orderingKey }),
    { caller: ANN, sessionEpoch: 0n },
  );
  await turns();
  return agentId;
};
const keys = Array.from({ length: 8 }, (_, index) => `k${index}`);
const livenessOf = (id: string) => fleet.directory.get('default', id)?.record.agent?.liveness;

async function lose(id: string): Promise<string> {
  const known = fleet.directory.get('default', id);
  const hook = fleet.coordination.hooks.find(({ name }) => name === 'upkeep of messages');
  if (known === undefined || hook === undefined) throw new Error('not wired');
  const { summary = '', ...effects } = await hook.effects({ namespace: 'default', known, storeMs: 0 });
  const { checks = [], puts = [], deletes = [] } = effects;
  await fleet.store.commit({ namespace: 'default', checks, puts, deletes });
  await turns();
  return summary;
}

/** Of what is in a mailbox: ordering key and text. */
const mailbox = (id: string) =>
  fleet.mailboxes.of('default', id).map(({ record }) => {
    if (record.item.case !== 'message') throw new Error('no message');
    return `${orderingKeyOf(record)}:${record.item.value.data?.data.value}`;
  });

describe('after a loss, messages of one ordering key', () => {
  it('go to one agent, in their order, and come one after the other', async () => {
    await able('w1');
    for (let index = 0; index < 10; index += 1) await send('k', `${index}`);
    const others = new Map<string, TestAgent>();
    for (const id of ['w2', 'w3', 'w4']) others.set(id, await able(id));
    expect(await lose('w1')).toContain('10 messages');
    const holders = [...others.keys()].filter((id) => mailbox(id).length > 0);
    expect(holders).toHaveLength(1);
    const [holder = ''] = holders;
    expect(mailbox(holder)).toEqual(Array.from({ length: 10 }, (_, index) => `k:${index}`));
    expect(others.get(holder)?.deliveries()).toHaveLength(1);
  });

  it('go to the agent that gets the later ones, and those without a key are spread', async () => {
    await able('w1');
    for (const key of keys) await send(key);
    for (let index = 0; index < 6; index += 1) await send('');
    const w1 = fleet.directory.get('default', 'w1');
    const others = ['w2', 'w3', 'w4'];
    for (const id of others) await able(id);
    await lose('w1');
    expect(w1).toBeDefined();
    for (const id of others) expect(mailbox(id).length).toBeGreaterThan(0);
    await fleet.store.commit({ namespace: 'default', deletes: ['agent/w1'] });
    await turns();
    for (const key of keys) {
      const holder = others.find((id) => mailbox(id).includes(`${key}:`));
      expect(await send(key)).toBe(holder);
    }
  });
});

describe('an ordering key stays', () => {
  it('with an agent that is disconnected for now; a call goes to one that is there', async () => {
    const agents = new Map<string, TestAgent>();
    for (const id of ['w1', 'w2', 'w3']) agents.set(id, await able(id));
    const first = await send('k');
    agents.get(first)?.breakOff();
    await turns();
    await fleet.settle();
    expect(livenessOf(first)).toBe(Agent_Liveness.DISCONNECTED);
    expect(await send('k')).toBe(first);
    const note = { id: 'c', type: 'note' };
    const called = fleet.coordination.calls.call(
      create(CallAgentRequestSchema, { send: { message: note, to: TO_SUM, orderingKey: 'k' } }),
      ANN,
      { signal: new AbortController().signal, timeLeftMs: undefined },
    );
    await turns();
    const callee = [...agents].find(([, agent]) => agent.deliveries().some((each) => each.wantsAnswer));
    const delivery = callee?.[1].deliveries().find((each) => each.wantsAnswer);
    if (delivery === undefined) throw new Error('nobody was called');
    await callee?.[1].say(delivery, DeliveryUpdate_State.SUCCEEDED);
    expect((await called).agentId).not.toBe(first);
  });

  it('with an agent that has unfinished messages of it when others come, and not after', async () => {
    const w1 = await able('w1');
    for (const key of keys) await send(key);
    for (const id of ['w2', 'w3', 'w4']) await able(id);
    for (const key of keys) expect(await send(key)).toBe('w1');
    for (let done = 0; done < 2 * keys.length; done += 1) {
      const delivery = w1.deliveries()[done];
      if (delivery === undefined) throw new Error('nothing came');
      expect(await w1.say(delivery, DeliveryUpdate_State.SUCCEEDED)).toBe('');
      await turns();
    }
    const now = new Set<string>();
    for (const key of keys) now.add(await send(key));
    expect(now.size).toBeGreaterThan(1);
  });

  it('with that agent also after the mailboxes were read anew', async () => {
    await able('w1');
    for (const key of keys) await send(key);
    fleet.store.promote();
    await turns();
    for (const id of ['w2', 'w3', 'w4']) await able(id);
    for (const key of keys) expect(await send(key)).toBe('w1');
  });
});
