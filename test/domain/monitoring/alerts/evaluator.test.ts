import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Alert_State, AlertSeverity } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { WatchAlertsRequestSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_service_pb.ts';
import { type Rig, startRig } from './alerts-fixture.ts';

describe('an alert of a figure', () => {
  let rig: Rig;
  beforeEach(async () => {
    rig = await startRig();
    await rig.putAgents(['a1']);
    rig.figures.set('system_load', 0.5);
    await rig.settle();
  });
  afterEach(async () => {
    await rig.stop();
    expect(rig.problems).toEqual([]);
  });

  it('is pending, fires after its time, is to be told, and is resolved once it was clear for long enough', async () => {
    const stop = new AbortController();
    const seen: Alert_State[] = [];
    const watching = (async () => {
      for await (const { alerts } of rig.watch(create(WatchAlertsRequestSchema), stop.signal))
        for (const { state } of alerts) seen.push(state);
    })();
    await rig.pass(1000);
    expect(rig.alerts()).toEqual([]);

    rig.figures.set('system_load', 0.85);
    await rig.pass(100);
    const { id } = rig.only('system_load');
    expect(rig.only('system_load')).toMatchObject({
      state: Alert_State.PENDING,
      severity: AlertSeverity.WARNING,
      namespace: 'default',
      value: 0.85,
      threshold: 0.8,
      summary: 'fleet: load 0.85 is above 0.8',
    });
    expect(rig.wants(id)).toEqual([]);

    await rig.pass(9_800);
    expect(rig.only('system_load').state).toBe(Alert_State.PENDING);
    await rig.pass(400);
    const firing = rig.only('system_load');
    expect(firing).toMatchObject({ id, state: Alert_State.FIRING, fires: 1, replicaId: 'replica-1' });
    expect(firing.samples.length).toBeGreaterThan(5);
    expect(rig.wants(id)).toEqual(['hook:firing']);
    const [fired] = await rig.events('alert.fired');
    expect(fired).toMatchObject({
      id: firing.eventId,
      actor: 'rule:system_load',
      attributes: { alert_id: id },
    });

    // Below the threshold is not yet clear.
    rig.figures.set('system_load', 0.79);
    await rig.pass(40_000);
    expect(rig.only('system_load').state).toBe(Alert_State.FIRING);
    rig.figures.set('system_load', 0.76);
    await rig.pass(29_000);
    expect(rig.only('system_load').state).toBe(Alert_State.FIRING);
    await rig.pass(1_500);
    expect(rig.only('system_load')).toMatchObject({
      id,
      state: Alert_State.RESOLVED,
      resolveReason: 'cleared',
    });
    expect(rig.wants(id)).toEqual(['hook:resolved']);
    expect(await rig.events('alert.resolved')).toHaveLength(1);
    stop.abort();
    await watching;
    expect([...new Set(seen)]).toEqual([Alert_State.PENDING, Alert_State.FIRING, Alert_State.RESOLVED]);
  });

  it('that clears before its time is forgotten', async () => {
    rig.figures.set('system_load', 0.85);
    await rig.pass(5_000);
    expect(rig.alerts()).toHaveLength(1);
    rig.figures.set('system_load', 0.8);
    await rig.pass(300);
    expect(rig.alerts()).toEqual([]);
    expect(await rig.events('alert.')).toEqual([]);
  });
});
