import { describe, expect, it } from 'vitest';
import { clockDifference, StoreClock } from '../../../src/state/redis/store-clock.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const AT_MS = 1_800_000_000_000;

describe('the clock of the store', () => {
  it('goes by the quickest answer and is never ahead of the server', () => {
    const clock = new FakeClock();
    const time = new StoreClock({ clock });
    expect(time.nowMs()).toBeUndefined();
    const ask = (serverMs: number, tookMs: number): void => {
      const askedMs = clock.monoMs();
      clock.advance(tookMs);
      time.sample(serverMs, askedMs);
    };
    ask(AT_MS, 100);
    expect(time.nowMs()).toBe(AT_MS);
    ask(AT_MS + 150, 2);
    expect(time.nowMs()).toBe(AT_MS + 150);
    clock.advance(1_000);
    expect(time.nowMs()).toBe(AT_MS + 1_150);
  });

  it.each([
    ['behind stands still until it has caught up', -5_000, 0],
    ['ahead goes on there', 5_000, 5_000],
  ])('of a promoted server that is %s', (_, offMs, jumpMs) => {
    const clock = new FakeClock();
    const time = new StoreClock({ clock });
    time.sample(AT_MS, clock.monoMs());
    clock.advance(3_000);
    time.reset();
    time.sample(AT_MS + 3_000 + offMs, clock.monoMs());
    expect(time.nowMs()).toBe(AT_MS + 3_000 + jumpMs);
    clock.advance(6_000);
    expect(time.nowMs()).toBe(AT_MS + 9_000 + offMs);
  });

  it('is told of when it differs from the one before, or from ours', () => {
    const fine = { timeMs: AT_MS, expectedMs: AT_MS + 1_000, wallMs: AT_MS - 30_000 };
    expect(clockDifference(fine)).toBeUndefined();
    expect(clockDifference({ ...fine, expectedMs: undefined })).toBeUndefined();
    expect(clockDifference({ ...fine, expectedMs: AT_MS + 9_000 })).toMatchObject({ step_ms: -9_000 });
    expect(clockDifference({ ...fine, wallMs: AT_MS + 70_000 })).toMatchObject({ skew_ms: -70_000 });
  });
});
