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

describe('an age from which sessions may be moved', () => {
  it('sends them on from then, while there is room elsewhere, and none that owes an answer', () => {
    const simulation = new Simulation({ rebalanceAfterMs: 60_000 });
    let room = 0;
    simulation.mayMoveOn = () => room-- > 0;
    for (const id of ['a', 'b', 'c']) simulation.attach(id, () => 10, 0.5);
    simulation.attach('silent', () => undefined, 0.5);
    room = 1;
    simulation.run(20_000);
    expect(simulation.ended).toEqual([]);
    room = 0;
    simulation.run(50_000);
    expect(simulation.ended.filter(({ reason }) => reason === GoAway_Reason.REBALANCE)).toEqual([]);
    room = 2;
    simulation.run(6_000);
    const moved = simulation.ended.filter(({ reason }) => reason === GoAway_Reason.REBALANCE);
    expect(moved).toHaveLength(2);
    expect(moved.map(({ agentId }) => agentId)).not.toContain('silent');
    expect(simulation.judged.filter(({ agentId }) => agentId !== 'silent')).toEqual([]);
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
