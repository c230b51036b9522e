import { describe, expect, test } from 'vitest';
import { afterRun, exitCodeOf, type RestartPolicy } from '../../src/supervisor/policy.ts';

const policy: RestartPolicy = {
  when: 'on-failure',
  backoffMinMs: 1_000,
  backoffMaxMs: 300_000,
  resetAfterMs: 600_000,
  maxRestarts: 0,
};
const crash = { exitCode: 1, signal: '', ranMs: 50 };
const middle = () => 0.5;

describe('the wait before a restart', () => {
  test('doubles with each crash in a row, up to the most', () => {
    const waits: number[] = [];
    let restarts = 0;
    for (let i = 0; i < 12; i++) {
      const next = afterRun(policy, crash, restarts, middle);
      if (next.kind !== 'again') throw new Error('no restart');
      waits.push(Math.round(next.inMs));
      restarts = next.restarts;
    }
    expect(waits).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000, 300_000, 300_000,
    ]);
  });

  test.each([
    [0, 3_600],
    [0.5, 4_000],
    [1, 4_400],
  ])('is spread by a tenth to either side: random %f makes 4 s %i ms', (random, expected) => {
    const next = afterRun(policy, crash, 2, () => random);
    expect(next).toMatchObject({ kind: 'again', restarts: 3 });
    expect(next.kind === 'again' && Math.round(next.inMs)).toBe(expected);
  });

  test('begins anew after a run that was long enough', () => {
    expect(afterRun(policy, { ...crash, ranMs: 599_999 }, 5, middle)).toMatchObject({ restarts: 6 });
    expect(afterRun(policy, { ...crash, ranMs: 600_000 }, 5, middle)).toEqual({
      kind: 'again',
      inMs: 1_000,
      restarts: 1,
    });
  });
});

describe('whether there is a restart', () => {
  test.each([
    ['on-failure', 0, '', 'done'],
    ['on-failure', 3, '', 'again'],
    ['on-failure', undefined, 'SIGKILL', 'again'],
    ['always', 0, '', 'again'],
    ['always', 3, '', 'again'],
    ['never', 3, '', 'done'],
    ['never', undefined, 'SIGSEGV', 'done'],
  ] as const)('with %s after exit code %s %s: %s', (when, exitCode, signal, kind) => {
    expect(afterRun({ ...policy, when }, { exitCode, signal, ranMs: 1 }, 0, middle).kind).toBe(kind);
  });

  test('a limit counts restarts in a row, and a long run lifts it', () => {
    const limited = { ...policy, maxRestarts: 2 };
    expect(afterRun(limited, crash, 1, middle)).toMatchObject({ kind: 'again', restarts: 2 });
    expect(afterRun(limited, crash, 2, middle)).toEqual({ kind: 'done', why: 'restarts_used_up' });
    expect(afterRun(limited, { ...crash, ranMs: 700_000 }, 2, middle)).toMatchObject({ restarts: 1 });
  });
});

test.each([
  [0, '', 0],
  [7, '', 7],
  [undefined, 'SIGTERM', 143],
  [undefined, 'SIGKILL', 137],
])('exit code %s, signal "%s" is told as %i', (exitCode, signal, code) =>
  expect(exitCodeOf({ exitCode, signal })).toBe(code),
);
