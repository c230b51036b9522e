import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Alert_State, AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  Event_Severity,
  EventSchema,
} from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { peekEventType } from '../../../../src/domain/monitoring/alerts/event-types.ts';
import { encode } from '../../../../src/lib/encode.ts';
import { timestampFromMs } from '../../../../src/lib/proto-time.ts';
import { type Rig, startRig } from './alerts-fixture.ts';

describe('alerts of events', () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig({
      rules: [
        {
          name: 'task_failures',
          events: ['task.failed'],
          eventCount: 3,
          eventWindowMs: 60_000,
          expireAfterMs: 30_000,
        },
        { name: 'anything', events: ['*'], selector: 'tier=gold', severity: 'info', expireAfterMs: 5_000 },
      ],
    });
    await rig.putAgents(['a1', 'a2', 'a3', 'a4']);
    await rig.putAgents(['g1'], { labels: { tier: 'gold' } });
    await rig.settle();
  });
  afterEach(async () => {
    await rig.stop();
    expect(rig.problems).toEqual([]);
  });

  it('begin with what happened, name it as their cause, and end with what ends it for the same subject', async () => {
    const revision = await rig.happen({
      type: 'agent.lost',
      agentId: 'a1',
      message: 'silent for its whole lease',
    });
    await rig.tick();
    expect(rig.only('agent_lost')).toMatchObject({
      state: Alert_State.FIRING,
      labels: { agent_id: 'a1' },
      summary: 'agent a1: silent for its whole lease',
      causeEventId: `${revision}-0`,
    });
    const [fired] = await rig.events('alert.fired');
    expect(fired).toMatchObject({ causeId: `${revision}-0`, agentId: 'a1' });
    await rig.happen({ type: 'agent.recovered', agentId: 'a2' }, { type: 'agent.lost', agentId: 'a1' });
    await rig.tick();
    expect(rig.only('agent_lost').state).toBe(Alert_State.FIRING);
    const end = await rig.happen({ type: 'agent.recovered', agentId: 'a1' });
    await rig.tick();
    expect(rig.only('agent_lost')).toMatchObject({ state: Alert_State.RESOLVED, resolveReason: 'event' });
    expect((await rig.events('alert.resolved'))[0]?.causeId).toBe(`${end}-0`);
  });

  it.each([
    [
      'agent_quarantined',
      { type: 'agent.quarantined', agentId: 'a1' },
      { type: 'agent.released', agentId: 'a1' },
    ],
    [
      'brake_engaged',
      { type: 'brake.set', attributes: { zone: 'eu-1' } },
      { type: 'brake.lifted', attributes: { zone: 'eu-1' } },
    ],
    [
      'operation_stopped',
      { type: 'operation.stopped', attributes: { operation: 'op' } },
      { type: 'operation.cancelled', attributes: { operation: 'op' } },
    ],
    [
      'budget_spent',
      { type: 'budget.spent', attributes: { owner: 'ann', budget: 'tokens' } },
      { type: 'quota.updated', attributes: { owner: 'ann' } },
    ],
  ])('%s comes and goes', async (name, begin, end) => {
    await rig.happen(begin);
    await rig.tick();
    expect(rig.only(name).state).toBe(Alert_State.FIRING);
    await rig.happen(end);
    await rig.tick();
    expect(rig.only(name).state).toBe(Alert_State.RESOLVED);
  });

  it('leave out those who were set aside by an order, and tell zones apart', async () => {
    await rig.happen({ type: 'agent.quarantined', agentId: 'a1', severity: Event_Severity.INFO });
    await rig.happen(
      { type: 'brake.set', attributes: { zone: 'eu-1' } },
      { type: 'brake.lifted', attributes: { zone: 'eu-2' } },
    );
    await rig.tick();
    expect(rig.alerts().map(({ rule, state }) => [rule, state])).toEqual([
      ['brake_engaged', Alert_State.FIRING],
    ]);
  });

  it('of several events begin with the last of so many in the window, and expire', async () => {
    const failed = (n: number) => ({
      type: 'task.failed',
      agentId: 'a1',
      attributes: { capability: `c${n}` },
    });
    await rig.happen(failed(1), failed(2));
    await rig.pass(61_000);
    await rig.happen(failed(3), failed(4));
    await rig.pass(200);
    expect(rig.alerts()).toEqual([]);
    await rig.happen(failed(5));
    await rig.tick();
    expect(rig.only('task_failures').state).toBe(Alert_State.FIRING);
    await rig.pass(29_000);
    await rig.happen(failed(6));
    await rig.pass(29_000);
    expect(rig.only('task_failures').state).toBe(Alert_State.FIRING);
    await rig.pass(2_200);
    expect(rig.only('task_failures')).toMatchObject({
      state: Alert_State.RESOLVED,
      resolveReason: 'expired',
    });
  });

  it('count of a replica before are counted on by the next', async () => {
    const failed = { type: 'task.failed', agentId: 'a1' };
    await rig.happen(failed, failed);
    await rig.pass(1_000);
    const next = await startRig({
      store: rig.store,
      clock: rig.clock,
      replicaId: 'replica-2',
      rules: rig.config.alerts.rules,
    });
    await rig.alerting.leave();
    await next.settle();
    await next.happen(failed);
    await next.pass(300);
    expect(next.only('task_failures').state).toBe(Alert_State.FIRING);
    await next.stop();
  });

  it('of any type are never about alerts themselves, and choose agents by their labels', async () => {
    await rig.happen({ type: 'agent.stuck', agentId: 'a1' }, { type: 'agent.stuck', agentId: 'g1' });
    await rig.pass(1_000);
    expect(rig.only('anything')).toMatchObject({ severity: AlertSeverity.INFO, labels: { agent_id: 'g1' } });
    await rig.pass(20_000);
    expect(rig.alerts()).toHaveLength(1);
  });

  it('that flap are held until nothing happened for five minutes', async () => {
    const lost = { type: 'agent.lost', agentId: 'a1' };
    const back = { type: 'agent.recovered', agentId: 'a1' };
    for (let times = 0; times < 8; times += 1) {
      await rig.happen(lost);
      await rig.pass(1_000);
      await rig.happen(back);
      await rig.pass(1_000);
    }
    expect(rig.alerts().map(({ state, fires, flapping }) => [state, fires, flapping])).toEqual([
      [Alert_State.FIRING, 4, true],
      [Alert_State.RESOLVED, 3, false],
      [Alert_State.RESOLVED, 2, false],
      [Alert_State.RESOLVED, 1, false],
    ]);
    expect(await rig.events('alert.flapping')).toHaveLength(1);
    await rig.pass(200_000);
    await rig.happen(lost);
    await rig.pass(100_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toHaveLength(1);
    const end = await rig.happen(back);
    await rig.pass(298_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toHaveLength(1);
    await rig.pass(4_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toEqual([]);
    const ends = await rig.events('alert.resolved');
    expect(ends.at(-1)?.causeId).toBe(`${end}-0`);
    expect(ends).toHaveLength(4);
  });

  it('about brakes that flap are held as well', async () => {
    for (let times = 0; times < 6; times += 1) {
      await rig.happen({ type: 'brake.set', attributes: { zone: 'eu-1' } });
      await rig.pass(1_000);
      await rig.happen({ type: 'brake.lifted', attributes: { zone: 'eu-1' } });
      await rig.pass(1_200);
    }
    expect(rig.alerts({ rules: ['brake_engaged'] })).toHaveLength(4);
    await rig.pass(295_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toHaveLength(1);
    await rig.pass(8_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toEqual([]);
  });

  it('about an agent that is no more are over', async () => {
    await rig.happen({ type: 'agent.lost', agentId: 'a1' });
    await rig.tick();
    await rig.removeAgent('a1');
    await rig.pass(1_100);
    expect(rig.only('agent_lost')).toMatchObject({ resolveReason: 'subject_removed' });
  });

  it('are judged without a gap when 10,000 happen within a second', async () => {
    const ids = Array.from({ length: 2_000 }, (_, n) => `m${n}`);
    await rig.putAgents(ids);
    for (let at = 0; at < 10_000; at += 500) {
      const some = Array.from({ length: 500 }, (_, n) => at + n);
      // Each agent is lost, comes back, is lost… five times in all; the last time it stays lost.
      await rig.happen(
        ...some.map((n) => ({
          type: Math.floor(n / 2_000) % 2 === 0 ? 'agent.lost' : 'agent.recovered',
          agentId: ids[n % 2_000] ?? '',
        })),
      );
      if (at % 2_000 === 0) await rig.pass(100);
    }
    await rig.pass(2_000);
    const lost = rig.alerting.view.records('default');
    const firing = [...lost].filter(
      ([, { record }]) => record.alert?.rule === 'agent_lost' && record.alert.state === Alert_State.FIRING,
    );
    expect(firing).toHaveLength(2_000);
    // They have one cause.
    expect(rig.alerts({ withGrouped: false, states: [Alert_State.FIRING] }).map(({ rule }) => rule)).toEqual([
      'common_cause',
    ]);
  }, 20_000);
});

describe('the alert of a slow service', () => {
  const db = {
    ...{ name: 'db', probe: 'tcp' as const, address: '127.0.0.1:1', timeoutMs: 1_000, intervalMs: 1_000 },
    ...{ slowMs: 100, failures: 3 },
  };
  const about = (type: string) => ({ type, attributes: { service: 'db' } });

  it.each(['service.up', 'service.down'])('fires at its threshold and ends with %s', async (end) => {
    const rig = await startRig({ services: [db as never] });
    await rig.settle();
    await rig.happenIn('_system', about('service.slow'));
    await rig.pass(2_000);
    const { id } = rig.only('service_slow');
    expect(rig.only('service_slow')).toMatchObject({
      ...{ namespace: '_system', state: Alert_State.FIRING, severity: AlertSeverity.WARNING },
      labels: { service: 'db' },
    });
    expect(rig.wants(id)).toEqual(['hook:firing']);
    await rig.happenIn('_system', about(end));
    await rig.pass(200);
    expect(rig.only('service_slow')).toMatchObject({ state: Alert_State.RESOLVED, resolveReason: 'event' });
    await rig.stop();
    expect(rig.problems).toEqual([]);
  });

  it('ends with its service', async () => {
    const rig = await startRig();
    await rig.settle();
    await rig.happenIn('_system', about('service.slow'));
    await rig.pass(2_000);
    expect(rig.only('service_slow').resolveReason).toBe('subject_removed');
    await rig.stop();
    expect(rig.problems).toEqual([]);
  });
});

describe('the type of an encoded event', () => {
  it('is read without decoding it', () => {
    const event = create(EventSchema, {
      id: '1-2',
      namespace: 'default',
      time: timestampFromMs(1_700_000_000_123),
      type: 'agent.lost',
      severity: Event_Severity.ERROR,
      message: 'ä'.repeat(300),
      attributes: { a: 'b' },
    });
    expect(peekEventType(encode(EventSchema, event))).toBe('agent.lost');
    expect(peekEventType(new Uint8Array())).toBeUndefined();
    expect(peekEventType(Uint8Array.of(0xff, 0xff, 0xff))).toBeUndefined();
  });
});
