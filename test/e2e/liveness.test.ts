import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason } from '../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { AgentWatch } from '../support/agent-watch.ts';
import { Stack, storeKinds } from '../support/stack.ts';
import { until } from '../support/until.ts';

const { NEVER_SEEN, CONNECTED, SUSPECT, DISCONNECTED, LOST, LEFT } = Agent_Liveness;

describe.each(storeKinds)('the liveness of an agent on %s', (kind) => {
  let stack: Stack;
  let watch: AgentWatch;

  beforeAll(async () => {
    stack = await Stack.start(kind);
    watch = await AgentWatch.open(stack.clients);
  });
  afterAll(async () => {
    await watch?.close();
    await stack?.dispose();
  });

  it('goes from NEVER_SEEN over SUSPECT to LOST when the agent falls silent, and back when it attaches', async () => {
    const agent = stack.agent({ id: 'silent' });
    await agent.register();
    await watch.untilLiveness('silent', NEVER_SEEN);
    const session = agent.attach();
    const welcome = await session.welcome;
    await watch.untilLiveness('silent', CONNECTED);
    await until(
      () => session.pings.length,
      (count) => count >= 3,
      { what: 'some pings' },
    );

    session.manner.answering = false;
    const suspect = await watch.untilLiveness('silent', SUSPECT);
    expect(suspect.verdict).toMatchObject({ rule: 'phi', epoch: welcome.epoch });
    expect(suspect.verdict?.unansweredProbes).toBeGreaterThanOrEqual(2);
    expect(suspect.verdict?.phi).toBeGreaterThanOrEqual(5);
    const lost = await watch.untilLiveness('silent', LOST);
    expect(lost.verdict).toMatchObject({ rule: 'lease', epoch: welcome.epoch });
    expect((await session.ended).code).not.toBe(status.OK);
    expect(session.goAway?.reason).toBe(GoAway_Reason.LOST);

    const again = await agent.attach().welcome;
    expect(again.epoch).toBeGreaterThan(welcome.epoch);
    await watch.untilLiveness('silent', CONNECTED);
    expect(watch.livenessOf('silent')).toEqual(['NEVER_SEEN', 'CONNECTED', 'SUSPECT', 'LOST', 'CONNECTED']);
  });

  it('returns from SUSPECT to CONNECTED when the agent answers in time', async () => {
    const agent = stack.agent({ id: 'hesitant' });
    const session = await agent.join();
    await watch.untilLiveness('hesitant', CONNECTED);
    await until(
      () => session.pings.length,
      (count) => count >= 5,
      { what: 'some pings' },
    );
    session.manner.answering = false;
    await watch.untilLiveness('hesitant', SUSPECT);
    session.manner.answering = true;
    const answered = await watch.untilLiveness('hesitant', CONNECTED);
    expect(answered.verdict?.rule).toBe('answered');
    expect(watch.livenessOf('hesitant').slice(-3)).toEqual(['CONNECTED', 'SUSPECT', 'CONNECTED']);
  });

  it('is DISCONNECTED at once when the stream breaks, and CONNECTED when the agent is back within its grace', async () => {
    const agent = stack.agent({ id: 'broken' });
    const session = await agent.join();
    await watch.untilLiveness('broken', CONNECTED);
    session.break();
    const away = await watch.untilLiveness('broken', DISCONNECTED, 2000);
    expect(away.verdict?.rule).toBe('stream_closed');
    await agent.attach().welcome;
    await watch.untilLiveness('broken', CONNECTED);
    expect(watch.livenessOf('broken').slice(-3)).toEqual(['CONNECTED', 'DISCONNECTED', 'CONNECTED']);
  });

  it('is DISCONNECTED, not LEFT, after a half-close without leave, and LOST after the grace', async () => {
    const agent = stack.agent({ id: 'mute' });
    const session = await agent.join();
    session.halfClose();
    await session.ended;
    await watch.untilLiveness('mute', DISCONNECTED);
    const lost = await watch.untilLiveness('mute', LOST);
    expect(lost.verdict?.rule).toBe('reconnect_grace');
    expect(watch.livenessOf('mute')).not.toContain('LEFT');
  });

  it('is LEFT after a goodbye, and stays so past lease and grace', async () => {
    const agent = stack.agent({ id: 'polite' });
    const session = await agent.join();
    const end = await session.leave();
    expect(end.code).toBe(status.OK);
    await watch.untilLiveness('polite', LEFT);
    const other = stack.agent({ id: 'marker' });
    const marker = await other.join();
    marker.manner.answering = false;
    await watch.untilLiveness('marker', LOST); // a whole lease has passed
    expect(watch.latest('polite')?.liveness).toBe(LEFT);
  });

  it('writes each verdict as an event of the same agent', async () => {
    const { events } = await stack.clients.monitoring.listEvents({
      filter: { agentIds: ['silent'], types: ['agent.*'] },
    });
    const types = events.map(({ type }) => type).reverse();
    const judged = types.filter((type) => !['agent.updated', 'agent.loss_handled'].includes(type));
    expect(judged).toEqual([
      'agent.registered',
      'agent.connected',
      'agent.suspect',
      'agent.lost',
      'agent.recovered',
    ]);
  });

  it('is restored after a restart: who stays away is LOST after the recovery grace, who comes back never was', async () => {
    const away = stack.agent({ id: 'away' });
    const back = stack.agent({ id: 'back' });
    await away.join();
    await back.join();
    await watch.untilLiveness('back', CONNECTED);
    away.session?.break();
    await watch.close();
    await stack.restart();
    watch = await AgentWatch.open(stack.clients);
    await back.attach().welcome;
    await watch.untilLiveness('back', CONNECTED);
    await watch.untilLiveness('away', LOST);
    expect(watch.livenessOf('back')).not.toContain('LOST');
  });
});
