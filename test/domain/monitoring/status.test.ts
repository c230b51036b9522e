import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  Agent_Liveness,
  Agent_Phase,
  ReportSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import {
  DeregisterAgentRequestSchema,
  RegisterAgentRequestSchema,
} from '../../../gen/mycosoft/orchestrator/agent/v1/agent_service_pb.ts';
import {
  type AlertSink,
  AlertSinkSchema,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/alert_pb.ts';
import {
  type ServiceStatus,
  ServiceStatus_State,
  ServiceStatusSchema,
  SystemStatus_State,
} from '../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { Replicas, type SelfReading } from '../../../src/domain/monitoring/replicas.ts';
import { SystemStatusReader } from '../../../src/domain/monitoring/status.ts';
import { type Logger, silentLogger } from '../../../src/lib/logger.ts';
import { timestampFromMs } from '../../../src/lib/proto-time.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { attachMany, cutOff, live, setAutomation } from '../agent/care/care-fixture.ts';
import type { TestFleet } from '../agent/fleet-fixture.ts';
import { report, startFigures } from './figures/figures-fixture.ts';

const reading: SelfReading = {
  sessions: 3,
  eventLoopDelayP99Ms: 1,
  eventLoopDelayMaxMs: 2,
  cpuCores: 0.5,
  memoryBytes: 1 << 20,
  pingIntervalMs: 5_000,
  draining: false,
};

function replicaOn(
  store: MemoryStore,
  clock: FakeClock,
  replicaId: string,
  read: () => SelfReading = () => reading,
) {
  const errors: string[] = [];
  const log: Logger = { ...silentLogger, error: (_, message) => errors.push(message) };
  const stalls = { ms: 0 };
  const replicas = new Replicas({
    ...{ store, clock, log, replicaId, maxPingsPerSecond: 2_000, version: '1.2.3', read },
    stallMs: (fromMs, toMs) => Math.min(stalls.ms, toMs - fromMs),
  });
  return { replicas, errors, stalls };
}

describe('replicas', () => {
  let clock: FakeClock;
  let store: MemoryStore;
  beforeEach(() => {
    clock = new FakeClock();
    store = new MemoryStore({ wallMs: () => clock.wallMs() });
  });
  const follow = (replicas: Replicas) =>
    store.follow({ batch: () => {}, snapshot: () => {}, live: (records) => replicas.live(records) });

  it('see each other while they write, and not ten seconds after the last word', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    const { replicas: two } = replicaOn(store, clock, 'two');
    await follow(replicas);
    // Whoever begins to listen cannot know yet who is there.
    expect([replicas.isAlive('one'), replicas.isAlive('two')]).toEqual([true, true]);
    clock.advance(10_100);
    expect([replicas.isAlive('one'), replicas.isAlive('two')]).toEqual([true, false]);
    await two.beat();
    clock.advance(9_900);
    expect(replicas.isAlive('two')).toBe(true);
    expect(replicas.all().map(({ id }) => id)).toEqual(['one', 'two']);
    expect(replicas.all()[1]).toMatchObject({ sessions: 3, memoryBytes: 1n << 20n, age: { seconds: 9n } });
    clock.advance(200);
    expect(replicas.isAlive('two')).toBe(false);
    expect(replicas.all().map(({ id }) => id)).toEqual(['one']);
    await two.beat();
    expect(replicas.isAlive('two')).toBe(true);
  });

  it('are gone at once when they say so, and for a moment still look after the agents that they sent away', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    const { replicas: two } = replicaOn(store, clock, 'two');
    await follow(replicas);
    await two.beat();
    await two.leave();
    expect(replicas.all().map(({ id }) => id)).toEqual(['one']);
    clock.advance(4_900);
    expect(replicas.isAlive('two')).toBe(true);
    clock.advance(200);
    expect(replicas.isAlive('two')).toBe(false);
    // Its next life.
    await replicaOn(store, clock, 'two').replicas.beat();
    clock.advance(9_900);
    expect(replicas.isAlive('two')).toBe(true);
  });

  it('stay away once they have left, although their timers still run for a moment', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    const { replicas: two } = replicaOn(store, clock, 'two');
    await follow(replicas);
    await two.beat();
    await two.leave();
    await two.beat();
    expect(replicas.all().map(({ id }) => id)).toEqual(['one']);
    clock.advance(5_100);
    expect(replicas.isAlive('two')).toBe(false);
  });

  it('take the record of one that died long ago off the list', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    await follow(replicas);
    await replicaOn(store, clock, 'two').replicas.beat();
    clock.advance(3_599_000);
    await replicas.beat();
    expect(await store.scanLive('_system')).toHaveLength(2);
    clock.advance(2_000);
    await replicas.beat();
    expect((await store.scanLive('_system')).map(({ key }) => key)).toEqual(['replica/one']);
  });

  it('know what each would hold if all held as many, those that leave or are gone left out', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    await follow(replicas);
    expect(replicas.shares()).toBeUndefined();
    const holding = (id: string, sessions: number, draining = false) =>
      replicaOn(store, clock, id, () => ({ ...reading, sessions, draining })).replicas.beat();
    await holding('gone', 500);
    clock.advance(10_001);
    await holding('two', 9);
    await holding('three', 0);
    await holding('leaving', 100, true);
    expect(replicas.shares()).toEqual({ share: (reading.sessions + 9 + 0) / 3, least: 0 });
  });

  it('are not taken for gone because the store was away, or this process stood still', async () => {
    const { replicas, stalls } = replicaOn(store, clock, 'one');
    const { replicas: two } = replicaOn(store, clock, 'two');
    await follow(replicas);
    await two.beat();
    clock.advance(1_000);
    let status = { ...store.status(), available: false, sinceMs: clock.wallMs() };
    store.status = () => status;
    clock.advance(60_000);
    expect(replicas.isAlive('two'), 'while the store is away').toBe(true);
    status = { ...status, available: true, sinceMs: clock.wallMs() };
    clock.advance(9_000);
    expect(replicas.isAlive('two'), 'when it may speak again').toBe(true);
    clock.advance(1_100);
    expect(replicas.isAlive('two'), 'silent although the store is back').toBe(false);
    await two.beat();
    clock.advance(20_000);
    stalls.ms = 15_000;
    expect(replicas.isAlive('two'), 'after a stall of our own').toBe(true);
  });

  it('are taken for gone also when the clock of this machine was set back', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    await follow(replicas);
    await replicaOn(store, clock, 'two').replicas.beat();
    await replicas.beat();
    clock.advance(1_000);
    clock.setWall(clock.wallMs() - 7_200_000);
    clock.advance(10_000);
    expect(replicas.isAlive('two')).toBe(false);
  });

  it('judge by when they heard, not by clocks that may be hours off', async () => {
    const { replicas } = replicaOn(store, clock, 'one');
    await follow(replicas);
    const off = new FakeClock({ wallMs: clock.wallMs() + 7_200_000 });
    await replicaOn(store, off, 'two').replicas.beat();
    clock.advance(1_000);
    expect(replicas.all()[1]).toMatchObject({ id: 'two', age: { seconds: 1n } });
  });

  it('warn once of another one with the same id', async () => {
    const { replicas, errors } = replicaOn(store, clock, 'one');
    await follow(replicas);
    clock.advance(5);
    const { replicas: twin } = replicaOn(store, clock, 'one');
    for (let beat = 0; beat < 3; beat += 1) {
      await replicas.beat();
      await twin.beat();
    }
    expect(errors).toHaveLength(1);
  });
});

