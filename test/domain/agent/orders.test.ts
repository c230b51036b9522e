import { create } from '@bufbuild/protobuf';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  Drain_State,
  Relationship_Type,
  Restart_State,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DrainAgentRequestSchema,
  QuarantineAgentRequestSchema,
  RestartAgentRequestSchema,
  ResumeAgentRequestSchema,
  StopAgentRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  DeliveryUpdate_State,
  GoAway_Reason,
} from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { agentOf } from '../../../src/domain/agent/record.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';
import { attach, mail, type TestAgent } from '../coordination/delivery-fixture.ts';
import { fleet, goAways, protocolOptions, token, useFleet } from './conversation-fixture.ts';
import { turns } from './fleet-fixture.ts';

const { ACCEPTED, DECLINED, SUCCEEDED, FAILED } = DeliveryUpdate_State;
const CALLER = { principal: 'ann', token: undefined };

useFleet();

let agent: TestAgent;
beforeEach(async () => {
  agent = await attach(fleet, protocolOptions(), token, { instanceId: 'p1' });
});

const stored = (id = 'a1') => {
  const record = fleet.record(id);
  if (record === undefined) throw new Error('no such agent');
  return agentOf(record);
};
const command = (of = agent) => {
  const delivery = of.deliveries().at(-1);
  if (delivery?.item.case !== 'command') throw new Error('no command came');
  return { delivery, type: delivery.item.value.type };
};
const drain = async (more: object = {}) => {
  const request = create(DrainAgentRequestSchema, { agentId: 'a1', reason: 'update', ...more });
  const response = await fleet.orders.drain(request, CALLER);
  await turns();
  return response;
};
const resume = async () => {
  const response = await fleet.orders.resume(create(ResumeAgentRequestSchema, { agentId: 'a1' }), CALLER);
  await turns();
  return response;
};
/** What the holder of the lease of care does every second. */
const upkeep = async () => {
  const fence = { key: 'lease/care', revision: 0n };
  for (const chore of fleet.chores)
    await chore.run({ namespace: 'default', fence, storeMs: await fleet.store.now() });
  await turns();
};

