import { describe, expect, it } from 'vitest';
import { judgeUsage, QUIET_MS } from '../../../../src/domain/resource/watch/usage-rules.ts';
import { usageMark } from '../../../../src/domain/resource/watch/watch-marks.ts';

const thresholds = { high: 1.2, low: 0.1 };
const at = (storeMs: number, used: number, before?: Parameters<typeof judgeUsage>[0]) =>
  judgeUsage(before, { used, reserved: 100, storeMs }, thresholds);

describe('usage of what is reserved', () => {
  it.each([
    [0, 'below'],
    [9, 'below'],
    [10, undefined],
    [100, undefined],
    [120, undefined],
    [121, 'above'],
  ])('%s of 100 is told as %s', (used, tell) => {
    expect(at(1000, used).tell).toBe(tell);
  });

  it('is told once while it swings about the threshold, and again only when it was back half the way', () => {
    let mark: Parameters<typeof judgeUsage>[0];
    const told: number[] = [];
    const swings = [130, 119, 125, 111, 130, 105, 130];
    for (const [index, used] of swings.entries()) {
      const decision = at(1000 + index * QUIET_MS, used, mark);
      mark = decision.mark;
      if (decision.tell !== undefined) told.push(index);
    }
    expect(told).toEqual([0, 6]);
  });

  it('is told at most every five minutes, also when it was back in between', () => {
    const first = at(1000, 130);
    const back = at(2000, 100, first.mark);
    expect(back.mark).toBeDefined();
    const early = at(1000 + QUIET_MS - 1, 130, back.mark);
    expect(early.tell).toBeUndefined();
    // What was kept back is told as soon as it may be.
    expect(at(1000 + QUIET_MS, 130, early.mark).tell).toBe('above');
  });

  it('remembers nothing that does not matter any more', () => {
    const told = usageMark({ aboveToldMs: 1000n });
    expect(at(1000 + QUIET_MS - 1, 100, told).mark).toBeDefined();
    expect(at(1000 + QUIET_MS, 100, told).mark).toBeUndefined();
  });

  it('above and below do not keep each other back', () => {
    const low = at(1000, 5);
    expect(at(2000, 150, low.mark).tell).toBe('above');
  });

  it('with a low of 0 is never too little', () => {
    const reading = { used: 0, reserved: 100, storeMs: 1 };
    expect(judgeUsage(undefined, reading, { high: 1.2, low: 0 }).tell).toBeUndefined();
  });
});
