import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Alert_State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { WatchAlertsRequestSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { FakeFigures, type Rig, startRig } from './alerts-fixture.ts';

/** Two replicas on one store; the first holds the lease, and dies without a word. */
describe('when the replica that judges dies', () => {
  let clock: FakeClock;
  let store: MemoryStore;
  let figures: FakeFigures;
  let first: Rig;
  let second: Rig;
  let dead: boolean;
  const rules = [{ name: 'system_load', forMs: 10_000, clearForMs: 10_000 }];

  beforeEach(async () => {
    clock = new FakeClock();
    store = new MemoryStore({ wallMs: () => clock.wallMs() });
    figures = new FakeFigures();
    dead = false;
    const replicaAlive = (): boolean => !dead;
    first = await startRig({ store, clock, figures, rules, replicaAlive, replicaId: 'replica-1' });
    second = await startRig({ store, clock, figures, rules, replicaAlive, replicaId: 'replica-2' });
    await first.putAgents(['a1', 'a2']);
    await first.settle();
    // It has to have heard others for a while before it takes one for gone.
    clock.advance(11_000);
    await first.settle();
    await second.settle();
  });
  afterEach(async () => {
    await first.stop();
    await second.stop();
    expect([...first.problems, ...second.problems]).toEqual([]);
  });
  const both = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 100) {
      clock.advance(100);
      await first.tick();
      await second.tick();
    }
  };
  const die = async (): Promise<void> => {
    dead = true;
    await second.pass(1_000);
  };

  it('the other goes on with what was pending since the stored time', async () => {
    figures.set('system_load', 0.9);
    await both(6_000);
    const { id } = first.only('system_load');
    await die();
    expect(second.only('system_load')).toMatchObject({ id, state: Alert_State.PENDING });
    await second.pass(2_500);
    expect(second.only('system_load').state).toBe(Alert_State.PENDING);
    await second.pass(800);
    expect(second.only('system_load')).toMatchObject({
      id,
      state: Alert_State.FIRING,
      replicaId: 'replica-2',
    });
    expect(second.wants(id)).toEqual(['hook:firing']);
  });

  it('what fires stays the same alert, and the time that it was clear counts on', async () => {
    figures.set('system_load', 0.9);
    await both(10_500);
    const { id } = first.only('system_load');
    figures.set('system_load', 0.1);
    await both(6_000);
    await die();
    await second.pass(2_000);
    expect(second.only('system_load')).toMatchObject({ id, state: Alert_State.FIRING });
    await second.pass(1_800);
    expect(second.only('system_load')).toMatchObject({ id, state: Alert_State.RESOLVED });
    expect(await second.events('alert.fired')).toHaveLength(1);
  });

  it('events that came while nobody judged are judged once, and those before are not judged again', async () => {
    await first.happen({ type: 'agent.lost', agentId: 'a1' });
    await both(500);
    const { id } = first.only('agent_lost');
    dead = true;
    await first.happen({ type: 'agent.recovered', agentId: 'a1' }, { type: 'agent.lost', agentId: 'a2' });
    await second.pass(1_500);
    expect(second.alerts({ agentId: 'a1' })).toMatchObject([{ id, state: Alert_State.RESOLVED }]);
    expect(second.alerts({ agentId: 'a2' })).toMatchObject([{ state: Alert_State.FIRING }]);
    expect(await second.events('alert.')).toHaveLength(3);
  });

  it('a holder that was only paused is refused, and nothing is told twice', async () => {
    figures.set('system_load', 0.9);
    await both(6_000);
    await die();
    await second.pass(4_000);
    // The first wakes up: its view has heard of everything, its own clockwork thinks that it is the holder.
    await first.happen({ type: 'agent.lost', agentId: 'a1' });
    await both(2_000);
    expect(second.alerts().map(({ rule, state, replicaId }) => [rule, state, replicaId])).toEqual([
      ['agent_lost', Alert_State.FIRING, 'replica-2'],
      ['system_load', Alert_State.FIRING, 'replica-2'],
    ]);
    expect(await second.events('alert.fired')).toHaveLength(2);
  });

  it('what was judged before another took over, and stored after it, is refused', async () => {
    let once = true;
    store.faults.before = async ({ puts }) => {
      if (!once || puts?.some(({ key }) => key.startsWith('alert/')) !== true) return;
      once = false;
      dead = true;
      clock.advance(600);
      await second.settle();
    };
    figures.set('system_load', 0.9);
    await first.tick();
    expect(once).toBe(false);
    expect(second.alerts()).toEqual([]);
    // The other one looks for a moment before it believes its own figures.
    await second.pass(4_000);
    const lease = { key: 'lease/alerts', revision: expect.any(BigInt) };
    const stored = store.commits.filter(({ puts }) => puts?.some(({ key }) => key.startsWith('alert/')));
    expect(stored).toHaveLength(1);
    for (const { checks } of stored) expect(checks).toContainEqual(lease);
    expect(second.only('system_load').replicaId).toBe('replica-2');
  });

  it('a commit whose answer was lost is not made twice', async () => {
    store.faults.loseAnswers = 1;
    await first.happen({ type: 'agent.lost', agentId: 'a1' }).catch(() => {});
    store.faults.loseAnswers = 1;
    await both(2_000);
    expect(first.alerts({ agentId: 'a1' })).toHaveLength(1);
    expect(await first.events('alert.fired')).toHaveLength(1);
  });

  it('what became a dead letter around the change of hands is not missed', async () => {
    figures.set('dead_letters', 100);
    await both(2_000);
    dead = true;
    figures.set('dead_letters', 103);
    await second.pass(6_000);
    expect(second.only('dead_letters_growing')).toMatchObject({ state: Alert_State.FIRING, value: 3 });
  });

  it('events are not judged again after a commit whose answer was lost', async () => {
    store.faults.before = async ({ puts }) => {
      if (puts?.some(({ key }) => key.startsWith('alert/')) !== true) return;
      store.faults.loseAnswers = 1;
      store.faults.before = undefined;
    };
    await first.happen({ type: 'agent.lost', agentId: 'a1' }, { type: 'agent.recovered', agentId: 'a1' });
    await both(2_000);
    expect(store.faults.loseAnswers).toBe(0);
    expect(first.alerts({ agentId: 'a1' }).map(({ state }) => state)).toEqual([Alert_State.RESOLVED]);
    expect(await first.events('alert.fired')).toHaveLength(1);
  });

  it('an alert that changed in between is judged anew', async () => {
    await first.happen({ type: 'agent.lost', agentId: 'a1' });
    await both(500);
    const { id } = first.only('agent_lost');
    let once = true;
    store.faults.before = async (commit) => {
      if (!once || commit.puts?.some(({ key }) => key === `alert/${id}`) !== true) return;
      once = false;
      const { acknowledge } = first;
      await acknowledge.acknowledge(
        {
          $typeName: 'mycosoft.orchestrator.monitoring.v1.AcknowledgeAlertRequest',
          alertId: id,
          comment: '',
          withdraw: false,
          requestId: '',
        },
        { principal: 'ann', token: undefined },
      );
    };
    await first.happen({ type: 'agent.recovered', agentId: 'a1' });
    await both(1_000);
    expect(first.only('agent_lost')).toMatchObject({
      state: Alert_State.RESOLVED,
      acknowledgement: { actor: 'ann' },
    });
    expect(await first.events('alert.resolved')).toHaveLength(1);
  });

  it('an outage of the store is told by itself under one id, and stored when it is back', async () => {
    const told: string[] = [];
    for (const replica of [first, second]) {
      replica.alerting.connect({
        status: () => [],
        deliveries: () => [],
        sendNow: (alert, what) => told.push(`${what} ${alert.id}`),
        takeBack: (alert) => told.push(`back ${alert.id}`),
      });
    }
    store.faults.away = true;
    await both(6_000);
    expect(new Set(told).size).toBe(1);
    expect(told).toHaveLength(2);
    // It is seen meanwhile, although it is not stored.
    expect(second.only('store_unavailable')).toMatchObject({ state: Alert_State.FIRING });
    const { id } = first.only('store_unavailable');
    expect(first.reader.get({ alertId: id } as never).alert?.namespace).toBe('_system');
    const stop = new AbortController();
    for await (const { alerts } of first.watch(create(WatchAlertsRequestSchema), stop.signal)) {
      expect(alerts.map((alert) => alert.id)).toEqual([id]);
      break;
    }
    store.faults.away = false;
    await both(1_000);
    const alert = first.only('store_unavailable');
    expect(told[0]).toBe(`firing ${alert.id}`);
    expect(alert).toMatchObject({ namespace: '_system', state: Alert_State.RESOLVED });
    expect(first.wants(alert.id)).toEqual(['hook:resolved']);
    // Who stores the end takes back what is not sent yet; what the other one sent may have come after the end: it tells it too.
    expect(told.slice(2)).toEqual([`back ${alert.id}`, `resolved ${alert.id}`]);
  });
});
