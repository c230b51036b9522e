import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { Agent_Liveness, ReportSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { durationFromMs, msFromDuration } from '../../../src/lib/proto-time.ts';
import { Simulation } from './session-fixture.ts';

const { CONNECTED, SUSPECT, LOST } = Agent_Liveness;
const NONE = durationFromMs(0);
const livenesses = (simulation: Simulation) => simulation.judged.map(({ liveness }) => liveness);

describe('a silent agent', () => {
  it.each([
    ['whose link took 5 ms', 5],
    ['whose link took 30 ms', 30],
    ['whose link took 200 ms', 200],
  ])('%s is SUSPECT within an interval and 1.5 s, and LOST at the lease', (_, rttMs) => {
    for (const diesAfterMs of [60_000, 61_111, 62_500, 64_000]) {
      const simulation = new Simulation();
      let dead = false;
      const { session } = simulation.attach('agent', () => (dead ? undefined : rttMs));
      simulation.run(diesAfterMs);
      dead = true;
      const diedMs = simulation.clock.monoMs();
      const { lastHeardMs } = session;
      simulation.run(40_000);
      const [suspect, lost, ...more] = simulation.judged;
      expect([suspect?.liveness, lost?.liveness]).toEqual([SUSPECT, LOST]);
      expect(more).toEqual([]);
      expect((suspect?.atMs ?? 0) - diedMs).toBeLessThanOrEqual(5_000 + 1_500 + 20);
      expect(Math.abs((lost?.atMs ?? 0) - lastHeardMs - 30_000)).toBeLessThanOrEqual(1_000);
      expect(simulation.ended.map(({ reason }) => reason)).toEqual([GoAway_Reason.LOST]);
      expect(msFromDuration(lost?.verdict.silence ?? NONE)).toBeGreaterThanOrEqual(30_000);
    }
  });

  it('that never answered at all is SUSPECT and LOST as well', () => {
    const simulation = new Simulation();
    simulation.attach('agent', () => undefined);
    simulation.run(32_000);
    expect(livenesses(simulation)).toEqual([SUSPECT, LOST]);
  });

  it.each([1_000, 3_000, 10_000])(
    'is SUSPECT before it is LOST under a lease of %d ms as well',
    (leaseMs) => {
      for (const rttMs of [undefined, 5, 250]) {
        const simulation = new Simulation({ leaseMs, pingIntervalMs: leaseMs / 10 });
        let dead = rttMs === undefined;
        simulation.attach('agent', () => (dead ? undefined : rttMs));
        simulation.run(leaseMs * 2);
        dead = true;
        simulation.run(leaseMs * 2);
        expect(livenesses(simulation)).toEqual([SUSPECT, LOST]);
      }
    },
  );

  it('is SUSPECT only when two probes after the first ping are unanswered, with its evidence', () => {
    const simulation = new Simulation();
    let dead = false;
    simulation.attach('agent', () => (dead ? undefined : 30));
    simulation.run(60_000);
    dead = true;
    const before = simulation.pings.length;
    while (simulation.judged.length === 0) simulation.run(20);
    expect(simulation.pings.length - before).toBeGreaterThanOrEqual(3);
    const [suspect] = simulation.judged;
    expect(suspect?.verdict.rule).toBe('phi');
    expect(suspect?.verdict.unansweredProbes).toBeGreaterThanOrEqual(3);
    expect(suspect?.verdict.phi).toBeGreaterThanOrEqual(5);
    expect(suspect?.verdict.sampleMs).toHaveLength(13);
  });

  it('is CONNECTED again with an answer, not with an unprompted heartbeat', () => {
    const simulation = new Simulation();
    let dead = false;
    const { session } = simulation.attach('agent', () => (dead ? undefined : 30));
    simulation.run(60_000);
    dead = true;
    simulation.run(10_000);
    expect(livenesses(simulation)).toEqual([SUSPECT]);
    session.heartbeat(0, 0, undefined, create(ReportSchema));
    session.heartbeat(987_654, 0, undefined, undefined);
    simulation.run(500);
    expect(livenesses(simulation)).toEqual([SUSPECT]);
    dead = false;
    simulation.run(1_500);
    expect(livenesses(simulation)).toEqual([SUSPECT, CONNECTED]);
    expect(simulation.judged.at(-1)?.verdict.rule).toBe('answered');
  });

  it('keeps its lease by unprompted heartbeats', () => {
    const simulation = new Simulation();
    const { session } = simulation.attach('agent', () => undefined);
    for (let second = 0; second < 120; second += 10) {
      simulation.run(10_000);
      session.heartbeat(0, 0, undefined, undefined);
    }
    expect(livenesses(simulation)).toEqual([SUSPECT]);
    simulation.run(31_000);
    expect(livenesses(simulation)).toEqual([SUSPECT, LOST]);
  });

  it('is not judged LOST while the store is away, but is soon after it is back', () => {
    const simulation = new Simulation();
    simulation.attach('agent', () => undefined);
    simulation.run(10_000);
    simulation.self.storeIsAvailable = false;
    simulation.run(120_000);
    expect(livenesses(simulation)).toEqual([SUSPECT]);
    simulation.self.storeIsAvailable = true;
    simulation.run(1_100);
    expect(livenesses(simulation)).toEqual([SUSPECT, LOST]);
  });
});

describe('an own stall', () => {
  it('of 20 s makes no verdict, and no round trip is taken from it', () => {
    const simulation = new Simulation();
    const { session } = simulation.attach('agent', () => 30);
    simulation.run(60_000);
    for (let round = 0; round < 20; round += 1) {
      simulation.stall(20_000);
      simulation.run(5_000 + round * 37);
    }
    expect(simulation.judged).toEqual([]);
    expect(session.roundTrips.summary()?.p99Ms).toBe(30);
    expect(session.probes.missed).toBeLessThanOrEqual(20);
  });

  it('lengthens the lease of an agent that is silent by its own length', () => {
    const simulation = new Simulation();
    let dead = false;
    const { session } = simulation.attach('agent', () => (dead ? undefined : 30));
    simulation.run(60_000);
    dead = true;
    const { lastHeardMs } = session;
    simulation.run(8_000);
    simulation.stall(20_000);
    while (!livenesses(simulation).includes(LOST)) simulation.run(100);
    expect(Math.abs(simulation.clock.monoMs() - lastHeardMs - 50_000)).toBeLessThanOrEqual(1_000);
    expect(msFromDuration(simulation.judged.at(-1)?.verdict.observer?.ownStall ?? NONE)).toBe(20_000);
  });
});

describe('what is not the fault of the agent', () => {
  it('is a sender that is not ready between two polls: no probe, no suspicion, until the lease', () => {
    const simulation = new Simulation();
    const { session, line } = simulation.attach('agent', () => undefined);
    line.isReady = false;
    simulation.run(29_000);
    expect(simulation.judged).toEqual([]);
    expect(simulation.pings).toEqual([]);
    line.isReady = true;
    session.senderReady();
    expect(simulation.pings).toHaveLength(1);
    line.isReady = false;
    simulation.run(2_000);
    expect(livenesses(simulation)).toEqual([LOST]);
  });

  it('ends the session, without a verdict on its silence, when it does not read', () => {
    const simulation = new Simulation();
    const { line } = simulation.attach('agent', () => undefined);
    line.blockedSinceMs = simulation.clock.monoMs();
    simulation.run(9_900);
    expect(simulation.ended).toEqual([]);
    simulation.run(1_200);
    expect(simulation.ended.map(({ reason }) => reason)).toEqual([GoAway_Reason.SLOW]);
    expect(simulation.metrics.cutOff).toEqual(['slow']);
  });
});

describe('the progress of a session', () => {
  const report = (activity: string, done: number) =>
    create(ReportSchema, { activity, progress: [{ name: 'rows', done: BigInt(done) }] });

  it('is judged by the budget of its activity, once each time it stops or goes on', () => {
    const simulation = new Simulation();
    simulation.budgets.set('scan', 12_000);
    const { session } = simulation.attach('agent', () => 30);
    session.heartbeat(0, 0, undefined, report('scan', 1));
    simulation.run(11_000);
    expect(simulation.progress).toEqual([]);
    simulation.run(60_000);
    expect(simulation.progress.map(({ stuck }) => stuck)).toEqual([true]);
    session.heartbeat(0, 0, undefined, report('scan', 2));
    simulation.run(6_000);
    expect(simulation.progress.map(({ stuck }) => stuck)).toEqual([true, false]);
    session.heartbeat(0, 0, undefined, report('wait', 2));
    simulation.run(600_000);
    expect(simulation.progress).toHaveLength(2);
  });

  it('does not count the time in which this process stood still', () => {
    const simulation = new Simulation();
    simulation.budgets.set('scan', 12_000);
    const { session } = simulation.attach('agent', () => 30);
    session.heartbeat(0, 0, undefined, report('scan', 1));
    simulation.run(3_000);
    simulation.stall(60_000);
    simulation.run(5_500);
    expect(simulation.progress).toEqual([]);
    simulation.run(10_000);
    expect(simulation.progress.map(({ stuck }) => stuck)).toEqual([true]);
  });
});

describe('a round trip', () => {
  it('is measured without the delay that the agent admits to, and never below nothing', () => {
    const simulation = new Simulation();
    const { session } = simulation.attach('agent', () => undefined);
    simulation.run(120);
    const sentMs = simulation.pings[0]?.atMs ?? 0;
    simulation.clock.advance(200);
    session.heartbeat(1, 150, undefined, undefined);
    expect(session.roundTrips.summary()?.lastMs).toBeCloseTo(simulation.clock.monoMs() - sentMs - 150, 3);
    simulation.run(6_000);
    session.heartbeat(2, 86_400_000, undefined, undefined);
    expect(session.roundTrips.summary()?.lastMs).toBe(0);
  });
});
