import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClockOffset } from '../../../src/domain/agent/clock-offset.ts';
import { pacingFor } from '../../../src/domain/agent/pacing.ts';
import { Probes } from '../../../src/domain/agent/probes.ts';
import { RoundTrips } from '../../../src/domain/agent/round-trips.ts';
import { Silences } from '../../../src/domain/agent/silences.ts';
import {
  excuses,
  fleetSilences,
  lateAfterMs,
  ownSilences,
  phiOf,
} from '../../../src/domain/agent/suspicion.ts';

function roundTripsOf(samples: readonly number[]): RoundTrips {
  const trips = new RoundTrips();
  for (const sample of samples) trips.add(sample);
  return trips;
}

describe('round trips', () => {
  it('are smoothed and vary as RFC 6298 says, by an example computed by hand', () => {
    // R = 100: SRTT 100, RTTVAR 50. R = 60: RTTVAR 3/4·50 + 1/4·40 = 47.5, SRTT 7/8·100 + 1/8·60 = 95.
    // R = 120: RTTVAR 3/4·47.5 + 1/4·25 = 41.875, SRTT 7/8·95 + 1/8·120 = 98.125.
    const trips = roundTripsOf([100, 60, 120]);
    expect(trips.smoothedMs).toBe(98.125);
    expect(trips.variationMs).toBe(41.875);
    expect(trips.summary()).toMatchObject({ lastMs: 120, samples: 3 });
  });

  it('have no summary before the first', () => {
    expect(new RoundTrips().summary()).toBeUndefined();
    expect(new RoundTrips().recent(16)).toEqual([]);
  });

  it('have the nearest-rank quantiles of exactly the last 128, whatever came before', () => {
    const sample = fc.integer({ min: 0, max: 60_000 });
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 400 }), (samples) => {
        const trips = roundTripsOf(samples);
        const last = samples.slice(-128);
        const sorted = [...last].sort((a, b) => a - b);
        const rank = (q: number) => sorted[Math.ceil(q * sorted.length) - 1];
        expect(trips.summary()).toMatchObject({
          lastMs: last.at(-1),
          p50Ms: rank(0.5),
          p95Ms: rank(0.95),
          p99Ms: rank(0.99),
          samples: last.length,
        });
        expect(trips.recent(1_000)).toEqual(last);
        expect(trips.recent(5)).toEqual(last.slice(-5));
        const mean = last.reduce((sum, value) => sum + value, 0) / last.length;
        expect(trips.moments().mean).toBeCloseTo(mean, 6);
      }),
    );
  });

  it.each([15, 16, 17, 31, 32, 33, 64, 65, 127, 128, 129, 256])(
    'keep their order as they grow to %d',
    (count) => {
      const samples = Array.from({ length: count }, (_, index) => index + 1);
      expect(roundTripsOf(samples).recent(128)).toEqual(samples.slice(-128));
    },
  );
});

describe('the clock offset', () => {
  const HOURS = 3_600_000;
  const measure = (
    trips: { upMs: number; downMs: number; heldMs: number; told?: number }[],
    offsetMs: number,
  ) => {
    const clock = new ClockOffset();
    let sentMs = 1_700_000_000_000;
    for (const { downMs, upMs, heldMs, told } of trips) {
      // The agent reads its clock when it answers: after the way down and its own delay.
      const answeredMs = sentMs + downMs + heldMs + offsetMs;
      clock.add(sentMs, sentMs + downMs + heldMs + upMs, answeredMs, told ?? heldMs);
      sentMs += 5_000;
    }
    return clock.valueMs;
  };

  it('is unknown before the first answer', () => {
    expect(new ClockOffset().valueMs).toBeUndefined();
  });

  it.each([0, 5, -5 * HOURS, 26 * HOURS, -400 * 24 * HOURS])(
    'finds a clock that is %d ms off',
    (offsetMs) => {
      expect(measure([{ upMs: 40, downMs: 40, heldMs: 0 }], offsetMs)).toBeCloseTo(offsetMs, 3);
    },
  );

  it('takes the delay that the agent admits to off the way', () => {
    expect(measure([{ upMs: 10, downMs: 10, heldMs: 800 }], 7_200_000)).toBeCloseTo(7_200_000, 3);
  });

  it('errs by half of the asymmetry, and believes the round trip with the least delay', () => {
    expect(measure([{ upMs: 30, downMs: 10, heldMs: 0 }], 1_000)).toBeCloseTo(990, 3);
    const trips = [
      { upMs: 900, downMs: 10, heldMs: 0 },
      { upMs: 10, downMs: 12, heldMs: 0 },
      { upMs: 10, downMs: 700, heldMs: 0 },
    ];
    expect(measure(trips, 1_000)).toBeCloseTo(1_001, 3);
  });

  it('forgets a good round trip after eight others, so that drift is followed', () => {
    const worse = Array.from({ length: 8 }, () => ({ upMs: 30, downMs: 10, heldMs: 0 }));
    expect(measure([{ upMs: 1, downMs: 1, heldMs: 0 }, ...worse.slice(1)], 0)).toBeCloseTo(0, 3);
    expect(measure([{ upMs: 1, downMs: 1, heldMs: 0 }, ...worse], 0)).toBeCloseTo(-10, 3);
  });
});

