import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge, type Standing } from '../../../../src/domain/monitoring/alerts/judge.ts';

const rule = {
  below: false,
  threshold: 0.8,
  clear: 0.7,
  forMs: 10_000,
  clearForMs: 30_000,
  noData: 'keep' as 'keep' | 'fire',
};
const pending = (given: Partial<Standing> = {}): Standing => ({
  ...{
    fired: false,
    heldMs: 0,
    clearMs: undefined,
    noData: false,
    gapMs: 0,
    flapping: false,
    byNoData: false,
  },
  ...given,
});
const firing = (given: Partial<Standing> = {}): Standing =>
  pending({ fired: true, heldMs: 60_000, ...given });

describe('a figure is judged', () => {
  it.each([
    ['nothing crossed', undefined, 0.8, {}, 'none'],
    ['crossed, with a time to wait', undefined, 0.81, {}, 'pending'],
    ['crossed, without one', undefined, 0.81, { forMs: 0 }, 'firing'],
    ['nothing known', undefined, undefined, {}, 'none'],
    ['nothing known is no number', undefined, Number.NaN, {}, 'none'],
    ['nothing known, which fires', undefined, undefined, { noData: 'fire' }, 'pending'],
    ['nothing known, which fires at once', undefined, undefined, { noData: 'fire', forMs: 0 }, 'firing'],
    ['crossed for less than its time', pending({ heldMs: 9_999 }), 0.9, {}, 'pending'],
    ['crossed for its time', pending({ heldMs: 10_000 }), 0.9, {}, 'firing'],
    ['pending, and not crossed any more', pending({ heldMs: 9_000 }), 0.8, {}, 'none'],
    ['pending without data, however long', pending({ heldMs: 99_000 }), undefined, {}, 'pending'],
    [
      'pending without data, which fires',
      pending({ heldMs: 10_000 }),
      undefined,
      { noData: 'fire' },
      'firing',
    ],
    ['back after a short gap', pending({ heldMs: 12_000, noData: true, gapMs: 5_000 }), 0.9, {}, 'firing'],
    ['firing between both thresholds', firing(), 0.75, {}, 'firing'],
    ['firing, clear for too short', firing({ clearMs: 29_999 }), 0.7, {}, 'firing'],
    ['firing, clear for long enough', firing({ clearMs: 30_000 }), 0.7, {}, 'resolved'],
    ['firing, clear without a time to wait', firing(), 0.7, { clearForMs: 0 }, 'resolved'],
    ['firing without data, however long it was clear', firing({ clearMs: 99_000 }), undefined, {}, 'firing'],
    ['flapping, clear for its time only', firing({ clearMs: 31_000, flapping: true }), 0.1, {}, 'firing'],
    ['flapping, clear for five minutes', firing({ clearMs: 300_000, flapping: true }), 0.1, {}, 'resolved'],
    [
      'flapping, five times a longer one',
      firing({ clearMs: 300_000, flapping: true }),
      0.1,
      { clearForMs: 90_000 },
      'firing',
    ],
    [
      'fired for want of data, data is back',
      firing({ byNoData: true, noData: true }),
      0.75,
      { clearForMs: 0 },
      'resolved',
    ],
    ['below, crossed', undefined, 0.89, { below: true, threshold: 0.9, clear: 0.95, forMs: 0 }, 'firing'],
    ['below, not crossed', undefined, 0.9, { below: true, threshold: 0.9, clear: 0.95, forMs: 0 }, 'none'],
    [
      'below, not yet clear',
      firing({ clearMs: 99_000 }),
      0.94,
      { below: true, threshold: 0.9, clear: 0.95 },
      'firing',
    ],
    [
      'below, clear',
      firing({ clearMs: 99_000 }),
      0.95,
      { below: true, threshold: 0.9, clear: 0.95 },
      'resolved',
    ],
  ] as const)('%s', (_, standing, value, changes, state) => {
    expect(judge(standing, value, { ...rule, ...changes }).state).toBe(state);
  });

  it('a pending one begins anew after a long gap, and a short gap does not stop its time', () => {
    const back = pending({ heldMs: 500_000, noData: true, gapMs: 61_000 });
    expect(judge(back, 0.9, rule)).toMatchObject({ state: 'pending', restarts: true });
    expect(judge({ ...back, gapMs: 60_000 }, 0.9, rule)).toMatchObject({ state: 'firing', restarts: false });
  });

  it('is never resolved, nor clear, without something to compare', () => {
    fc.assert(
      fc.property(arbitraryStanding, arbitraryRule, (standing, given) => {
        const { state, isClear } = judge(standing, undefined, given);
        expect(state).not.toBe('resolved');
        expect(isClear).toBe(false);
        if (standing !== undefined) expect(state).not.toBe('none');
      }),
    );
  });

  it('once firing, is left only by a value that is clear; what fires has crossed or had no data', () => {
    const value = fc.option(fc.double({ min: -2, max: 2, noNaN: true }), { nil: undefined });
    fc.assert(
      fc.property(arbitraryStanding, value, arbitraryRule, (standing, given, changed) => {
        const crossed =
          given !== undefined && (changed.below ? given < changed.threshold : given > changed.threshold);
        const { state } = judge(standing, given, changed);
        if (state === 'resolved') expect(standing?.fired && !crossed).toBe(true);
        if (standing?.fired === true) expect(['firing', 'resolved']).toContain(state);
        else if (state === 'firing') expect(crossed || given === undefined).toBe(true);
      }),
    );
  });
});

const ms = fc.nat({ max: 1_000_000 });
const arbitraryStanding = fc.option(
  fc.record({
    fired: fc.boolean(),
    heldMs: ms,
    clearMs: fc.option(ms, { nil: undefined }),
    noData: fc.boolean(),
    gapMs: ms,
    flapping: fc.boolean(),
    byNoData: fc.boolean(),
  }),
  { nil: undefined },
);
const arbitraryRule = fc
  .record({
    below: fc.boolean(),
    threshold: fc.double({ min: -1, max: 1, noNaN: true }),
    gap: fc.double({ min: 0, max: 0.5, noNaN: true }),
    forMs: fc.nat({ max: 100_000 }),
    clearForMs: fc.nat({ max: 100_000 }),
    noData: fc.constantFrom('keep' as const, 'fire' as const),
  })
  .map(({ gap, ...given }) => ({ ...given, clear: given.threshold + (given.below ? gap : -gap) }));