describe('DrainAgent', () => {
  it('has the agent drained when it says that its work has stopped, and not before', async () => {
    const { agent: answer, deliveryId } = await drain();
    expect(answer).toMatchObject({
      phase: Agent_Phase.DRAINING,
      drain: { state: Drain_State.RUNNING, actor: 'ann' },
    });
    const { delivery, type } = command();
    expect(type).toBe('drain');
    expect(delivery.work?.deliveryId).toBe(deliveryId);
    await agent.say(delivery, ACCEPTED, { running: ['job-1', 'job-2'] });
    expect(stored()).toMatchObject({ phase: Agent_Phase.DRAINING, drain: { running: ['job-1', 'job-2'] } });
    await agent.say(delivery, ACCEPTED, { running: ['job-2'] });
    expect(stored().drain?.running).toEqual(['job-2']);
    await agent.say(delivery, SUCCEEDED);
    expect(stored()).toMatchObject({
      phase: Agent_Phase.DRAINED,
      drain: { state: Drain_State.STOPPED, running: [] },
    });
    expect(fleet.types('a1')).toEqual([
      'agent.connected',
      'agent.draining',
      'command.succeeded',
      'agent.drained',
    ]);
  });

  it('tells apart that the deadline passed first', async () => {
    await drain({ deadline: durationFromMs(5000) });
    await agent.say(command().delivery, ACCEPTED, { running: ['job-1'] });
    await fleet.pass(4900);
    await upkeep();
    expect(stored().phase).toBe(Agent_Phase.DRAINING);
    await fleet.pass(200);
    await upkeep();
    expect(stored()).toMatchObject({
      phase: Agent_Phase.DRAINED,
      drain: { state: Drain_State.DEADLINE_PASSED, running: ['job-1'] },
    });
    // Too late to have been in time, but told all the same.
    expect(await agent.say(command().delivery, SUCCEEDED)).toBe('');
    expect(stored().drain?.state).toBe(Drain_State.DEADLINE_PASSED);
  });

  it.each([
    [false, Agent_Phase.ACTIVE, Drain_State.DECLINED],
    [true, Agent_Phase.DRAINING, Drain_State.RUNNING],
  ])('may be refused by the agent unless mandatory (%s)', async (mandatory, phase, state) => {
    await drain({ mandatory });
    await agent.say(command().delivery, DECLINED, { error: 'the only one' });
    expect(stored()).toMatchObject({ phase, drain: { state, error: 'the only one' } });
  });

  it('of an agent that left is done at once', async () => {
    agent.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    const { agent: answer, deliveryId } = await drain();
    expect(answer).toMatchObject({ phase: Agent_Phase.DRAINED, drain: { state: Drain_State.NOTHING_RAN } });
    expect(deliveryId).toBe('');
  });

  it('is over when the agent says goodbye', async () => {
    await drain();
    agent.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    expect(stored()).toMatchObject({
      phase: Agent_Phase.DRAINED,
      liveness: Agent_Liveness.LEFT,
      drain: { state: Drain_State.STOPPED },
    });
  });

  it.each(['drain', 'stop'])('answered with a goodbye alone leaves no %s order behind', async (order) => {
    await mail(fleet, 'a1', 'm1', { orderingKey: '' });
    if (order === 'drain') await drain();
    else await fleet.orders.stop(create(StopAgentRequestSchema, { agentId: 'a1' }), CALLER);
    await turns();
    expect(command().type).toBe(order);
    agent.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    expect(fleet.mailboxes.of('default', 'a1').map(({ id }) => id)).toEqual(['m1']);
    await fleet.pass(600_000);
    await upkeep();
    expect(fleet.types('a1').filter((type) => type.startsWith('command.'))).toEqual([]);
  });

  it('counts as carried out when the agent says so in the same breath as goodbye', async () => {
    await drain();
    const { work } = command().delivery;
    fleet.store.faults.before = ({ puts }) =>
      puts?.some(({ key }) => key.startsWith('mail/')) ? turns() : Promise.resolve();
    for (const state of [ACCEPTED, SUCCEEDED])
      agent.send({
        frameId: `f${state}`,
        frame: { case: 'deliveryUpdate', value: { work: work ?? {}, state } },
      });
    agent.send({ frame: { case: 'leave', value: {} } });
    await turns();
    await fleet.settle();
    expect(fleet.types('a1')).toContain('command.succeeded');
    expect(stored()).toMatchObject({ phase: Agent_Phase.DRAINED, liveness: Agent_Liveness.LEFT });
  });

  it('reaches the next process when the agent comes back', async () => {
    agent.breakOff();
    await turns();
    await drain();
    const next = await attach(fleet, protocolOptions(), token);
    expect(command(next).type).toBe('drain');
    expect(stored().phase).toBe(Agent_Phase.DRAINING);
  });

  it('reaches an agent whose window is full', async () => {
    const next = await attach(fleet, protocolOptions(), token, { maxInFlight: 1 });
    await mail(fleet, 'a1', 'm1', { orderingKey: '' });
    await drain();
    expect(command(next).type).toBe('drain');
  });

  it('that the store lost are the same deliveries when they are asked for again', async () => {
    const order = (requestId: string) =>
      fleet.orders.restart(create(RestartAgentRequestSchema, { agentId: 'a1', requestId }), CALLER);
    const lost = await order('r1');
    fleet.store.data.namespaces.get('default')?.requests.clear();
    expect((await order('r1')).deliveryId).toBe(lost.deliveryId);
    expect((await order('r2')).deliveryId).not.toBe(lost.deliveryId);
  });

  it('repeated with its request id is the first one', async () => {
    const first = await drain({ requestId: 'r1' });
    const second = await drain({ requestId: 'r1' });
    expect(second.deliveryId).toBe(first.deliveryId);
    expect(agent.deliveries()).toHaveLength(1);
  });

  it('again is a new one in the place of the first', async () => {
    const first = await drain();
    await agent.say(command().delivery, ACCEPTED);
    const second = await drain({ deadline: durationFromMs(1000) });
    expect(second.deliveryId).not.toBe(first.deliveryId);
    expect(agent.frames().some(({ case: kind }) => kind === 'revoke')).toBe(true);
    expect(await agent.say(command().delivery, SUCCEEDED)).toBe('');
    expect(stored().phase).toBe(Agent_Phase.DRAINED);
  });

  const fill = async (from: number, to: number) => {
    const puts = Array.from({ length: to - from }, (_, index) => ({
      key: `mail/a1/m${from + index}`,
      value: new Uint8Array(),
    }));
    await fleet.store.commit({ namespace: 'default', puts });
    await turns();
  };

  it('has room in a full mailbox, as other orders to the agent have, again and again, and others have none', async () => {
    agent.breakOff();
    await turns();
    await fill(0, 1000);
    for (let time = 0; time < 20; time += 1) {
      await drain();
      await resume();
    }
    expect(fleet.mailboxes.count('default', 'a1')).toBe(1001);
    await expect(
      fleet.orders.restart(create(RestartAgentRequestSchema, { agentId: 'a1' }), CALLER),
    ).rejects.toThrow('1000');
  });

  it('is refused when the mailbox is fuller than full, unless it takes the place of another', async () => {
    agent.breakOff();
    await turns();
    await fill(0, 1000);
    await drain();
    await fill(1000, 1015);
    await drain();
    await fill(1015, 1016);
    const before = stored().drain;
    await expect(drain()).rejects.toThrow('1000');
    expect(stored().drain).toEqual(before);
  });
});

