import { describe, expect, it } from 'vitest';
import { Rebalancing, type Shares, sendOn } from '../../../src/domain/agent/rebalancing.ts';
import { FakeClock } from '../../support/fake-clock.ts';

describe('what is sent on in a second', () => {
  it.each([
    [0, 0, 0],
    [1000, 1000, 0],
    [1000, 950, 0], // within a tenth
    [1000, 500, 25],
    [1000, 990.5, 0],
    [2, 1, 1],
    [2, 1.5, 0], // would only change places
    [1, 0.5, 0],
  ])('%d sessions where the share is %d: %d', (held, share, wanted) => {
    expect(sendOn(held, share)).toBe(wanted);
  });
});

/** Moves what is allowed each second; `lands` says how many of them arrive at the emptiest replica. */
function run(options: { held: number[]; seconds: number; lands: (moved: number) => number }) {
  const clock = new FakeClock();
  const held = [...options.held];
  const rebalancing = new Rebalancing({
    clock,
    held: () => held[0] ?? 0,
    shares: (): Shares | undefined =>
      held.length < 2
        ? undefined
        : { share: held.reduce((sum, count) => sum + count, 0) / held.length, least: Math.min(...held) },
  });
  let moves = 0;
  for (let second = 0; second < options.seconds; second += 1) {
    let moved = 0;
    while (moved < 1_000 && rebalancing.take()) moved += 1;
    moves += moved;
    const landed = options.lands(moved);
    const last = held.length - 1;
    held[0] = (held[0] ?? 0) - landed;
    held[last] = (held[last] ?? 0) + landed;
    clock.advance(1_000);
  }
  return { held, moves };
}

describe('a replica that holds more than its share', () => {
  it('fills an empty one within minutes and then leaves everybody alone', () => {
    const filled = run({ held: [1500, 0], seconds: 120, lands: (moved) => moved });
    expect(filled.held[1]).toBeGreaterThan(1500 / 2 / 1.12);
    const before = filled.moves;
    expect(run({ held: filled.held, seconds: 600, lands: (moved) => moved }).moves).toBeLessThan(10);
    expect(before).toBeLessThanOrEqual(750);
  });

  it('stops for a while when agents do not go where the room is', () => {
    const { moves } = run({ held: [1000, 0], seconds: 590, lands: () => 0 });
    expect(moves).toBeGreaterThan(0);
    expect(moves).toBeLessThanOrEqual(11 * 25);
  });

  it('tries again after that', () => {
    const once = run({ held: [1000, 0], seconds: 590, lands: () => 0 }).moves;
    expect(run({ held: [1000, 0], seconds: 630, lands: () => 0 }).moves).toBe(2 * once);
  });

  it('moves nobody when it is alone', () => {
    expect(run({ held: [1000], seconds: 10, lands: (moved) => moved }).moves).toBe(0);
  });
});
