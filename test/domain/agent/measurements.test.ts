import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClockOffset } from '../../../src/domain/agent/clock-offset.ts';
import { pacingFor } from '../../../src/domain/agent/pacing.ts';
import { Probes } from '../../../src/domain/agent/probes.ts';
import { RoundTrips } from '../../../src/domain/agent/round-trips.ts';
import { lateAfterMs, phiOf, phiOfProbe } from '../../../src/domain/agent/suspicion.ts';

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
        const limit = 30_000;
        const { mean, exceeding } = trips.moments(limit);
        expect(mean).toBeCloseTo(last.reduce((sum, value) => sum + value, 0) / last.length, 6);
        expect(exceeding).toBe(last.filter((value) => value > limit).length);
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
    expect([probes.outstanding, probes.missed, probes.sentMs[0]]).toEqual([8, 12, 12]);
  });
});

describe('suspicion', () => {
  const steady = roundTripsOf(Array.from({ length: 128 }, () => 30));

  it('is nothing at first and never falls while a probe waits', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 5_000 }), { maxLength: 128 }),
        fc.array(fc.integer({ min: 0, max: 60_000 }), { minLength: 2, maxLength: 20 }),
        (samples, waits) => {
          const trips = roundTripsOf(samples);
          expect(phiOfProbe(trips, 0)).toBe(0);
          const phis = waits.sort((a, b) => a - b).map((wait) => phiOfProbe(trips, wait));
          for (const [at, phi] of phis.entries()) {
            expect(phi).toBeGreaterThanOrEqual(0);
            expect(phi).toBeGreaterThanOrEqual((phis[at - 1] ?? 0) - 1e-9);
          }
        },
      ),
    );
  });

  it('needs more than one probe to reach 5, with any history', () => {
    for (const trips of [steady, new RoundTrips(), roundTripsOf([30])]) {
      expect(phiOf(trips, [60_000])).toBeLessThan(5);
      expect(phiOf(trips, [60_000, 59_000, 58_000])).toBeGreaterThan(5);
    }
  });

  it('is lower on a link where answers were that late before', () => {
    const spiky = roundTripsOf(Array.from({ length: 128 }, (_, at) => (at % 32 === 0 ? 2_000 : 30)));
    expect(phiOfProbe(spiky, 1_500)).toBeLessThan(phiOfProbe(steady, 1_500) - 0.5);
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