describe('probes', () => {
  it('settle older ones with a newer answer, count these as missed, and take each answer once', () => {
    const probes = new Probes();
    const [first, second, third] = [probes.sent(10), probes.sent(20), probes.sent(30)];
    expect(probes.answered(second ?? 0)).toBe(20);
    expect([probes.outstanding, probes.missed]).toEqual([1, 1]);
    expect(probes.answered(first ?? 0)).toBeUndefined();
    expect(probes.answered(second ?? 0)).toBeUndefined();
    expect(probes.answered(third ?? 0)).toBe(30);
    expect([probes.outstanding, probes.missed]).toEqual([0, 1]);
    expect(probes.answered(999)).toBeUndefined();
  });

  it('keep at most eight, the latest ones, and never number one 0', () => {
    const probes = new Probes();
    const echoes = Array.from({ length: 20 }, (_, at) => probes.sent(at));
    expect(new Set(echoes).size).toBe(20);
    expect(echoes).not.toContain(0);
    expect([probes.outstanding, probes.missed]).toEqual([8, 12]);
  });

  it('tell since when an answer is owed, even if the ping that began it is written off', () => {
    const probes = new Probes();
    const echoes = Array.from({ length: 20 }, (_, at) => probes.sent(100 + at));
    expect(probes.sinceMs).toBe(100);
    probes.answered(echoes[15] ?? 0);
    expect(probes.sinceMs).toBe(116);
    probes.answered(echoes[19] ?? 0);
    probes.sent(500);
    expect(probes.sinceMs).toBe(500);
  });
});

describe('silences', () => {
  const of = (silences: readonly number[], memory = 1_000) => {
    const kept = new Silences({ memory });
    for (const silenceMs of silences) kept.add(silenceMs);
    return kept;
  };

  it('are counted by how long they were, in steps of √2', () => {
    const kept = of([30, 249, 250, 400, 600, 2_000, 1_000_000]);
    expect(kept.total).toBe(7);
    expect([0, 250, 353, 500, 700, 1_500, 2_000, 2_900, 64_000].map((ms) => kept.atLeast(ms))).toEqual([
      5, 5, 5, 3, 3, 2, 2, 1, 1,
    ]);
    expect([kept.longestMs(), of([30]).longestMs(), of([520, 30]).longestMs()]).toEqual([64_000, 0, 500]);
  });

  it('are remembered for as many round trips as promised and at most twice as many', () => {
    for (const before of [0, 1, 500, 998, 999]) {
      const kept = of([...new Array<number>(before).fill(10), 2_000]);
      for (let count = 0; count < 999; count += 1) kept.add(10);
      expect(kept.atLeast(2_000)).toBe(1);
      for (let count = 0; count < 1_001; count += 1) kept.add(10);
      expect(kept.atLeast(2_000)).toBe(0);
      expect(kept.total).toBeGreaterThanOrEqual(1_000);
      expect(kept.total).toBeLessThan(2_000);
    }
  });
});

