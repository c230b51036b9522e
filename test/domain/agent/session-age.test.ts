import { describe, expect, it } from 'vitest';
import { GoAway_Reason } from '../../../gen/mycosoft/orchestrator/agent/v1/session_service_pb.ts';
import { Simulation } from './session-fixture.ts';

describe('a maximum age of sessions', () => {
  it('sends agents on after about that time, spread over a fifth of it, without a verdict', () => {
    const simulation = new Simulation({ maxAgeMs: 600_000 });
    for (const phase of [0, 0.5, 0.99]) simulation.attach(`p${phase}`, () => 10, phase);
    simulation.run(530_000);
    expect(simulation.ended).toEqual([]);
    simulation.run(140_000);
    expect(simulation.ended.map(({ agentId, reason }) => [agentId, reason])).toEqual([
      ['p0', GoAway_Reason.REBALANCE],
      ['p0.5', GoAway_Reason.REBALANCE],
      ['p0.99', GoAway_Reason.REBALANCE],
    ]);
    expect(simulation.judged).toEqual([]);
  });

  it('of 0 keeps them for ever', () => {
    const simulation = new Simulation();
    simulation.attach('a', () => 10);
    simulation.run(700_000);
    expect(simulation.ended).toEqual([]);
  });
});

describe('the whole report', () => {
  it('is asked for again when the first ping had to wait for a client that does not read', () => {
    const simulation = new Simulation();
    const { line } = simulation.attach('a', () => undefined);
    line.blockedSinceMs = 0;
    simulation.run(3_000);
    line.blockedSinceMs = undefined;
    simulation.run(3_000);
    const asked = simulation.pings.map(({ fullReport }) => fullReport);
    expect(asked.slice(0, 2)).toEqual([true, true]);
    expect(asked.at(-1)).toBe(false);
  });
});
