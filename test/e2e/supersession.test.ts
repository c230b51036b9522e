import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { bearer, failureOf } from '../support/clients.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { until } from '../support/until.ts';

describe.each(storeKinds)('sessions of one agent on %s', (kind) => {
  let stack: Stack;

  beforeAll(async () => {
    stack = await Stack.start(kind);
  });
  afterAll(async () => {
    await stack?.dispose();
  });

  const eventsOf = async (agentId: string, type: string) =>
    (await stack.clients.monitoring.listEvents({ filter: { agentIds: [agentId], types: [type] } })).events;

  it('supersede each other: the older one gets goaway without a time to come back', async () => {
    const agent = stack.agent({ id: 'again' });
    const first = await agent.join({ instanceId: 'process-1' });
    const { epoch } = await first.welcome;
    const second = agent.attach({ instanceId: 'process-1' });
    expect((await second.welcome).epoch).toBeGreaterThan(epoch);
    expect((await first.ended).code).toBe(status.ABORTED);
    expect(first.goAway?.reason).toBe(GoAway_Reason.SUPERSEDED);
    expect(first.goAway?.reconnectAfter).toBeUndefined();
    expect(await eventsOf('again', 'agent.twin')).toEqual([]);
    const { agent: now } = await stack.clients.agents.getAgent({ agentId: 'again' });
    expect(now?.observation?.sessionEpoch).toBe((await second.welcome).epoch);
  });

  it('of two processes are told apart by instance_id, as an event with both addresses', async () => {
    const agent = stack.agent({ id: 'twin' });
    const first = await agent.join({ instanceId: 'process-1' });
    const firstPeer = (await stack.clients.agents.getAgent({ agentId: 'twin' })).agent?.observation?.peer;
    const other = stack.agent({ id: 'twin' });
    other.token = agent.token;
    await other.attach({ instanceId: 'process-2' }).welcome;
    await first.ended;
    const [event] = await until(
      () => eventsOf('twin', 'agent.twin'),
      (events) => events.length > 0,
    );
    const secondPeer = (await stack.clients.agents.getAgent({ agentId: 'twin' })).agent?.observation?.peer;
    const said = JSON.stringify([event?.message, event?.attributes]);
    expect(said).toContain(firstPeer);
    expect(said).toContain(secondPeer);
    expect(firstPeer).not.toBe(secondPeer);
  });

  it('survive a race of twenty: exactly one is left, and it has the highest epoch', async () => {
    const agent = stack.agent({ id: 'race' });
    await agent.register();
    const contenders = Array.from({ length: 20 }, (_, i) => {
      const contender = stack.agent({ id: 'race' });
      contender.token = agent.token;
      return contender.attach({ instanceId: `process-${i}` });
    });
    const outcomes = await Promise.allSettled(contenders.map(({ welcome }) => welcome));
    const epochs = outcomes.flatMap((outcome) =>
      outcome.status === 'fulfilled' ? [outcome.value.epoch] : [],
    );
    expect(new Set(epochs).size).toBe(epochs.length);
    const highest = epochs.toSorted((a, b) => Number(a - b)).at(-1);
    const losers = contenders.filter((_, i) => {
      const outcome = outcomes[i];
      return outcome?.status === 'rejected' || outcome?.value.epoch !== highest;
    });
    expect(losers).toHaveLength(contenders.length - 1);
    for (const loser of losers) expect((await loser.ended).code).toBe(status.ABORTED);
    const { agent: now } = await stack.clients.agents.getAgent({ agentId: 'race' });
    expect(now?.observation?.sessionEpoch).toBe(highest);
  });

  it.each([
    ['no token', async () => undefined],
    ['a token of another agent', async (other: string) => other],
    ['garbage', async () => 'not-a-token'],
    ['an endless token', async () => 'x'.repeat(6000)],
  ])('are refused with %s, and the real one lives on', async (name, tokenFrom) => {
    const id = `guarded-${name.replaceAll(' ', '-')}`;
    const real = stack.agent({ id });
    const session = await real.join();
    const stranger = stack.agent({ id: `${id}-stranger` });
    await stranger.register();
    const intruder = stack.agent({ id });
    intruder.token = await tokenFrom(stranger.token ?? '');
    const attempt = intruder.attach();
    if (name === 'a token of another agent') {
      // A token names its agent: the stranger attaches as itself, never as the guarded one.
      await attempt.welcome;
    } else {
      expect((await attempt.ended).code).toBe(status.UNAUTHENTICATED);
    }
    const { agent } = await stack.clients.agents.getAgent({ agentId: id });
    expect(agent?.observation?.sessionEpoch).toBe((await session.welcome).epoch);
    const pings = session.pings.length;
    await until(
      () => session.pings.length,
      (count) => count > pings,
      { what: 'another ping' },
    );
  });

  it('guard the id: registering a live agent again needs its token or takeover', async () => {
    const agent = stack.agent({ id: 'mine' });
    const session = await agent.join();
    const { agents } = stack.clients;
    expect(await failureOf(agents.registerAgent({ agentId: 'mine' }))).toMatchObject({
      code: 'AlreadyExists',
      reason: 'AGENT_LIVE',
    });
    const stranger = stack.agent({ id: 'not-mine' });
    await stranger.register();
    expect(
      await failureOf(agents.registerAgent({ agentId: 'mine' }, bearer(stranger.token ?? ''))),
    ).toMatchObject({ code: 'Unauthenticated', reason: 'TOKEN_INVALID' });
    const own = await agents.registerAgent({ agentId: 'mine' }, bearer(agent.token ?? ''));
    expect(own.agentToken).toBe(agent.token);
    expect(session.goAway).toBeUndefined();

    const taken = await agents.registerAgent({ agentId: 'mine', takeover: true });
    expect(taken.agentToken).not.toBe(agent.token);
    await session.ended;
    expect(session.goAway).toMatchObject({ reason: GoAway_Reason.SUPERSEDED });
    expect((await agent.attach().ended).code).toBe(status.UNAUTHENTICATED);
  });

  it('end with REVOKED when the agent is deregistered, and its token is void', async () => {
    const agent = stack.agent({ id: 'gone' });
    const session = await agent.join();
    await stack.clients.agents.deregisterAgent({ agentId: 'gone', reason: 'test' });
    await session.ended;
    expect(session.goAway).toMatchObject({ reason: GoAway_Reason.REVOKED });
    expect((await agent.attach().ended).code).toBe(status.NOT_FOUND);
    expect(await failureOf(stack.clients.agents.getAgent({ agentId: 'gone' }))).toMatchObject({
      code: 'NotFound',
      reason: 'AGENT_NOT_FOUND',
    });
  });
});