describe('ResumeAgent', () => {
  it('takes back a drain that is under way', async () => {
    await drain();
    const { delivery } = command();
    await agent.say(delivery, ACCEPTED);
    await resume();
    expect(stored()).toMatchObject({ phase: Agent_Phase.ACTIVE, drain: { state: Drain_State.CANCELLED } });
    expect(agent.frames().find(({ case: kind }) => kind === 'revoke')?.value).toMatchObject({
      work: delivery.work,
    });
    expect(command().type).toBe('resume');
    expect(await agent.say(delivery, SUCCEEDED)).toBe('DELIVERY_UNKNOWN');
  });

  it('is refused when there is nothing to take back', async () => {
    await expect(resume()).rejects.toMatchObject({ message: expect.stringContaining('active') });
  });

  it('lets a stopped agent attach again', async () => {
    await fleet.orders.stop(
      create(StopAgentRequestSchema, { agentId: 'a1', deadline: durationFromMs(0) }),
      CALLER,
    );
    await turns();
    expect(stored().phase).toBe(Agent_Phase.STOPPED);
    await expect(fleet.attach('a1', token)).rejects.toThrow('stopped');
    await resume();
    await fleet.attach('a1', token);
    expect(stored().phase).toBe(Agent_Phase.ACTIVE);
  });
});

describe('StopAgent', () => {
  const stop = async (deadlineMs: number) => {
    const request = create(StopAgentRequestSchema, { agentId: 'a1', deadline: durationFromMs(deadlineMs) });
    const response = await fleet.orders.stop(request, CALLER);
    await turns();
    return response;
  };

  it('lets the agent finish and leave, and ends its session after the deadline', async () => {
    await stop(5000);
    expect(command().type).toBe('stop');
    expect(agent.channel.end_).toBeUndefined();
    await fleet.pass(5100);
    await upkeep();
    await fleet.settle();
    expect(goAways(agent.channel)).toEqual([GoAway_Reason.REVOKED]);
    expect(stored()).toMatchObject({ phase: Agent_Phase.STOPPED, liveness: Agent_Liveness.LEFT });
  });

  it('holds although the agent registers again', async () => {
    await stop(0);
    await fleet.settle();
    const again = await fleet.register('a1');
    await expect(fleet.attach('a1', again)).rejects.toThrow('stopped');
  });
});

describe('RestartAgent', () => {
  const restart = async (agentId = 'a1') => {
    const response = await fleet.orders.restart(create(RestartAgentRequestSchema, { agentId }), CALLER);
    await turns();
    return response;
  };

  it.each([
    [SUCCEEDED, Restart_State.DONE, 'agent.restarted'],
    [FAILED, Restart_State.FAILED, 'agent.restart_failed'],
    [DECLINED, Restart_State.FAILED, 'agent.restart_failed'],
  ])('tells an agent without a supervisor itself, and keeps its answer %s', async (state, expected, type) => {
    const { agent: answer } = await restart();
    expect(answer?.restart).toMatchObject({
      byAgentId: 'a1',
      state: Restart_State.ORDERED,
      oldInstanceId: 'p1',
    });
    await agent.say(command().delivery, state);
    expect(stored().restart?.state).toBe(expected);
    expect(fleet.types('a1')).toContain(type);
  });

  it('is not handed to the process that it has brought about', async () => {
    await restart();
    await agent.say(command().delivery, ACCEPTED);
    agent.breakOff();
    await turns();
    const next = await attach(fleet, protocolOptions(), token, { instanceId: 'p2' });
    expect(stored().restart?.state).toBe(Restart_State.DONE);
    expect(next.deliveries()).toEqual([]);
    expect(fleet.mailboxes.total()).toBe(0);
  });

  it('tells the supervisor of an agent, also when that is lost itself', async () => {
    await fleet.register('w1', { relationships: [{ type: Relationship_Type.SUPERVISED_BY, agentId: 'a1' }] });
    const { agent: answer } = await restart('w1');
    expect(answer?.restart).toMatchObject({ byAgentId: 'a1' });
    const { delivery } = command();
    expect(delivery.item.value).toMatchObject({ type: 'restart' });
    await agent.say(delivery, SUCCEEDED);
    expect(stored('w1').restart?.state).toBe(Restart_State.DONE);
  });

  it('is refused when nobody is there to do it', async () => {
    await fleet.register('w1');
    await expect(restart('w1')).rejects.toThrow('nobody');
  });
});

describe('QuarantineAgent', () => {
  it('sets an attached agent aside and tells it', async () => {
    const request = create(QuarantineAgentRequestSchema, {
      agentId: 'a1',
      reason: 'odd',
      duration: durationFromMs(60_000),
    });
    await fleet.orders.quarantine(request, CALLER);
    await turns();
    expect(stored()).toMatchObject({
      phase: Agent_Phase.QUARANTINED,
      quarantine: { reason: 'odd', actor: 'ann' },
    });
    expect(command().type).toBe('quarantine');
    expect(fleet.liveness('a1')).toBe(Agent_Liveness.CONNECTED);
    await resume();
    expect(stored().phase).toBe(Agent_Phase.ACTIVE);
    expect(stored().quarantine).toBeUndefined();
  });
});

describe('DeregisterAgent', () => {
  it('takes the mailbox along', async () => {
    agent.breakOff();
    await turns();
    await drain();
    expect(fleet.mailboxes.total()).toBe(1);
    await fleet.agents.deregister(
      { namespace: '', agentId: 'a1', requestId: '', reason: '' } as never,
      CALLER,
    );
    await turns();
    expect(fleet.mailboxes.total()).toBe(0);
  });
});
