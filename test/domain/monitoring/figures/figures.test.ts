import { afterEach, describe, expect, it } from 'vitest';
import { ZONE_LABEL } from '../../../../src/domain/agent/care/troubles.ts';
import { turns } from '../../agent/fleet-fixture.ts';
import { AGENT, FLEET, report, startFigures, ZONE } from './figures-fixture.ts';

type Rig = Awaited<ReturnType<typeof startFigures>>;

describe('figures', () => {
  const rigs: Rig[] = [];
  const start = async (options: Parameters<typeof startFigures>[0] = {}): Promise<Rig> => {
    const rig = await startFigures(options);
    rigs.push(rig);
    return rig;
  };
  afterEach(async () => {
    for (const rig of rigs.splice(0)) await rig.fleet.stop();
  });
  const attach = async (rig: Rig, id: string, zone = '', slots = 0n) => {
    const token = await rig.fleet.register(id, {
      labels: zone === '' ? {} : { [ZONE_LABEL]: zone },
      capacity: slots === 0n ? {} : { slots },
    });
    return rig.fleet.attach(id, token, { answers: true });
  };

  it('are asked for of namespaces that are not there, and nothing is kept of those', async () => {
    const asked: string[] = [];
    const rig = await start({ pooled: (namespace) => asked.push(namespace) });
    await attach(rig, 'a', 'eu', 3n);
    for (let index = 0; index < 10; index += 1) rig.figures.readings(`name-${index}`);
    expect(asked).toEqual([]);
    expect(rig.figures.merged('name-1')).not.toBe(rig.figures.merged('name-1'));
    rig.figures.readings('default');
    expect(new Set(asked)).toEqual(new Set(['default']));
    expect(rig.figures.merged('default')).toBe(rig.figures.merged('default'));
  });

  it('weigh the load of agents by their slots, in zones and in all', async () => {
    const rig = await start();
    const a = await attach(rig, 'a', 'eu', 3n);
    const b = await attach(rig, 'b', 'eu', 1n);
    const c = await attach(rig, 'c', 'us');
    report(a.session, 1);
    report(b.session, 0);
    expect(rig.values('system_load', FLEET)).toEqual({ '': 0.75 });
    report(c.session, 0.25);
    expect(rig.values('system_load', FLEET)).toEqual({ '': (3 + 0.25) / 5 });
    expect(rig.values('system_load', ZONE)).toEqual({ eu: 0.75, us: 0.25 });
    expect(rig.values('system_load', AGENT)).toEqual({ a: 1, b: 0, c: 0.25 });
    report(a.session, 0.5);
    expect(rig.values('system_load', ZONE)).toEqual({ eu: 0.375, us: 0.25 });
  });

  it('count agents that should be there and are not as of no health, from the verdict on', async () => {
    const rig = await start();
    const { fleet } = rig;
    const a = await attach(rig, 'a', 'eu');
    await attach(rig, 'b', 'eu');
    await fleet.register('never-came');
    await fleet.pass(2000);
    rig.tick();
    expect(rig.values('agent_health', FLEET)).toEqual({ '': 1 });
    fleet.store.faults.away = true;
    fleet.sessions.lost(a.session, 'the connection broke');
    rig.tick();
    expect(rig.values('agent_health', FLEET)).toEqual({ '': 0.5 });
    expect(rig.values('agents_connected', ZONE)).toEqual({ eu: 1 });
    fleet.store.faults.away = false;
    await fleet.settle();
    rig.tick();
    expect(rig.values('agent_health', FLEET)).toEqual({ '': 0.5 });
    expect(rig.values('agent_health', AGENT)).toEqual({ a: 0, b: 1 });
    expect(rig.values('agents_connected', ZONE)).toEqual({ eu: 1 });
  });

  it('show the health of one that does not answer while it still waits for its verdict', async () => {
    const rig = await start();
    const { fleet } = rig;
    const a = await attach(rig, 'a');
    await attach(rig, 'b');
    await fleet.pass(60_000);
    a.line.onPing = undefined;
    await fleet.pass(9000);
    rig.tick();
    const health = rig.values('agent_health', FLEET)[''] ?? 1;
    expect(health).toBeLessThan(0.8);
    expect(health).toBeGreaterThanOrEqual(0.5);
  });

  it('take the 95th percentile over agents of theirs for the latency of a zone', async () => {
    const rig = await start();
    for (let index = 0; index < 20; index += 1) {
      const { session } = await attach(rig, `a${index}`, 'eu');
      for (let trip = 0; trip < 128; trip += 1) session.roundTrips.add(trip < 120 ? 1 : 10 * (index + 1));
      report(session, undefined);
    }
    // The 19th of 20 agents.
    expect(rig.values('communication_latency', ZONE).eu).toBeCloseTo(190, -1);
    expect(rig.values('communication_latency', AGENT).a4).toBe(50);
    const [reading] = rig.figures.each('default', 'communication_latency', FLEET);
    expect(reading?.samples).toBe(20);
  });

  it('put what is reserved and used over the capacity of agents that may be given work', async () => {
    const rig = await start();
    const { session } = await attach(rig, 'a', 'eu', 10n);
    const other = await attach(rig, 'b', 'us', 10n);
    await turns();
    report(session, undefined, { slots: 6n });
    expect(rig.values('resource_usage', FLEET)).toEqual({ slots: 0.3 });
    expect(rig.values('resource_used', ZONE)).toEqual({ 'eu/slots': 0.6 });
    expect(rig.values('resource_reserved', FLEET)).toEqual({ slots: 0 });
    rig.fleet.sessions.lost(other.session, 'gone');
    await rig.fleet.pass(1000);
    expect(rig.values('resource_usage', FLEET)).toEqual({ slots: 0.6 });
  });

  it('tell listeners of namespaces in which something moved, once a tick', async () => {
    const rig = await start();
    const told: string[] = [];
    rig.figures.listen((namespace) => told.push(namespace));
    const a = await attach(rig, 'a');
    report(a.session, 0.1);
    report(a.session, 0.2);
    rig.tick();
    expect(told.filter((namespace) => namespace === 'default')).toHaveLength(1);
    rig.tick();
    expect(told.filter((namespace) => namespace === 'default')).toHaveLength(1);
    report(a.session, 0.2);
    rig.tick();
    report(a.session, 0.3);
    rig.tick();
    expect(told.filter((namespace) => namespace === 'default').length).toBeGreaterThanOrEqual(2);
  });

  it('are put right by a sweep, which finds nothing to put right after thousands of changes', async () => {
    const rig = await start();
    const agents = await Promise.all(['a', 'b', 'c'].map((id) => attach(rig, id, 'eu')));
    for (let index = 0; index < 5000; index += 1) {
      const agent = agents[index % 3];
      if (agent !== undefined) report(agent.session, (index % 97) / 96, { slots: BigInt(index % 7) });
    }
    rig.figures.sweep();
    expect(rig.warnings).toEqual([]);
    const sums = rig.own.of('default')?.zones.get('eu');
    if (sums !== undefined) sums.health += 1;
    rig.figures.sweep();
    expect(rig.warnings).toHaveLength(1);
    expect(rig.values('agent_health', FLEET)['']).toBeLessThanOrEqual(1);
  });
});
