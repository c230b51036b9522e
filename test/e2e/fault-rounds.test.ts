import { describe, expect, it } from 'vitest';
import { Checks } from '../support/faults/checks.ts';
import { describeFault, planRound } from '../support/faults/plan.ts';
import { type Random, seeded } from '../support/faults/random.ts';
import { FaultRig, type FaultRigOptions } from '../support/faults/rig.ts';
import { pause } from '../support/until.ts';

/** CI plays ten rounds; `FAULT_ROUNDS=100 npx vitest run --project servers test/e2e/fault-rounds.test.ts` a hundred. */
const rounds = Number(process.env.FAULT_ROUNDS ?? 10);
/** The faults of a run come again with its seed; what they meet depends on the machine. */
const seed = Number(process.env.FAULT_SEED ?? Math.floor(Math.random() * 1_000_000));
const agents = Number(process.env.FAULT_AGENTS ?? 60);

const failovers = Math.max(1, Math.round(rounds * 0.2));
const lossy = Math.max(1, Math.round(rounds * 0.1));
const ordinary = Math.max(1, rounds - failovers - lossy);

/** What a round does to the rig; resolves when all is well again. */
type Trouble = (rig: FaultRig, random: Random) => Promise<string>;

const randomFaults: Trouble = async (rig, random) => {
  const plan = planRound(random, rig.replicas.length);
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

async function play(
  name: string,
  count: number,
  options: Omit<FaultRigOptions, 'random' | 'agents'> & { trouble: Trouble; forgiving?: boolean },
): Promise<void> {
  const random = seeded(seed).fork(name);
  const rig = await FaultRig.start({ ...options, random: random.fork('rig'), agents });
  try {
    const checks = new Checks(rig);
    for (const { records } of rig.agents) records.forgiving = options.forgiving ?? false;
    for (let round = 1; round <= count; round++) {
      const startMs = performance.now();
      rig.disturb(random.fork(`disturb ${round}`));
      const what = `seed ${seed}, ${name} ${round} of ${count}: ${await options.trouble(rig, random.fork(`round ${round}`))}`;
      rig.calm();
      const took = await checks.settled().catch(async (error: unknown) => {
        throw new Error(`${what}: ${String(error)}; seen: ${checks.seen().slice(0, 20).join('\n')}`);
      });
      const wrong = [...(await checks.agreement()), ...checks.seen()];
      if (options.forgiving !== true) {
        wrong.push(...(await checks.acknowledgedWrites()), ...(await checks.history()));
      } else {
        rig.acknowledged.clear();
      }
      expect(wrong.slice(0, 20), what).toEqual([]);
      report(what, rig, checks, { ...took, roundMs: Math.round(performance.now() - startMs) });
    }
  } finally {
    await rig.stop();
  }
}

/** Whoever plays many rounds wants to see that they do something. */
function report(what: string, rig: FaultRig, checks: Checks, took: Record<string, number>): void {
  const records = rig.agents.map((agent) => agent.records);
  const sum = (of: (record: (typeof records)[number]) => number) =>
    records.reduce((all, each) => all + of(each), 0);
  const figures = {
    ...took,
    sessions: sum(({ sessions }) => sessions.length),
    deliveries: sum(({ deliveries }) => deliveries.size),
    attempts: sum(({ deliveries }) =>
      [...deliveries.values()].reduce((all, { attempts }) => all + attempts.size, 0),
    ),
    probes: sum(({ probes }) => probes),
    orders: rig.acknowledged.orders.size,
    repeats: rig.acknowledged.repeats,
    events: checks.events.count,
    leaseChanges: rig.reader.leases.changes,
  };
  console.info(what, JSON.stringify(figures));
}

const timeoutMs = (count: number): number => 60_000 + count * 60_000;

describe(`random faults under ${agents} agents on two replicas, seed ${seed}`, () => {
  it(
    `${ordinary} rounds of killing, pausing and cutting off: what was acknowledged is there, once, and everybody comes back`,
    () => play('round', ordinary, { trouble: randomFaults }),
    timeoutMs(ordinary),
  );

  it(
    `${failovers} rounds in which a Redis replica that was cut off is promoted: what was acknowledged by both is there`,
    () => play('failover', failovers, { trouble: failOver, paired: true, minReplicas: 1 }),
    timeoutMs(failovers),
  );

  it(
    `${lossy} of them without waiting for the Redis replica: writes may be lost, but no epoch and no token comes again`,
    () => play('lossy failover', lossy, { trouble: failOver, paired: true, forgiving: true }),
    timeoutMs(lossy),
  );
});
