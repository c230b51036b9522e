import { Redis } from 'ioredis';
import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { AgentWatch } from '../support/agent-watch.ts';
import { failureOf } from '../support/clients.ts';
import { Stack } from '../support/stack.ts';
import { pause, until } from '../support/until.ts';

/** Longer than the lease of the stack, which is 3 s. */
const pastLeaseMs = 4500;

describe('an orchestrator in trouble itself', () => {
  let stack: Stack;
  let watch: AgentWatch;
  afterEach(async () => {
    await watch?.close();
    await stack?.dispose();
  });

  it('takes nobody for dead because it stood still for longer than a lease', async () => {
    stack = await Stack.start('lmdb');
    watch = await AgentWatch.open(stack.clients);
    const agents = Array.from({ length: 50 }, (_, i) => stack.agent({ id: `steady-${i}` }));
    const sessions = await Promise.all(agents.map((agent) => agent.join()));
    await until(() => sessions.every(({ pings }) => pings.length >= 3), Boolean);
    stack.service.signal('SIGSTOP');
    await pause(pastLeaseMs);
    stack.service.signal('SIGCONT');
    const pings = sessions.map((session) => session.pings.length);
    await until(() => sessions.every((session, i) => session.pings.length >= (pings[i] ?? 0) + 5), Boolean, {
      what: 'pings after the stall',
    });
    for (const { id } of agents) expect(watch.livenessOf(id)).toEqual(['NEVER_SEEN', 'CONNECTED']);
    expect(sessions.filter(({ goAway }) => goAway !== undefined)).toEqual([]);
    const { agent } = await stack.clients.agents.getAgent({ agentId: 'steady-0' });
    expect(agent?.observation?.roundTrip?.p99).toMatchObject({ seconds: 0n }); // the stall is in no round trip
  });

  it('keeps sessions and readiness through an outage of Redis, and judges afterwards who really went', async () => {
    stack = await Stack.start('redis', { redis: { appendfsync: 'always' } });
    watch = await AgentWatch.open(stack.clients);
    const agents = Array.from({ length: 20 }, (_, i) => stack.agent({ id: `kept-${i}` }));
    const sessions = await Promise.all(agents.map((agent) => agent.join()));
    const dying = stack.agent({ id: 'dying' });
    await dying.join();
    await watch.untilLiveness('dying', Agent_Liveness.CONNECTED);

    await stack.redis?.kill('SIGKILL');
    const write = stack.clients.agents.registerAgent({ agentId: 'too-early' }, { timeoutMs: 8000 });
    expect(await failureOf(write)).toMatchObject({ code: 'Unavailable' });
    dying.session?.break();
    await pause(pastLeaseMs);
    const pings = sessions.map((session) => session.pings.length);
    await until(() => sessions.every((session, i) => session.pings.length > (pings[i] ?? 0)), Boolean);
    expect((await fetch(`http://${stack.service.http}/readyz`)).status).toBe(200);
    const { status } = await stack.clients.monitoring.getSystemStatus({});
    expect(status?.store?.available).toBe(false);
    expect(status?.reasons.join()).toMatch(/store/i);
    expect((await stack.clients.agents.getAgent({ agentId: 'kept-0' })).agent?.liveness).toBe(
      Agent_Liveness.CONNECTED,
    );

    await stack.redis?.restart();
    await until(
      async () => (await stack.clients.monitoring.getSystemStatus({})).status?.store?.available,
      (available) => available === true,
      { what: 'the store to be back', timeoutMs: 20_000 },
    );
    await until(
      async () => (await stack.clients.agents.getAgent({ agentId: 'dying' })).agent?.liveness,
      (liveness) => liveness === Agent_Liveness.LOST,
      { what: 'the one that went to be LOST', timeoutMs: 20_000 },
    );
    await stack.clients.agents.registerAgent({ agentId: 'too-early' });
    for (const { id, session } of agents) {
      const { agent } = await stack.clients.agents.getAgent({ agentId: id });
      expect(agent?.liveness).toBe(Agent_Liveness.CONNECTED);
      expect(session?.goAway).toBeUndefined();
    }
    const filter = { types: ['agent.lost'] };
    const lost = await until(
      async () =>
        (await stack.clients.monitoring.listEvents({ filter })).events.map(({ agentId }) => agentId),
      (ids) => ids.length > 0,
      { what: 'the event of the loss' },
    );
    expect(lost).toEqual(['dying']);
  }, 60_000);

  it('tells a Redis that comes back empty of every agent that is attached, and keeps their sessions', async () => {
    stack = await Stack.start('redis');
    const agents = Array.from({ length: 20 }, (_, i) => stack.agent({ id: `kept-${i}` }));
    const sessions = await Promise.all(agents.map((agent) => agent.join()));
    const storeEpoch = async () =>
      (await stack.clients.monitoring.getSystemStatus({})).status?.store?.epoch ?? 0n;
    const before = await storeEpoch();
    const redis = new Redis(stack.redis?.url ?? '');
    await redis.flushall();
    redis.disconnect();
    await until(storeEpoch, (epoch) => epoch > before, { what: 'another store epoch', timeoutMs: 20_000 });
    await until(
      async () => (await stack.clients.agents.listAgents({})).agents,
      (listed) =>
        listed.length === 20 && listed.every(({ liveness }) => liveness === Agent_Liveness.CONNECTED),
      { what: 'all agents to be listed again', timeoutMs: 20_000 },
    );
    const pings = sessions.map((session) => session.pings.length);
    await until(() => sessions.every((session, i) => session.pings.length > (pings[i] ?? 0)), Boolean);
    expect(sessions.filter(({ goAway }) => goAway !== undefined)).toEqual([]);
  });
});
