import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ServiceStatus_State as State } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import { counted, NO_PROBES, share } from '../../../../src/domain/monitoring/services/availability.ts';
import { isStale, judge, NEVER_ASKED } from '../../../../src/domain/monitoring/services/judge.ts';
import type { ProbeOutcome } from '../../../../src/domain/monitoring/services/ports.ts';

const answers: Record<string, ProbeOutcome> = {
  o: { ok: true, latencyMs: 5 },
  s: { ok: true, latencyMs: 900 },
  x: { ok: false, detail: 'refuses connections' },
};
const letters: Record<number, string> = {
  [State.UNSPECIFIED]: '-',
  [State.OK]: 'O',
  [State.SLOW]: 'S',
  [State.DOWN]: 'X',
};

/** The states that follow from probes, one after the other. */
function states(probes: string, failures: number): string {
  let judged = NEVER_ASKED;
  return [...probes]
    .map((letter, index) => {
      const outcome = answers[letter];
      if (outcome === undefined) throw new Error(letter);
      judged = judge(judged, outcome, { failures, slowMs: 500 }, 1_000 * (index + 1));
      return letters[judged.state];
    })
    .join('');
}

describe('a service', () => {
  it.each([
    // probes, failures, states
    ['o', 2, 'O'],
    ['s', 2, 'S'],
    ['xx', 2, '-X'],
    ['x', 1, 'X'],
    ['xox', 2, '-OO'],
    ['oxoxo', 2, 'OOOOO'],
    ['oxxoo', 2, 'OOXXO'],
    ['oxxoxoo', 2, 'OOXXXXO'],
    ['oxxxo', 4, 'OOOOO'],
    ['oxxxxo', 4, 'OOOOXX'],
    ['oxo', 1, 'OXO'],
    ['osoo', 2, 'OOOO'],
    ['ossoo', 2, 'OOSSO'],
    ['oxxso', 2, 'OOXXO'],
    ['oxxos', 2, 'OOXXS'],
    ['sxxss', 2, 'SSXXS'],
  ])('that answers %s, DOWN after %d, is %s', (probes, failures, expected) => {
    expect(states(probes, failures)).toBe(expected);
  });

  it('is DOWN after `failures` bad probes in a row and well after two good ones, whatever was before', () => {
    const probes = fc.array(fc.constantFrom('o', 's', 'x'), { maxLength: 30 }).map((list) => list.join(''));
    fc.assert(
      fc.property(probes, fc.integer({ min: 1, max: 5 }), (before, failures) => {
        expect(states(before + 'x'.repeat(failures), failures).at(-1)).toBe('X');
        expect(states(`${before}oo`, failures).at(-1)).toBe('O');
      }),
    );
  });

  it('keeps since when it is so, why, and what it last took to answer', () => {
    let judged = judge(NEVER_ASKED, { ok: true, latencyMs: 5 }, { failures: 2, slowMs: 500 }, 1_000);
    judged = judge(judged, { ok: false, detail: 'refuses connections' }, { failures: 2, slowMs: 500 }, 2_000);
    expect(judged).toMatchObject({
      state: State.OK,
      sinceMs: 1_000,
      failures: 1,
      detail: 'refuses connections',
    });
    judged = judge(judged, { ok: false, detail: 'gone' }, { failures: 2, slowMs: 500 }, 3_000);
    expect(judged).toMatchObject({
      state: State.DOWN,
      sinceMs: 3_000,
      failures: 2,
      latencyMs: 5,
      detail: 'gone',
    });
    judged = judge(judged, { ok: true, latencyMs: 700 }, { failures: 2, slowMs: 500 }, 4_000);
    expect(judged.detail).toBe('has answered again, once so far');
    judged = judge(judged, { ok: true, latencyMs: 700 }, { failures: 2, slowMs: 500 }, 5_000);
    expect(judged.detail).toBe('took 700 ms to answer, more than 500 ms');
  });

  it('is not known when nobody asked for three intervals and a time-out', () => {
    const judged = { state: State.OK, probeMs: 100_000 } as const;
    const service = { intervalMs: 10_000, timeoutMs: 2_000 };
    expect(isStale(judged, service, 132_000)).toBe(false);
    expect(isStale(judged, service, 132_001)).toBe(true);
    expect(isStale({ state: State.UNSPECIFIED, probeMs: 0 }, service, 132_001)).toBe(false);
  });
});

describe('availability', () => {
  const minute = 60_000;
  it('is the share of the probes of the last hour that were answered', () => {
    let probes = NO_PROBES;
    expect(share(probes, 5 * minute)).toBeUndefined();
    for (let at = 0; at < 30; at += 1) probes = counted(probes, (100 + at) * minute, at >= 3);
    expect(share(probes, 129 * minute)).toBe(0.9);
    // The three failures fall out of the hour one by one.
    expect(share(probes, 160 * minute)).toBeCloseTo(27 / 29);
    expect(share(probes, 162 * minute)).toBe(1);
    expect(share(probes, 400 * minute)).toBeUndefined();
  });

  it('counts on when the clock is set back', () => {
    const probes = counted(counted(NO_PROBES, 100 * minute, true), 40 * minute, false);
    expect(share(probes, 41 * minute)).toBe(0.5);
    expect(probes.asked.length).toBeLessThanOrEqual(60);
  });
});
