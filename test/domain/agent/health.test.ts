import { create } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AgentSpecSchema, ReportSchema } from '../../../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { progressBudget } from '../../../src/domain/agent/agent-reader.ts';
import { type HealthInput, healthOf } from '../../../src/domain/agent/health.ts';
import { ProgressWatch } from '../../../src/domain/agent/progress.ts';
import { durationFromMs } from '../../../src/lib/proto-time.ts';

const well: HealthInput = {
  connected: true,
  phi: 0,
  suspectPhi: 5,
  activity: '',
  progressBudgetMs: undefined,
  sinceProgressMs: 0,
  load: undefined,
};

describe('health', () => {
  // connected × responsive × progressing × headroom
  it.each<[string, Partial<HealthInput>, [number, number, number, number], string[]]>([
    ['well', {}, [1, 1, 1, 1], []],
    ['without a session', { connected: false }, [0, 0, 1, 1], ['no open session']],
    ['with an answer that is only just waited for', { phi: 1 }, [1, 1, 1, 1], []],
    ['half way to suspicion', { phi: 3 }, [1, 0.5, 1, 1], ['answers are late: phi 3.0 of 5']],
    ['at the threshold', { phi: 5 }, [1, 0, 1, 1], ['answers are late: phi 5.0 of 5']],
    ['far beyond the threshold', { phi: 99 }, [1, 0, 1, 1], ['answers are late: phi 99.0 of 5']],
    [
      'at the end of its budget',
      { progressBudgetMs: 2_000, sinceProgressMs: 2_000, activity: 'scan' },
      [1, 1, 1, 1],
      [],
    ],
    [
      'past its budget',
      { progressBudgetMs: 2_000, sinceProgressMs: 2_500, activity: 'scan' },
      [1, 1, 0, 1],
      ['no progress in "scan" for 2.5 s, allowed are 2.0 s'],
    ],
    [
      'past the budget of no named activity',
      { progressBudgetMs: 1_000, sinceProgressMs: 9_000 },
      [1, 1, 0, 1],
      ['no progress in its work for 9.0 s, allowed are 1.0 s'],
    ],
    ['without progress and without a contract', { sinceProgressMs: 1e9 }, [1, 1, 1, 1], []],
    ['loaded to 0.8', { load: 0.8 }, [1, 1, 1, 1], []],
    ['loaded to 0.9', { load: 0.9 }, [1, 1, 1, 0.75], ['load 0.90 is above 0.8']],
    ['loaded fully', { load: 1 }, [1, 1, 1, 0.5], ['load 1.00 is above 0.8']],
    ['loaded beyond measure', { load: 7 }, [1, 1, 1, 0.5], ['load 7.00 is above 0.8']],
    [
      'late and loaded',
      { phi: 3, load: 1 },
      [1, 0.5, 1, 0.5],
      ['answers are late: phi 3.0 of 5', 'load 1.00 is above 0.8'],
    ],
  ])('of an agent %s', (_, input, [connected, responsive, progressing, headroom], reasons) => {
    const health = healthOf({ ...well, ...input });
    expect(health.connected).toBeCloseTo(connected, 9);
    expect(health.responsive).toBeCloseTo(responsive, 9);
    expect(health.progressing).toBeCloseTo(progressing, 9);
    expect(health.headroom).toBeCloseTo(headroom, 9);
    expect(health.score).toBeCloseTo(connected * responsive * progressing * headroom, 9);
    expect(health.reasons).toEqual(reasons);
  });

  it('is always a number from 0 to 1 that is the product of its parts, with a reason whenever it is below 1', () => {
    const number = fc.double({ min: 0, max: 1e6, noNaN: true });
    const input = fc.record({
      connected: fc.boolean(),
      phi: number,
      suspectPhi: fc.double({ min: 0.5, max: 20, noNaN: true }),
      activity: fc.constantFrom('', 'scan'),
      progressBudgetMs: fc.option(number, { nil: undefined }),
      sinceProgressMs: number,
      load: fc.option(fc.double({ min: 0, max: 2, noNaN: true }), { nil: undefined }),
    });
    fc.assert(
      fc.property(input, (made) => {
        const { score, connected, responsive, progressing, headroom, reasons } = healthOf(made);
        for (const part of [score, connected, responsive, progressing, headroom]) {
          expect(part).toBeGreaterThanOrEqual(0);
          expect(part).toBeLessThanOrEqual(1);
        }
        expect(score).toBe(connected * responsive * progressing * headroom);
        expect(reasons.length > 0).toBe(score < 1);
      }),
    );
  });
});

describe('the progress contract', () => {
  const spec = create(AgentSpecSchema, {
    activities: [{ name: 'scan', progressBudget: durationFromMs(2_000) }, { name: 'idle' }],
  });

  it.each<[string, string, number, number | undefined]>([
    ['a declared activity', 'scan', 500, 2_000],
    ['a declared activity without a budget, despite a default', 'idle', 500, undefined],
    ['an undeclared activity', 'other', 500, 500],
    ['an undeclared activity without a default', 'other', 0, undefined],
    ['no activity', '', 500, undefined],
  ])('gives %s its budget', (_, activity, defaultMs, expected) => {
    expect(progressBudget(spec, activity, defaultMs)).toBe(expected);
    if (activity === 'other') expect(progressBudget(undefined, activity, defaultMs)).toBe(expected);
  });
});

describe('the watch over progress', () => {
  const counter = (done: number, name = 'rows') => ({ name, done: BigInt(done) });
  const report = (activity: string, progress: { name: string; done: bigint; work?: object }[]) =>
    create(ReportSchema, { activity, progress });

  it.each<[string, ReturnType<typeof report>, boolean]>([
    ['the same again', report('scan', [counter(5)]), false],
    ['a counter that went up', report('scan', [counter(6)]), true],
    ['a counter that went down', report('scan', [counter(4)]), true],
    ['another activity', report('sleep', [counter(5)]), true],
    ['a new counter', report('scan', [counter(5), counter(0, 'files')]), true],
    ['a counter that is gone', report('scan', []), true],
    [
      'the counter for another attempt',
      report('scan', [{ ...counter(5), work: { deliveryId: 'd', attempt: 2n } }]),
      true,
    ],
    [
      'another load only',
      create(ReportSchema, { activity: 'scan', load: 0.9, progress: [counter(5)] }),
      false,
    ],
  ])('takes %s for what it is', (_, next, moved) => {
    const watch = new ProgressWatch(1_000);
    watch.report(report('scan', [counter(5)]), 2_000);
    expect(watch.movedMs).toBe(2_000);
    watch.report(next, 3_000);
    expect(watch.movedMs).toBe(moved ? 3_000 : 2_000);
    expect(watch.activity).toBe(next.activity);
  });
});