describe('suspicion', () => {
  const steady = roundTripsOf(Array.from({ length: 128 }, () => 30));
  const none = ownSilences();
  const stalling = (count: number, ofThem: number, silenceMs: number) => {
    const kept = fleetSilences();
    for (let at = 0; at < count; at += 1) kept.add(at < ofThem ? silenceMs : 30);
    return kept;
  };
  const phi = (own: Silences, fleet: Silences, waitedMs: number, probes = 3) =>
    phiOf(steady, own, fleet, { waitedMs, probes });

  it('is nothing at first and never falls while an answer is owed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 128 }),
        fc.array(fc.integer({ min: 1, max: 20_000 }), { maxLength: 50 }),
        fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 2, maxLength: 20 }),
        fc.integer({ min: 1, max: 8 }),
        (samples, silences, waits, probes) => {
          const trips = roundTripsOf(samples);
          const own = ownSilences();
          for (const silenceMs of silences) own.add(silenceMs);
          const at = (waitedMs: number) => phiOf(trips, own, own, { waitedMs, probes });
          expect(at(0)).toBe(0);
          const phis = waits.sort((a, b) => a - b).map(at);
          for (const [index, value] of phis.entries()) {
            expect(value).toBeGreaterThanOrEqual(0);
            expect(value).toBeGreaterThanOrEqual((phis[index - 1] ?? 0) - 1e-9);
          }
        },
      ),
    );
  });

  it.each([1, 2, 3, 8])('of %d unanswered pings is at most two each, however long they wait', (probes) => {
    for (const trips of [steady, roundTripsOf([]), roundTripsOf([30])]) {
      expect(phiOf(trips, none, none, { waitedMs: 60_000, probes })).toBe(2 * probes);
    }
  });

  it('of a steady agent passes 5 with the third ping, after 900 ms', () => {
    expect(phi(none, none, 900)).toBeGreaterThan(5);
  });

  it('waits for an agent that was silent as long before, and not much longer', () => {
    for (const answers of [100, 5_000, 36_000]) {
      const own = stalling(answers, 1, 2_000);
      expect(phi(own, none, 2_400)).toBeLessThan(5);
      expect(phi(own, none, 4_300)).toBe(6);
    }
  });

  it('waits for a new agent of a fleet that stalls, less and less the longer it has been steady itself', () => {
    const fleet = stalling(100_000, 50, 2_000);
    const phis = [0, 1_000, 10_000].map((answers) => phi(stalling(answers, 0, 0), fleet, 1_500));
    expect(phis.map((value) => value.toFixed(1))).toEqual(['3.3', '4.3', '5.3']);
  });

  it('takes no excuse from a silence of more than a third of the lease', () => {
    expect([excuses(10_000, 30_000), excuses(10_001, 30_000)]).toEqual([true, false]);
  });

  it.each([
    ['no round trip known', [], 1_000],
    ['30 ms, steady', Array.from({ length: 100 }, () => 30), 300],
    ['98 ms smoothed, 42 ms variation', [100, 60, 120], 300],
    ['jittery around 200 ms', [100, 300, 100, 300, 100, 300], 500],
    ['2 s, steady', Array.from({ length: 100 }, () => 2_000), 2_000],
    ['one round trip of 2 s', [2_000], 4_000],
  ])('calls an answer late with %s after a sensible time', (_, samples, expected) => {
    expect(Math.round(lateAfterMs(roundTripsOf(samples)))).toBe(expected);
  });
});

describe('pacing', () => {
  const options = { pingIntervalMs: 5_000, maxPingsPerSecond: 2_000, leaseMs: 30_000 };

  it.each([
    [0, 5_000, 30_000],
    [10_000, 5_000, 30_000],
    [20_000, 10_000, 30_000],
    [40_000, 20_000, 60_000],
  ])('of %d sessions pings each every %d ms under a lease of %d ms', (sessions, intervalMs, leaseMs) => {
    expect(pacingFor(sessions, options)).toEqual({ intervalMs, leaseMs });
  });

  it('never exceeds the ceiling, nor lets one lost answer make a loss', () => {
    fc.assert(
      fc.property(fc.nat(1_000_000), fc.integer({ min: 1, max: 5_000 }), (sessions, ceiling) => {
        const { intervalMs, leaseMs } = pacingFor(sessions, { ...options, maxPingsPerSecond: ceiling });
        expect((sessions / intervalMs) * 1_000).toBeLessThanOrEqual(ceiling * 1.000001);
        expect(leaseMs).toBeGreaterThanOrEqual(3 * intervalMs);
      }),
    );
  });
});
