import { describe, it } from 'vitest';
import { playTaskRounds } from '../support/tasks/task-play.ts';

/**
 * CI plays ten rounds, half on each store; `TASK_ROUNDS=100 npx vitest run --project servers test/e2e/task-rounds.test.ts` a
 * hundred.
 */
const rounds = Number(process.env.TASK_ROUNDS ?? 10);
/** The faults of a run come again with its seed; what they meet depends on the machine. */
const seed = Number(process.env.TASK_SEED ?? Math.floor(Math.random() * 1_000_000));
const each = Math.max(1, Math.round(rounds / 2));
const timeoutMs = 60_000 + each * 30_000;

describe(`tasks, allocations and quotas under random faults, seed ${seed}`, () => {
  it(
    `${each} rounds on two replicas and Redis: at no revision is more taken than there is, and each task ends once`,
    () => playTaskRounds({ rounds: each, seed, embedded: false }),
    timeoutMs,
  );

  it(
    `${each} rounds on the embedded store, which is killed: at no revision is more taken than there is`,
    () => playTaskRounds({ rounds: each, seed, embedded: true }),
    timeoutMs,
  );
});
