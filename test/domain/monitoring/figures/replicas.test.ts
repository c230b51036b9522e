import { afterEach, describe, expect, it } from 'vitest';
import { ZONE_LABEL } from '../../../../src/domain/agent/care/troubles.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';
import { AGENT, FLEET, report, startFigures, ZONE } from './figures-fixture.ts';

type Rig = Awaited<ReturnType<typeof startFigures>>;

describe('figures of several replicas', () => {
  const rigs: Rig[] = [];
  const alive = new Set<string>();
  /** Replicas on one store and one clock. */
  const start = async (count: number): Promise<Rig[]> => {
    const clock = new FakeClock();
    const store = new MemoryStore({ wallMs: () => clock.wallMs() });
    for (let index = 0; index < count; index += 1) {
      const replicaId = `replica-${index}`;
      alive.add(replicaId);
      const rig = await startFigures({
        ...{ clock, store, replicaId, seed: index + 1, others: () => true, alive: (id) => alive.has(id) },
        replicaAlive: (id) => alive.has(id),
      });
      rigs.push(rig);
    }
    return rigs;
  };
  const beat = async (): Promise<void> => {
    for (const rig of rigs) rig.tick();
    for (const rig of rigs) await rig.publish();
  };
  afterEach(async () => {
    for (const rig of rigs.splice(0)) await rig.fleet.stop();
    alive.clear();
  });
  const attach = async (rig: Rig, id: string, zone: string) =>
    rig.fleet.attach(id, await rig.fleet.register(id, { labels: { [ZONE_LABEL]: zone } }), { answers: true });

  it('are the same on each, of all agents', async () => {
    const [one, two] = await start(2);
    if (one === undefined || two === undefined) throw new Error('no replicas');
    report((await attach(one, 'a', 'eu')).session, 0.2, {});
    report((await attach(two, 'b', 'eu')).session, 0.4, {});
    report((await attach(two, 'c', 'us')).session, 0.9, {});
    await beat();
    for (const rig of [one, two]) {
      expect(rig.values('system_load', FLEET)['']).toBeCloseTo(0.5, 6);
      expect(rig.values('system_load', ZONE)).toEqual({ eu: expect.closeTo(0.3, 6), us: 0.9 });
      expect(rig.values('agents_connected', FLEET)).toEqual({ '': 3 });
    }
  });

  it('leave out what a replica said that is gone, and what it took back when it left', async () => {
    const [one, two] = await start(2);
    if (one === undefined || two === undefined) throw new Error('no replicas');
    report((await attach(one, 'a', 'eu')).session, 0.2);
    report((await attach(two, 'b', 'eu')).session, 0.6);
    await beat();
    expect(one.values('system_load', FLEET)['']).toBeCloseTo(0.4, 6);
    alive.delete('replica-1');
    one.fleet.clock.advance(1000);
    expect(one.values('system_load', FLEET)['']).toBeCloseTo(0.2, 6);
    alive.add('replica-1');
    one.fleet.clock.advance(1000);
    expect(one.values('system_load', FLEET)['']).toBeCloseTo(0.4, 6);
    await two.leave();
    expect(one.values('system_load', FLEET)['']).toBeCloseTo(0.2, 6);
    // Silent although it counts as there.
    await beat();
    one.fleet.clock.advance(16_000);
    expect(one.values('system_load', FLEET)['']).toBeCloseTo(0.2, 6);
  });

  it('are told at once when one crosses the threshold of a rule, else twice a second', async () => {
    const [one, two] = await start(2);
    if (one === undefined || two === undefined) throw new Error('no replicas');
    const told: string[] = [];
    for (const [index, replica] of [one, two].entries()) {
      replica.thresholds([
        { metric: 'system_load', scope: FLEET, value: 0.8 },
        { metric: 'system_load', scope: AGENT, value: 0.95 },
      ]);
      replica.figures.listenAgents((namespace, id) => told.push(`${index} ${namespace} ${id}`));
    }
    const { session } = await attach(one, 'a', 'eu');
    report(session, 0.1);
    await beat();
    report(session, 0.3);
    await beat();
    expect(two.values('system_load', FLEET)).toEqual({ '': 0.1 });
    report(session, 0.9);
    await beat();
    expect(two.values('system_load', FLEET)).toEqual({ '': 0.9 });
    expect(two.values('system_load', AGENT)).toEqual({ a: undefined });
    told.length = 0;
    report(session, 0.96);
    await beat();
    expect(two.values('system_load', AGENT)).toEqual({ a: 0.96 });
    // Whichever replica judges hears of it.
    expect(new Set(told)).toEqual(new Set(['0 default a', '1 default a']));
    expect([...two.figures.ofAgent('default', 'system_load', 'a')]).toMatchObject([{ value: 0.96 }]);
    one.fleet.clock.advance(500);
    await beat();
    expect(two.values('system_load', FLEET)).toEqual({ '': 0.96 });
  });

  it('go from none to hundreds of agents and back', async () => {
    const [one, two] = await start(2);
    if (one === undefined || two === undefined) throw new Error('no replicas');
    const attached = [];
    for (let index = 0; index < 600; index += 1) {
      const each = await attach(one, `a${index}`, `z${index % 7}`);
      report(each.session, 0.5);
      attached.push(each);
    }
    await beat();
    expect(two.values('system_load', FLEET)[''] ?? 0).toBeCloseTo(0.5, 6);
    expect(two.values('agents_connected', FLEET)).toEqual({ '': 600 });
    await Promise.all(attached.map(({ session }) => one.fleet.sessions.left(session, 'done')));
    await one.fleet.settle();
    one.fleet.clock.advance(1000);
    await beat();
    for (const rig of [one, two]) {
      expect(rig.values('agents_connected', FLEET)).toEqual({ '': 0 });
      expect(rig.values('agent_health', FLEET)).toEqual({ '': undefined });
      expect(rig.values('system_load', FLEET)).toEqual({ '': undefined });
    }
    one.sweep();
    expect(one.warnings).toEqual([]);
  });
});
