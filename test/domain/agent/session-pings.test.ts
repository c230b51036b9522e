import { create } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { ReportSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { seededRandom } from '../../support/fake-clock.ts';
import { Simulation } from './session-fixture.ts';

const livenesses = (simulation: Simulation) => simulation.judged.map(({ liveness }) => liveness);

describe('the pings of a session', () => {
  it('to a steady agent are exactly one an interval', () => {
    const simulation = new Simulation();
    simulation.attach('steady', () => 30);
    simulation.run(10_000);
    const before = simulation.pingCount;
    simulation.run(600_000);
    expect(simulation.pingCount - before).toBe(120);
    expect(simulation.metrics.rtts).toBe(simulation.pingCount);
    expect(simulation.metrics.missed).toBe(0);
  });

  it('begin soon after the attachment, so that a round trip is known', () => {
    const simulation = new Simulation();
    for (const phase of [0, 0.5, 0.999]) simulation.attach(`agent-${phase}`, () => 30, phase);
    simulation.run(300);
    expect(simulation.metrics.rtts).toBe(3);
  });

  it('come sooner when an answer is late, and fall back to the interval with the answer', () => {
    const simulation = new Simulation();
    let slow = false;
    simulation.attach('agent', () => (slow ? 700 : 30));
    simulation.run(60_000);
    slow = true;
    const before = simulation.pings.length;
    simulation.run(5_000);
    slow = false;
    const during = simulation.pings.slice(before).map(({ atMs }) => atMs);
    expect(during.length).toBeGreaterThanOrEqual(3);
    expect((during[1] ?? 0) - (during[0] ?? 0)).toBeLessThanOrEqual(520);
    simulation.run(5_000);
    const after = simulation.pingCount;
    simulation.run(60_000);
    expect(simulation.pingCount - after).toBe(12);
    expect(livenesses(simulation)).toEqual([]);
  });

  it.each([
    ['at once', 0],
    ['after all have been pinged once', 30_000],
  ])('of a thousand sessions that began together are spread evenly over the interval %s', (_, waitMs) => {
    const simulation = new Simulation();
    simulation.fleet = 1_000;
    const random = seededRandom(7);
    for (let index = 0; index < 1_000; index += 1) simulation.attach(`a${index}`, () => 20, random());
    simulation.run(10_000 + waitMs);
    expect(busiestShare(simulation)).toBeLessThan(4);
  });

  it('are spread as before when this process has stood still for several intervals', () => {
    const simulation = new Simulation();
    simulation.fleet = 1_000;
    const random = seededRandom(7);
    for (let index = 0; index < 1_000; index += 1) simulation.attach(`a${index}`, () => 20, random());
    simulation.run(20_000);
    simulation.stall(20_000);
    simulation.run(20_000);
    expect(busiestShare(simulation)).toBeLessThan(4);
    expect(livenesses(simulation)).toEqual([]);
  });

  it('become rarer as the fleet grows, and tell the longer lease', () => {
    const simulation = new Simulation({ maxPingsPerSecond: 100 });
    const { session } = simulation.attach('agent', () => 30);
    simulation.run(20_000);
    expect(simulation.pings.some(({ leaseMs }) => leaseMs !== undefined)).toBe(false);
    simulation.fleet = 2_000;
    simulation.run(60_000);
    expect(
      simulation.pings.filter(({ leaseMs }) => leaseMs !== undefined).map(({ leaseMs }) => leaseMs),
    ).toEqual([60_000]);
    expect(session.leaseMs).toBe(60_000);
    const before = simulation.pingCount;
    simulation.run(200_000);
    expect(simulation.pingCount - before).toBe(10);
  });

  it('hold the agent to the old lease until it could hear of the new one', () => {
    const simulation = new Simulation({ maxPingsPerSecond: 100 });
    const { session, line } = simulation.attach('agent', () => 30);
    simulation.run(10_000);
    simulation.fleet = 2_000;
    line.blockedSinceMs = simulation.clock.monoMs();
    simulation.run(6_000);
    expect(simulation.pings.at(-1)?.leaseMs).toBe(60_000);
    expect(session.leaseMs).toBe(30_000);
    line.blockedSinceMs = undefined;
    simulation.run(40_000);
    expect(session.leaseMs).toBe(60_000);
  });

  it('ask for the whole report once, and not at all of an agent that reported in hello', () => {
    const simulation = new Simulation();
    simulation.attach('agent', () => 30, 0.9);
    const { session } = simulation.attach('reporter', () => 30, 0.9);
    session.heartbeat(0, 0, undefined, create(ReportSchema, { activity: 'idle' }));
    simulation.run(30_000);
    expect(simulation.pings.filter(({ fullReport }) => fullReport).map(({ agentId }) => agentId)).toEqual([
      'agent',
    ]);
    expect(simulation.pings[0]?.fullReport || simulation.pings[1]?.fullReport).toBe(true);
  });
});

/** The most pings in one tick of the last interval, as a multiple of an even spread. */
function busiestShare(simulation: Simulation): number {
  const perTick = new Map<number, number>();
  const sinceMs = simulation.clock.monoMs() - 5_000;
  const last = simulation.pings.filter(({ atMs }) => atMs > sinceMs);
  expect(last.length).toBeGreaterThan(950);
  for (const { atMs } of last) {
    const window = Math.floor(atMs / 100);
    perTick.set(window, (perTick.get(window) ?? 0) + 1);
  }
  return Math.max(...perTick.values()) / (last.length / 50);
}
