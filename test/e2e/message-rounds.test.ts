import { describe, it } from 'vitest';
import { describeFault, planRound } from '../support/faults/plan.ts';
import { playRounds, type Trouble, timeoutMs } from '../support/faults/play.ts';

/**
 * The rounds of fault-rounds.test.ts, which have messages too, for a replica with the embedded store. CI plays ten;
 * `MESSAGE_ROUNDS=100 npx vitest run --project servers test/e2e/message-rounds.test.ts` a hundred.
 */
const rounds = Number(process.env.MESSAGE_ROUNDS ?? 10);
/** The faults of a run come again with its seed; what they meet depends on the machine. */
const seed = Number(process.env.MESSAGE_SEED ?? Math.floor(Math.random() * 1_000_000));
const agents = Number(process.env.FAULT_AGENTS ?? 60);

const killedAndPaused: Trouble = async (rig, random) => {
  const plan = planRound(random, {
    replicas: rig.replicas.length,
    of: 'service',
    leastMs: 300,
    mostMs: 2500,
  });
  await rig.play(plan);
  return plan.map(describeFault).join('; ');
};

describe(`messages and calls under random faults of a service with the embedded store, seed ${seed}`, () => {
  it(
    `${rounds} rounds of killing, pausing and cutting off: what was acknowledged comes, in order, or is a dead letter`,
    () => playRounds({ name: 'embedded', rounds, seed, agents, embedded: true, trouble: killedAndPaused }),
    timeoutMs(rounds),
  );
});