describe('the system status', () => {
  let rig: Awaited<ReturnType<typeof startFigures>>;
  let fleet: TestFleet;
  let self: SelfReading;
  let services: ServiceStatus[];
  let sinks: AlertSink[] = [];
  beforeEach(async () => {
    rig = await startFigures();
    fleet = rig.fleet;
    self = { ...reading };
    services = [];
    sinks = [];
  });
  afterEach(() => fleet.stop());

  const readerOf = () => {
    const { replicas } = replicaOn(fleet.store, fleet.clock, 'replica-1', () => self);
    return new SystemStatusReader({
      config: fleet.config,
      version: '1.2.3',
      clock: fleet.clock,
      store: fleet.store,
      figures: rig.figures,
      analysedMs: () => rig.analysedMs(),
      verdicts: fleet.verdicts,
      outlook: fleet.outlook,
      mailboxes: fleet.mailboxes,
      directory: fleet.directory,
      replicas,
      services: () => services,
      sinks: () => sinks,
      alerts: () => [],
      commitP99Ms: () => 3,
    });
  };
  const read = (namespace = '') => readerOf().read(namespace);

  it('is OK without agents, and makes no figures up', () => {
    const { state, reasons, fleet: counted, version } = read();
    expect([state, reasons, version]).toEqual([SystemStatus_State.OK, [], '1.2.3']);
    expect(counted).toMatchObject({ agents: 0, byLiveness: [], byPhase: [] });
    expect([counted?.health, counted?.load, counted?.rttP50]).toEqual([undefined, undefined, undefined]);
  });

  it('names the namespaces that have agents, whichever is asked for', async () => {
    expect(read().namespaces).toEqual([]);
    const caller = { principal: 'operator', token: undefined };
    for (const namespace of ['ns-b', 'ns-a'])
      await fleet.agents.register(create(RegisterAgentRequestSchema, { namespace, agentId: 'a' }), caller);
    expect(read('ns-a').namespaces).toEqual(['ns-a', 'ns-b']);
    const gone = create(DeregisterAgentRequestSchema, { namespace: 'ns-a', agentId: 'a' });
    await fleet.agents.deregister(gone, caller);
    expect(read().namespaces).toEqual(['ns-b']);
  });

  it('says which sink takes nothing, once that is no passing trouble', () => {
    const sink = (failures: number) =>
      create(AlertSinkSchema, {
        name: 'oncall',
        kind: 'webhook',
        healthy: false,
        failures,
        error: 'answered 500',
      });
    sinks = [sink(2)];
    expect(read()).toMatchObject({
      state: SystemStatus_State.OK,
      sinks: [{ name: 'oncall', healthy: false }],
    });
    sinks = [sink(3)];
    expect(read().reasons).toEqual(['sink oncall takes nothing: answered 500']);
  });

  it('says where automatic action is frozen and where a mass failure holds it back, and counts what waits in mailboxes', async () => {
    const members = await attachMany(fleet, 6);
    await fleet.tend();
    await setAutomation(fleet, { enabled: false, reason: 'maintenance' });
    cutOff(fleet, members);
    await live(fleet, 1);
    const status = read();
    expect(status).toMatchObject({
      state: SystemStatus_State.DEGRADED,
      brakes: [{ namespace: 'default', failing: 6, agents: 6 }],
      freezes: [{ namespace: 'default', reason: 'maintenance' }],
      pendingDeliveries: 0,
    });
    const said = status.reasons.join('\n');
    expect(said).toContain('mass failure: 6 of 6 agents');
    expect(said).toContain('frozen by operator: maintenance');
    expect(read('other')).toMatchObject({ brakes: [], freezes: [] });
  });

  it('counts agents by liveness and phase, and leaves those that are not expected out of the health', async () => {
    await fleet.register('never');
    const { session: gone } = await fleet.attach('left', await fleet.register('left'));
    await fleet.sessions.left(gone, '');
    const { session } = await fleet.attach('well', await fleet.register('well'));
    session.heartbeat(0, 0, undefined, create(ReportSchema, { load: 0.25 }));
    const { state, fleet: counted } = read();
    expect(counted?.byLiveness.map(({ liveness, count }) => [liveness, count])).toEqual([
      [Agent_Liveness.NEVER_SEEN, 1],
      [Agent_Liveness.CONNECTED, 1],
      [Agent_Liveness.LEFT, 1],
    ]);
    expect(counted?.byPhase.map(({ phase, count }) => [phase, count])).toEqual([
      [Agent_Phase.REGISTERED, 1],
      [Agent_Phase.ACTIVE, 2],
    ]);
    expect([state, counted?.health, counted?.load]).toEqual([SystemStatus_State.OK, 1, 0.25]);
    expect(read('elsewhere').fleet?.agents).toBe(0);
  });

  it('is DEGRADED with a reason for each thing to look at', async () => {
    const { session } = await fleet.attach('busy', await fleet.register('busy'), { answers: true });
    session.heartbeat(0, 0, undefined, create(ReportSchema, { load: 7 }));
    const { session: lost } = await fleet.attach('lost', await fleet.register('lost'));
    fleet.sessions.lost(lost, 'broke');
    await fleet.pass(31_000);
    await fleet.settle();
    self.eventLoopDelayMaxMs = 700;
    session.heartbeat(0, 0, undefined, undefined);
    const { state, reasons } = read();
    expect(state).toBe(SystemStatus_State.DEGRADED);
    expect(reasons).toHaveLength(4);
    expect(reasons.join('\n')).toMatch(
      /1 of 2 agents are lost[\s\S]*health [\d.]+ is below 0.9[\s\S]*load 1.00 is above 0.8[\s\S]*stood still for 700 ms/,
    );
  });

  it('shows the figures that have thresholds, says which resource is used too much, and when all was analysed', async () => {
    const token = await fleet.register('a', { capacity: { slots: 4n, gpu: 2n } });
    const { session } = await fleet.attach('a', token, { answers: true });
    report(session, 0.5, { gpu: 2n, slots: 1n });
    expect(read().analysedTime).toBeUndefined();
    rig.sweep();
    const status = read();
    expect(status.readings.map(({ metric, resource, value }) => [metric + resource, value])).toEqual([
      ['system_load', 0.5],
      ['agent_health', 1],
      ['resource_usagegpu', 1],
      ['resource_usageslots', 0.25],
      ['communication_latency', undefined],
    ]);
    expect(status.reasons).toEqual(['usage of gpu 1.00 is above 0.7']);
    expect(status.fleet).toMatchObject({ load: 0.5, health: 1 });
    expect(status.analysedTime).toEqual(timestampFromMs(fleet.clock.wallMs()));
    expect(read('elsewhere').readings.map(({ value }) => value)).toEqual([undefined, undefined, undefined]);
  });

  it('shows the system services, and is DEGRADED while one is down or slow, not while nothing is known', () => {
    const { OK, SLOW, DOWN, STALE, UNSPECIFIED } = ServiceStatus_State;
    const details = { [DOWN]: 'refuses connections', [SLOW]: 'took 900 ms to answer' } as Record<
      number,
      string
    >;
    services = [OK, SLOW, DOWN, STALE, UNSPECIFIED].map((state) =>
      create(ServiceStatusSchema, { name: `s${state}`, state, detail: details[state] ?? 'x' }),
    );
    const status = read();
    expect(status.services).toEqual(services);
    expect([status.state, status.reasons]).toEqual([
      SystemStatus_State.DEGRADED,
      [
        `service s${SLOW} is slow: it took 900 ms to answer`,
        `service s${DOWN} is down: it refuses connections`,
      ],
    ]);
  });

  it('is CRITICAL while the store is away, counts the verdicts that wait, and still answers', async () => {
    const { session } = await fleet.attach('a1', await fleet.register('a1'));
    fleet.store.faults.away = true;
    fleet.sessions.lost(session, 'broke');
    const { state, reasons, store, fleet: counted } = read();
    expect(state).toBe(SystemStatus_State.CRITICAL);
    expect(reasons[0]).toContain('the store is away');
    expect([store?.available, store?.pendingVerdicts]).toEqual([false, 1]);
    expect(counted?.byLiveness).toMatchObject([{ liveness: Agent_Liveness.DISCONNECTED, count: 1 }]);
  });
});
