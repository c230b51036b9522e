import { expect } from 'vitest';
import { Checks } from './checks.ts';
import { type Random, seeded } from './random.ts';
import { FaultRig, type FaultRigOptions } from './rig.ts';

/** What a round does to the rig; resolves, with words for it, when all is well again. */
export type Trouble = (rig: FaultRig, random: Random) => Promise<string>;

export interface PlayOptions extends Omit<FaultRigOptions, 'random'> {
  name: string;
  rounds: number;
  seed: number;
  trouble: Trouble;
  /** The store may lose what it acknowledged. */
  forgiving?: boolean;
}

/** Plays rounds of trouble, and wants all that must hold to hold after each. */
export async function playRounds({ name, rounds, seed, trouble, ...options }: PlayOptions): Promise<void> {
  const random = seeded(seed).fork(name);
  const rig = await FaultRig.start({ ...options, random: random.fork('rig') });
  try {
    const checks = new Checks(rig);
    for (const { records } of rig.agents) records.forgiving = options.forgiving ?? false;
    for (let round = 1; round <= rounds; round++) {
      const startMs = performance.now();
      rig.disturb(random.fork(`disturb ${round}`));
      const what = `seed ${seed}, ${name} ${round} of ${rounds}: ${await trouble(rig, random.fork(`round ${round}`))}`;
      rig.calm();
      const took = await checks.settled().catch(async (error: unknown) => {
        throw new Error(`${what}: ${String(error)}; seen: ${checks.seen().slice(0, 20).join('\n')}`);
      });
      const wrong = [...(await checks.agreement()), ...checks.seen()];
      if (options.forgiving !== true) {
        wrong.push(...(await checks.acknowledgedWrites()), ...(await checks.history()));
        wrong.push(...(await checks.messages()));
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
  const calls: Record<string, number> = {};
  for (const { ends } of rig.callers) {
    for (const [how, count] of ends) calls[how] = (calls[how] ?? 0) + count;
  }
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
    leaseChanges: rig.reader?.leases.changes ?? 0,
    messages: rig.messages.figures(),
    calls,
  };
  console.info(what, JSON.stringify(figures));
}

export const timeoutMs = (rounds: number): number => 60_000 + rounds * 60_000;
