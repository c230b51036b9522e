import { describe, expect, it } from 'vitest';
import { FairShare } from '../../../../src/domain/coordination/tasks/fair-share.ts';

/** Gives `starts` starts among owners that all always have something waiting. */
function serve(shares: FairShare, weights: Record<string, number>, starts: number): Record<string, number> {
  const counts: Record<string, number> = Object.fromEntries(Object.keys(weights).map((owner) => [owner, 0]));
  for (let start = 0; start < starts; start += 1) {
    const [owner] = Object.keys(weights).sort((a, b) => shares.clock(a) - shares.clock(b));
    if (owner === undefined) break;
    shares.charge(owner, 1, weights[owner] ?? 1);
    counts[owner] = (counts[owner] ?? 0) + 1;
  }
  return counts;
}

describe('fair shares', () => {
  it('are as the weights, over many starts and at any point on the way', () => {
    const shares = new FairShare();
    const sums = { ann: 0, bob: 0 };
    for (let round = 1; round <= 100; round += 1) {
      const { ann = 0, bob = 0 } = serve(shares, { ann: 3, bob: 1 }, 40);
      sums.ann += ann;
      sums.bob += bob;
      expect(sums.ann / sums.bob).toBeGreaterThan(3 * 0.9);
      expect(sums.ann / sums.bob).toBeLessThan(3 * 1.1);
    }
    expect(sums.ann / sums.bob).toBeCloseTo(3, 1);
  });

  it('begin for a newcomer where the others are: it neither waits for them nor has all to itself', () => {
    const shares = new FairShare();
    serve(shares, { ann: 1, bob: 1 }, 1000);
    shares.enter('new');
    const counts = serve(shares, { ann: 1, bob: 1, new: 1 }, 30);
    expect(counts.new).toBeGreaterThanOrEqual(9);
    expect(counts.new).toBeLessThanOrEqual(11);
  });

  it('give no credit to an owner that had nothing waiting', () => {
    const shares = new FairShare();
    serve(shares, { ann: 1, bob: 1 }, 10);
    serve(shares, { bob: 1 }, 500);
    shares.enter('ann');
    const counts = serve(shares, { ann: 1, bob: 1 }, 20);
    expect(counts.ann).toBeGreaterThanOrEqual(9);
    expect(counts.ann).toBeLessThanOrEqual(11);
  });

  it('are as if nothing had been when a start is taken back', () => {
    const shares = new FairShare();
    serve(shares, { ann: 1, bob: 1 }, 10);
    const before = shares.clock('ann');
    shares.charge('ann', 1, 3);
    shares.refund('ann', 1, 3);
    expect(shares.clock('ann')).toBeCloseTo(before, 9);
  });

  it('are kept for as many owners as can be, and those known for longest are forgotten first', () => {
    const shares = new FairShare();
    for (let owner = 0; owner < 30_000; owner += 1) {
      shares.enter(`o${owner}`);
      shares.charge(`o${owner}`, 1, 1);
    }
    expect(shares.clock('o1')).toBe(0);
    expect(shares.clock('o29999')).toBe(1);
  });
});
