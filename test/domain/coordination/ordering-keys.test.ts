import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeliveryUpdate_State,
  SendMessageSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { CallAgentRequestSchema } from '../../../gen/mycosoft/orchestrator/coordination/v1/message_service_pb.ts';
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
