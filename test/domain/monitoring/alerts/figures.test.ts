import { afterEach, describe, expect, it } from 'vitest';
import { Agent_Liveness, Agent_Phase } from '../../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { Alert_State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { FakeFigures, type Rig, type RigOptions, startRig } from './alerts-fixture.ts';

const SCOPES = { fleet: MetricScope.FLEET, zone: MetricScope.ZONE, agent: MetricScope.AGENT };
const quick = { name: 'system_load', forMs: 0, clearForMs: 0 };

describe('alerts of figures', () => {
  const rigs: Rig[] = [];
  const start = async (options: RigOptions = {}): Promise<Rig> => {
    const rig = await startRig(options);
    rigs.push(rig);
    await rig.putAgents(['a1']);
    await rig.settle();
    return rig;
  };
  afterEach(async () => {
    for (const rig of rigs) {
      await rig.stop();
      expect(rig.problems).toEqual([]);
    }
    rigs.length = 0;
  });

  it('without data stay as they are and say so, and never count the gap as clear', async () => {
    const rig = await start({ rules: [{ ...quick, clearForMs: 5_000 }] });
    rig.figures.set('system_load', 0.9);
    await rig.pass(200);
    rig.figures.set('system_load', 0.1);
    await rig.pass(4_000);
    rig.figures.set('system_load', undefined);
    await rig.pass(3_600_000 / 60);
    expect(rig.only('system_load')).toMatchObject({ state: Alert_State.FIRING, noData: true });
    // Also when nobody tells of it at all.
    rig.figures.remove('system_load');
    await rig.pass(10_000);
    expect(rig.only('system_load')).toMatchObject({ state: Alert_State.FIRING, noData: true });
    rig.figures.set('system_load', 0.1);
    await rig.pass(4_900);
    expect(rig.only('system_load')).toMatchObject({ state: Alert_State.FIRING, noData: false });
    await rig.pass(1_300);
    expect(rig.only('system_load').state).toBe(Alert_State.RESOLVED);
  });

  it('fire for want of data where the rule says so', async () => {
    const rig = await start({ rules: [{ ...quick, forMs: 2_000, noData: 'fire' }] });
    rig.figures.set('system_load', undefined);
    await rig.pass(1_000);
    expect(rig.only('system_load')).toMatchObject({ state: Alert_State.PENDING, noData: true });
    await rig.pass(2_200);
    const { threshold, state, summary } = rig.only('system_load');
    expect([threshold, state, summary]).toEqual([
      undefined,
      Alert_State.FIRING,
      'fleet: load is not measured any more',
    ]);
    rig.figures.set('system_load', 0.5);
    await rig.pass(300);
    expect(rig.only('system_load').state).toBe(Alert_State.RESOLVED);
  });

  it('that flap are held until they were clear for five minutes, and say so once', async () => {
    const rig = await start({ rules: [quick] });
    for (let times = 0; times < 4; times += 1) {
      rig.figures.set('system_load', 0.9);
      await rig.pass(1_000);
      rig.figures.set('system_load', 0.1);
      await rig.pass(1_000);
    }
    const alerts = rig.alerts({ rules: ['system_load'] });
    expect(alerts.map(({ state, fires, flapping }) => [state, fires, flapping])).toEqual([
      [Alert_State.FIRING, 4, true],
      [Alert_State.RESOLVED, 3, false],
      [Alert_State.RESOLVED, 2, false],
      [Alert_State.RESOLVED, 1, false],
    ]);
    expect(await rig.events('alert.flapping')).toHaveLength(1);
    for (let times = 0; times < 10; times += 1) {
      rig.figures.set('system_load', times % 2 === 0 ? 0.9 : 0.1);
      await rig.pass(1_000);
    }
    expect(rig.alerts({ rules: ['system_load'] })).toHaveLength(4);
    expect(await rig.events('alert.fired')).toHaveLength(4);
    await rig.pass(298_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toHaveLength(1);
    await rig.pass(4_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toEqual([]);
    // An hour later it may fire as if nothing had been.
    rig.clock.advance(3_600_000);
    rig.figures.set('system_load', 0.9);
    await rig.pass(300);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toMatchObject([{ fires: 1, flapping: false }]);
  });

  it('are one for each resource and each agent that matches', async () => {
    const rig = await start({
      rules: [
        { name: 'resource_usage', forMs: 0 },
        {
          name: 'slow_web',
          metric: 'communication_latency',
          scope: 'agent',
          selector: 'tier=web',
          above: 100,
        },
      ],
    });
    await rig.putAgents(['w1', 'w2'], { labels: { tier: 'web' } });
    rig.figures.set('resource_usage', 0.9, { resource: 'gpu' });
    rig.figures.set('resource_usage', 0.8, { resource: 'cpu_milli' });
    rig.figures.set('resource_usage', 0.2, { resource: 'memory' });
    for (const id of ['a1', 'w1', 'w2'])
      rig.figures.set('communication_latency', id === 'w2' ? 20 : 900, { id, scope: MetricScope.AGENT });
    await rig.pass(1_100);
    expect(
      rig
        .alerts()
        .map(({ summary }) => summary)
        .sort(),
    ).toEqual([
      'agent w1: communication latency 900 ms is above 100 ms',
      'fleet: usage of cpu_milli 0.8 is above 0.7',
      'fleet: usage of gpu 0.9 is above 0.7',
    ]);
    expect(rig.only('slow_web')).toMatchObject({ labels: { agent_id: 'w1' } });
  });

  it('end when what they are about is gone, and when their rule is', async () => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    const figures = new FakeFigures();
    const slow = { name: 'slow', metric: 'communication_latency', scope: 'agent' as const, above: 100 };
    const rig = await start({ store, clock, figures, rules: [slow, quick] });
    await rig.putAgents(['w1']);
    figures.set('communication_latency', 900, { id: 'w1', scope: MetricScope.AGENT });
    figures.set('system_load', 0.9);
    await rig.pass(1_100);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toHaveLength(2);
    await rig.removeAgent('w1');
    figures.remove('communication_latency', { id: 'w1', scope: MetricScope.AGENT });
    await rig.pass(1_100);
    expect(rig.only('slow')).toMatchObject({ state: Alert_State.RESOLVED, resolveReason: 'subject_removed' });
    await rig.stop();
    rigs.length = 0;
    const again = await start({ store, clock, figures, rules: [{ name: 'system_load', disabled: true }] });
    await again.pass(1_100);
    expect(again.only('system_load')).toMatchObject({
      state: Alert_State.RESOLVED,
      resolveReason: 'rule_removed',
    });
  });

  it.each([
    ['fleet' as const, '', { resource: 'gpu' }],
    ['zone' as const, 'eu-1', { zone: 'eu-1', resource: 'gpu' }],
    ['agent' as const, 'w1', { agent_id: 'w1', resource: 'gpu' }],
  ])('of a resource end when no agent has it any more (%s)', async (scope, id, labels) => {
    const rig = await start({
      rules: [{ name: 'gpus', metric: 'resource_usage', scope, above: 0.5, forMs: 0, clearForMs: 0 }],
    });
    const reading = { id, resource: 'gpu', scope: SCOPES[scope] };
    await rig.putAgents(['w1'], { zone: 'eu-1', capacity: { gpu: 4n } });
    rig.figures.set('resource_usage', 0.9, reading);
    await rig.pass(1_100);
    expect(rig.only('gpus')).toMatchObject({ state: Alert_State.FIRING, labels });
    // Who has it is only away: nothing is known.
    await rig.putAgents(['w1'], { zone: 'eu-1', capacity: { gpu: 4n }, liveness: Agent_Liveness.LOST });
    rig.figures.remove('resource_usage', reading);
    await rig.pass(2_000);
    expect(rig.only('gpus')).toMatchObject({ state: Alert_State.FIRING, noData: true });
    await rig.putAgents(['w1'], { zone: 'eu-1', capacity: { cpu_milli: 4n } });
    await rig.pass(2_000);
    expect(rig.only('gpus')).toMatchObject({ state: Alert_State.RESOLVED, resolveReason: 'subject_removed' });
  });

  it.each([
    ['left', { liveness: Agent_Liveness.LEFT }],
    ['was stopped', { phase: Agent_Phase.STOPPED }],
  ])('of an agent that %s end', async (_, given) => {
    const rig = await start({
      rules: [{ name: 'slow', metric: 'communication_latency', scope: 'agent', above: 100 }],
    });
    const reading = { id: 'a1', scope: MetricScope.AGENT };
    rig.figures.set('communication_latency', 900, reading);
    await rig.pass(1_100);
    expect(rig.only('slow').state).toBe(Alert_State.FIRING);
    rig.figures.remove('communication_latency', reading);
    await rig.putAgents(['a1'], given);
    await rig.pass(1_100);
    expect(rig.only('slow')).toMatchObject({ state: Alert_State.RESOLVED, resolveReason: 'subject_removed' });
  });

  it('of single agents are judged as soon as they cross, and fire when their time is over', async () => {
    const rig = await start({
      rules: [
        { name: 'slow', metric: 'communication_latency', scope: 'agent', above: 100, forMs: 0 },
        { name: 'slow_for_long', metric: 'communication_latency', scope: 'agent', above: 100, forMs: 1_350 },
      ],
    });
    await rig.pass(1_000);
    await rig.tick();
    rig.figures.set('communication_latency', 900, { id: 'a1', scope: MetricScope.AGENT });
    await rig.pass(100);
    expect(rig.alerts()).toEqual([]);
    rig.figures.crossed('a1');
    await rig.pass(100);
    expect(rig.only('slow').state).toBe(Alert_State.FIRING);
    await rig.pass(1_300);
    expect(rig.only('slow_for_long').state).toBe(Alert_State.PENDING);
    await rig.pass(200);
    expect(rig.only('slow_for_long').state).toBe(Alert_State.FIRING);
  });

  it('last neither longer nor shorter when somebody sets the clock', async () => {
    const rig = await start({ rules: [{ name: 'system_load', forMs: 10_000, clearForMs: 10_000 }] });
    rig.figures.set('system_load', 0.9);
    await rig.pass(5_000);
    rig.clock.setWall(rig.clock.wallMs() + 3_600_000);
    await rig.storeTimeExact();
    await rig.pass(4_000);
    expect(rig.only('system_load').state).toBe(Alert_State.PENDING);
    rig.clock.setWall(rig.clock.wallMs() - 7_200_000);
    await rig.storeTimeExact();
    await rig.pass(1_500);
    expect(rig.only('system_load').state).toBe(Alert_State.FIRING);
    rig.figures.set('system_load', 0.1);
    await rig.pass(5_000);
    rig.clock.setWall(rig.clock.wallMs() + 9_000_000);
    await rig.storeTimeExact();
    await rig.pass(4_000);
    expect(rig.only('system_load').state).toBe(Alert_State.FIRING);
    await rig.pass(1_500);
    expect(rig.only('system_load').state).toBe(Alert_State.RESOLVED);
  });

  it('of counts that grow are judged by the growth within the window', async () => {
    const rig = await start();
    rig.figures.set('dead_letters', 100);
    await rig.pass(2_000);
    expect(rig.alerts()).toEqual([]);
    rig.figures.set('dead_letters', 103);
    await rig.pass(300);
    expect(rig.only('dead_letters_growing')).toMatchObject({
      state: Alert_State.FIRING,
      value: 3,
      summary: 'fleet: dead letters grew by 3 within 10 min',
    });
    await rig.pass(599_000);
    expect(rig.only('dead_letters_growing').state).toBe(Alert_State.FIRING);
    await rig.pass(330_000);
    expect(rig.only('dead_letters_growing').state).toBe(Alert_State.RESOLVED);
  });

  it('of replicas, services and sinks are in the namespace of the service itself', async () => {
    const failing = { name: 'hook', kind: 'webhook', failures: 3 };
    const rig = await start({
      rules: [{ name: 'sink_failing', forMs: 0 }],
      senders: { status: () => [failing as never] },
    });
    rig.figures.set('service_up', 0, { namespace: '_system', scope: MetricScope.SERVICE, id: 'db' });
    rig.figures.set('event_loop_delay', 2_000, {
      namespace: '_system',
      scope: MetricScope.REPLICA,
      id: 'replica-1',
    });
    await rig.pass(1_100);
    expect(
      rig
        .alerts({ namespace: '_system' })
        .map(({ summary, namespace }) => [namespace, summary])
        .sort(),
    ).toEqual([
      ['_system', 'replica replica-1: event-loop delay 2000 ms is above 1000 ms'],
      ['_system', 'service db is down'],
      ['_system', 'sink hook does not take what it is sent'],
    ]);
    rig.figures.set('service_up', 1, { namespace: '_system', scope: MetricScope.SERVICE, id: 'db' });
    await rig.pass(1_100);
    expect(rig.only('service_down').state).toBe(Alert_State.RESOLVED);
  });

  it('that are over are removed after their time', async () => {
    const rig = await start({ rules: [quick], flags: { 'alerts.retention': '1m' } });
    rig.figures.set('system_load', 0.9);
    await rig.pass(300);
    rig.figures.set('system_load', 0.1);
    await rig.pass(300);
    expect(rig.only('system_load').state).toBe(Alert_State.RESOLVED);
    await rig.pass(75_000);
    expect(rig.alerts()).toEqual([]);
  });
});
