import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Alert_State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import { type Rig, startRig } from './alerts-fixture.ts';

const ids = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, n) => `${prefix}${n}`);

describe('alerts with one cause', () => {
  let rig: Rig;
  const sent = (): string[] =>
    [...rig.view.records()].flatMap(([, { record }]) =>
      Object.values(record.tellings).some(({ want }) => want === 'firing')
        ? [record.alert?.summary ?? '']
        : [],
    );
  const lose = (agents: readonly string[]) =>
    rig.happen(...agents.map((agentId) => ({ type: 'agent.lost', agentId })));
  const recover = (agents: readonly string[]) =>
    rig.happen(...agents.map((agentId) => ({ type: 'agent.recovered', agentId })));

  beforeEach(async () => {
    rig = await startRig({ rules: [{ name: 'agent_health', forMs: 0, clearForMs: 0 }] });
    await rig.putAgents(ids('e', 300), { zone: 'eu-1' });
    await rig.putAgents(ids('u', 300), { zone: 'us-1' });
    rig.figures.set('agent_health', 1);
    await rig.settle();
  });
  afterEach(async () => {
    await rig.stop();
    expect(rig.problems).toEqual([]);
  });

  it('stand under the mass failure: 300 agents cut off are one alert, from beginning to end', async () => {
    // Health falls before the brake is set.
    rig.figures.set('agent_health', 0.5);
    await rig.pass(200);
    await rig.happen({ type: 'brake.set', attributes: { zone: 'eu-1', failing: '300', agents: '300' } });
    await rig.pass(1_000);
    for (let at = 0; at < 300; at += 50) {
      await lose(ids('e', 300).slice(at, at + 50));
      await rig.pass(1_000);
    }
    expect(sent()).toEqual(['zone eu-1 cut off: 300 of 300 agents failed at once']);
    expect(rig.alerts({ withGrouped: false }).map(({ rule, groupSize }) => [rule, groupSize])).toEqual([
      ['brake_engaged', 301],
    ]);
    const head = rig.only('brake_engaged');
    expect(head.groupSubjects).toHaveLength(16);
    expect(rig.alerts({ groupedUnder: head.id, pageSize: 1_000 })).toHaveLength(301);
    // They come back; the brake is lifted half-way.
    await recover(ids('e', 300).slice(0, 150));
    await rig.happen({ type: 'brake.lifted', attributes: { zone: 'eu-1' } });
    await rig.pass(1_000);
    expect(rig.only('brake_engaged').state).toBe(Alert_State.FIRING);
    await recover(ids('e', 300).slice(150));
    rig.figures.set('agent_health', 1);
    await rig.pass(2_000);
    expect(rig.alerts({ states: [Alert_State.FIRING] })).toEqual([]);
    expect(rig.only('brake_engaged')).toMatchObject({ resolveReason: 'event' });
    const told = [...rig.view.records()].filter(([, { record }]) => Object.keys(record.tellings).length > 0);
    expect(told.map(([, { record }]) => record.alert?.rule)).toEqual(['brake_engaged']);
  });

  it('stand under one brake where a zone failed and with it most of the namespace', async () => {
    await rig.happen(
      { type: 'brake.set', attributes: { zone: '', failing: '310', agents: '600' } },
      { type: 'brake.set', attributes: { zone: 'eu-1', failing: '300', agents: '300' } },
    );
    await rig.pass(1_000);
    expect(sent()).toEqual(['zone eu-1 cut off: 300 of 300 agents failed at once']);
  });

  it('what is left after the mass failure goes under one alert, and not into hundreds', async () => {
    await rig.happen({ type: 'brake.set', attributes: { zone: 'eu-1', failing: '300', agents: '300' } });
    await rig.pass(500);
    await lose(ids('e', 300));
    await rig.pass(1_000);
    await recover(ids('e', 300).slice(0, 200));
    await rig.happen({ type: 'brake.lifted', attributes: { zone: 'eu-1' } });
    await rig.pass(62_000);
    expect(rig.only('brake_engaged').state).toBe(Alert_State.RESOLVED);
    expect(sent()).toEqual([
      '100 alerts of agent_lost are left of: zone eu-1 cut off: 300 of 300 agents failed at once',
    ]);
    await recover(ids('e', 300).slice(200));
    await rig.pass(2_000);
    expect(rig.only('common_cause').state).toBe(Alert_State.RESOLVED);
  });

  it('of a tenth of all agents within ten seconds stand under one; a few stand for themselves', async () => {
    await lose(ids('u', 4));
    await rig.pass(1_000);
    expect(sent()).toHaveLength(4);
    await rig.pass(10_000);
    await lose(ids('e', 70));
    await rig.pass(1_000);
    expect(sent().slice(4)).toEqual([
      '70 alerts of agent_lost about agents of zone eu-1 began within 10 s: one cause',
    ]);
    await lose(['e80']);
    await rig.pass(1_000);
    expect(rig.only('common_cause').groupSize).toBe(71);
    expect(sent()).toHaveLength(5);
    await rig.pass(11_000);
    await lose(['e90']);
    await rig.pass(1_000);
    expect(sent()).toHaveLength(6);
  });

  it('elsewhere are not explained by it', async () => {
    await rig.happen({ type: 'brake.set', attributes: { zone: 'eu-1', failing: '300', agents: '300' } });
    await rig.pass(500);
    await lose(['u1']);
    await rig.happen({ type: 'operation.stopped', attributes: { operation: 'op' } });
    await rig.pass(1_000);
    expect(sent()).toHaveLength(3);
  });
});
