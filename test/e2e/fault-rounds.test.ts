import { describe, it } from 'vitest';
import { describeFault, planRound } from '../support/faults/plan.ts';
import { playRounds, type Trouble, timeoutMs } from '../support/faults/play.ts';
import { pause } from '../support/until.ts';

/** CI plays ten rounds; `FAULT_ROUNDS=100 npx vitest run --project servers test/e2e/fault-rounds.test.ts` a hundred. */
const rounds = Number(process.env.FAULT_ROUNDS ?? 10);
/** The faults of a run come again with its seed; what they meet depends on the machine. */
const seed = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 1_000_000));
const agents = Number(process.env.FAULT_AGENTS ?? 60);
const how = { seed, agents };

const failovers = Math.max(1, Math.round(rounds * 0.2));
const lossy = Math.max(1, Math.round(rounds * 0.1));
const ordinary = Math.max(1, rounds - failovers - lossy);

const randomFaults: Trouble = async (rig, random) => {
  const plan = planRound(random, { replicas: rig.replicas.length });
  await rig.play(plan);
  return plan.map(describeFault).join('; ');
};

/** The Redis replica is cut off, the primary goes on for a while and dies, and the replica takes its place. */
const failOver: Trouble = async (rig, random) => {
  const cut = random.pick(['refuse', 'blackhole'] as const);
  const beforeMs = random.between(200, 600);
  const aloneMs = random.between(100, 1500);
  const deadMs = random.between(0, 500);
  await pause(beforeMs);
  rig.redis.cutReplica(cut);
  await pause(aloneMs);
  const promoted = await rig.redis.failOver();
  await pause(deadMs);
  rig.leadTo(promoted.port);
  await rig.redis.join();
  return `after ${beforeMs} ms the Redis replica is cut off (${cut}), ${aloneMs} ms later promoted, reached after ${deadMs} ms`;
};

describe(`random faults under ${agents} agents on two replicas, seed ${seed}`, () => {
  it(
    `${ordinary} rounds of killing, pausing and cutting off: what was acknowledged is there, once, and everybody comes back`,
    () => playRounds({ ...how, name: 'round', rounds: ordinary, trouble: randomFaults }),
    timeoutMs(ordinary),
  );

  it(
    `${failovers} rounds in which a Redis replica that was cut off is promoted: what was acknowledged by both is there`,
    () =>
      playRounds({
        ...{ ...how, name: 'failover', rounds: failovers, trouble: failOver },
        ...{ paired: true, minReplicas: 1 },
      }),
    timeoutMs(failovers),
  );

  it(
    `${lossy} of them without waiting for the Redis replica: writes may be lost, but no epoch and no token comes again`,
    () =>
      playRounds({
        ...{ ...how, name: 'lossy failover', rounds: lossy, trouble: failOver },
        ...{ paired: true, forgiving: true },
      }),
    timeoutMs(lossy),
  );
});
