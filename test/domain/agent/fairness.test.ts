import { describe, expect, it } from 'vitest';
import { Agent_Liveness } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { seededRandom } from '../../support/fake-clock.ts';
import { type Delay, normal, Simulation } from './session-fixture.ts';

const AGENTS = 1_000;

/** Lets a thousand agents that are all alive answer until so many round trips were measured. */
function liveFleet(roundTrips: number, delayOf: (random: () => number) => Delay) {
  const simulation = new Simulation();
  simulation.fleet = AGENTS;
  simulation.keepPings = false;
  const random = seededRandom(20_260_115);
  for (let index = 0; index < AGENTS; index += 1) simulation.attach(`a${index}`, delayOf(random), random());
  while (simulation.metrics.rtts < roundTrips) simulation.run(60_000);
  const count = (liveness: Agent_Liveness) =>
    simulation.judged.filter((judged) => judged.liveness === liveness).length;
  return {
    suspects: count(Agent_Liveness.SUSPECT),
    lost: count(Agent_Liveness.LOST),
    perRoundTrip: simulation.pingCount / simulation.metrics.rtts,
  };
}

const logNormal = (medianMs: number, sigma: number) => (random: () => number) => () =>
  medianMs * Math.exp(sigma * normal(random));

describe('agents that are alive', () => {
  it('are hardly ever suspected over a million round trips with a heavy tail, and never lost', () => {
    const heavy = (random: () => number): Delay => {
      const usual = logNormal(30, 0.5)(random);
      return () => (random() < 0.01 ? 2_000 : usual());
    };
    const started = performance.now();
    const { suspects, lost, perRoundTrip } = liveFleet(1_000_000, heavy);
    expect(suspects).toBeLessThanOrEqual(10);
    expect(lost).toBe(0);
    expect(perRoundTrip).toBeLessThan(1.02);
    expect(performance.now() - started).toBeLessThan(15_000);
  }, 30_000);

  it.each<[string, (random: () => number) => Delay, number]>([
    ['on a link of 2 s', () => () => 2_000, 1.01],
    ['on a link of 2 s that varies by a half', (random) => () => 1_500 + 1_000 * random(), 1.1],
    ['on a jittery link of 20 to 400 ms', (random) => () => 20 + 380 * random(), 1.3],
    ['on a jittery link, log-normal around 200 ms', logNormal(200, 0.5), 1.3],
  ])(
    '%s are suspected at most once in 100,000 round trips, and not pinged much more often',
    (_, delayOf, most) => {
      const { suspects, lost, perRoundTrip } = liveFleet(100_000, delayOf);
      expect(suspects).toBeLessThanOrEqual(1);
      expect(lost).toBe(0);
      expect(perRoundTrip).toBeLessThan(most);
    },
  );
});
