import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Client as GrpcClient } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { describeFault, planRound } from '../support/faults/plan.ts';
import { type Random, seeded } from '../support/faults/random.ts';
import { FaultRig } from '../support/faults/rig.ts';
import { Calls } from '../support/histories/calls.ts';
import { GuardedResource } from '../support/histories/guarded-resource.ts';
import { type GuardedLock, LockClient } from '../support/histories/lock-client.ts';
import { checkLock, tokensOutOfOrder } from '../support/histories/lock-model.ts';
import { checkRegister, type RegisterOp } from '../support/histories/registers.ts';
import type { Operation } from '../support/histories/search.ts';
import { StateBook, StateClient } from '../support/histories/state-client.ts';
import { ServiceProcess } from '../support/service.ts';
import { grpcChannel } from '../support/sim-agent.ts';
import { fastTimes } from '../support/stack.ts';
import { pause, until } from '../support/until.ts';

/**
 * CI plays ten rounds; `STATE_ROUNDS=100 npx vitest run --project servers test/e2e/state-and-locks.test.ts` a hundred.
 * The faults of a run come again with `STATE_SEED`; what they meet depends on the machine.
 */
const rounds = Number(process.env.STATE_ROUNDS ?? 10);
const seed = Number(process.env.STATE_SEED ?? Math.floor(Math.random() * 1_000_000));

const embedded = Math.max(1, Math.round(rounds * 0.3));
const lossy = Math.max(1, Math.round(rounds * 0.2));
const replicated = Math.max(1, rounds - embedded - lossy);

const STATE_CLIENTS = 6;
const LOCK_CLIENTS = 5;

interface Round {
  name: string;
  /** Addresses of the replicas. */
  addresses: readonly string[];
  /** Through all rounds: a holder of an earlier one must not get a later one's place. */
  lasting: GuardedLock;
  random: Random;
  /** What happens to the service; resolves when all is well again. */
  trouble(): Promise<Trouble>;
  /** The store may lose what it acknowledged. */
  forgetful?: boolean;
}

interface Trouble {
  what: string;
  /** Between these two moments the store fell back to an earlier state, and began another epoch. */
  fellBack?: { fromMs: number; toMs: number };
}

/** Clients do what they do while there is trouble; returns what must not be, in words. */
async function play(round: Round): Promise<{ what: string; wrong: string[]; figures: object }> {
  const { name, addresses, random, lasting, forgetful = false } = round;
  const channels: GrpcClient[] = [];
  const stop = new AbortController();
  const faults: string[] = [];
  const book = new StateBook();
  const counter = `${name}/count`;
  const keys = [`${name}/a`, `${name}/b`];
  const lock: GuardedLock = { name: `${name}/lock`, resource: new GuardedResource(), history: [] };
  const made: Calls[] = [];
  const callsOf = (who: string): Calls => {
    const doors = addresses.map((address) => grpcChannel(address));
    channels.push(...doors);
    const calls = new Calls({ doors, random: random.fork(`calls of ${who}`) });
    made.push(calls);
    return calls;
  };
  const stateClient = (who: string) =>
    new StateClient({
      name: `${name}.${who}`,
      calls: callsOf(who),
      random: random.fork(who),
      keys,
      counter,
      book,
    });
  const lockClient = (who: string) =>
    new LockClient({
      name: `${name}.${who}`,
      calls: callsOf(who),
      random: random.fork(who),
      locks: [lock, lock, lasting],
      faults,
      forgetful,
    });
  try {
    const running = [
      ...Array.from({ length: STATE_CLIENTS }, (_, at) => stateClient(`s${at}`).run(stop.signal)),
      ...Array.from({ length: LOCK_CLIENTS }, (_, at) => lockClient(`l${at}`).run(stop.signal)),
    ];
    const startedMs = performance.now();
    const { what, fellBack } = await round.trouble();
    await pause(400);
    stop.abort();
    await Promise.all(running);
    const reader = stateClient('end');
    for (const key of [...keys, counter]) {
      const look = () => reader.read(key);
      await until(look, (seen) => seen !== undefined, { what: `${key} to be read`, timeoutMs: 15_000 });
    }
    const wrong = [...faults, ...made.flatMap((calls) => calls.faults), ...lock.resource.faults()];
    wrong.push(
      ...lasting.resource.faults(),
      ...tokensOutOfOrder(lock.history),
      ...tokensOutOfOrder(lasting.history),
    );
    if (fellBack !== undefined) wrong.push(...epochsOf(book, fellBack));
    else wrong.push(...book.faults, ...whole(book, counter), ...lockFaults(lock));
    const figures = {
      state: book.keys.map((key) => book.of(key).length),
      unknown: made.reduce((sum, { unknown }) => sum + unknown, 0),
      repeated: made.reduce((sum, { repeated }) => sum + repeated, 0),
      locks: lock.history.length,
      writes: lock.resource.accepted.length + lasting.resource.accepted.length,
      refused: lock.resource.refused + lasting.resource.refused,
      ms: Math.round(performance.now() - startedMs),
    };
    return { what: `seed ${seed}, ${name}: ${what}`, wrong, figures };
  } finally {
    stop.abort();
    for (const channel of channels) channel.close();
  }
}

/** Every entry's history, and that no increment was lost or counted twice. */
function whole(book: StateBook, counter: string): string[] {
  const wrong = book.keys.flatMap((key) => {
    const verdict = checkRegister(book.of(key));
    if (verdict.linearizable) return [];
    dump(key, book.of(key));
    return [
      `${key} is not linearizable${verdict.undecided ? ' as far as was decided' : ''}: after ${verdict.done} of ${book.of(key).length} none of ${show(verdict.stuck)}`,
    ];
  });
  const last = book.of(counter).at(-1)?.act;
  const count = last?.kind === 'read' ? Number(last.saw.split(' ')[0]) : -1;
  const { sure, open } = book.counted;
  if (count < sure || count > sure + open)
    wrong.push(`the counter has ${count}, not ${sure} to ${sure + open}`);
  return wrong;
}

function lockFaults({ name, history }: GuardedLock): string[] {
  const verdict = checkLock(history);
  if (verdict.linearizable) return [];
  dump(name, history);
  return [
    `${name} is not linearizable${verdict.undecided ? ' as far as was decided' : ''}: after ${verdict.done} of ${history.length} none of ${show(verdict.stuck)}`,
  ];
}

/**
 * Histories of the two store epochs by themselves: before the store fell back, and after. What was under way in between
 * may belong to either, and what it expected may come from the other.
 */
function epochsOf(book: StateBook, { fromMs, toMs }: { fromMs: number; toMs: number }): string[] {
  return book.keys.flatMap((key) => {
    const ops = book.of(key);
    const before = ops.filter(({ ret }) => ret < fromMs);
    const after = ops.filter(({ call }) => call > toMs);
    const between = ops.filter(({ call, ret, act }) => ret >= fromMs && call <= toMs && isWrite(act));
    const open = between.map((op) => ({ ...op, ret: Number.POSITIVE_INFINITY }));
    const held = ['', ...ops.flatMap(({ act }) => ('id' in act ? [act.id] : []))];
    const verdicts = [
      checkRegister([...before, ...open.filter(({ call }) => call < fromMs)]),
      checkRegister([...after.flatMap((op) => withoutOldNews(op, after)), ...open.map(unconditional)], held),
    ];
    return verdicts.flatMap((verdict, at) =>
      verdict.linearizable
        ? []
        : [
            `${key} is not linearizable ${at === 0 ? 'before' : 'after'} the fall: none of ${show(verdict.stuck)}`,
          ],
    );
  });
}

/** A revision that was read before the fall may stand for another write after it. */
function withoutOldNews(op: RegisterOp, after: readonly RegisterOp[]): RegisterOp[] {
  const { act, client, call } = op;
  if (act.kind !== 'swap' && act.kind !== 'mismatch') return [op];
  const fresh = after.some((each) => each.act.kind === 'read' && each.client === client && each.ret <= call);
  if (fresh) return [op];
  return act.kind === 'swap' ? [unconditional(op)] : [];
}

const unconditional = (op: RegisterOp): RegisterOp =>
  op.act.kind === 'swap' ? { ...op, act: { kind: 'put', id: op.act.id } } : op;

const isWrite = (act: RegisterOp['act']): boolean => act.kind !== 'read' && act.kind !== 'mismatch';

/** For a look at a history that is not right: `STATE_DUMP=<directory>`. */
function dump(name: string, history: readonly Operation[]): void {
  const { STATE_DUMP: directory } = process.env;
  if (directory === undefined) return;
  writeFileSync(
    join(directory, `${name.replaceAll('/', '-')}.json`),
    show(history, Number.POSITIVE_INFINITY),
  );
}

const show = (value: unknown, most = 1500): string =>
  JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}` : part))?.slice(0, most);

const lastingLock = (name: string): GuardedLock => ({ name, resource: new GuardedResource(), history: [] });

/** Plays rounds, and wants every one of them right and the whole of them to have met what they are for. */
async function playAll(
  name: string,
  count: number,
  next: (round: number, random: Random) => Pick<Round, 'addresses' | 'trouble' | 'forgetful'>,
): Promise<void> {
  const random = seeded(seed).fork(name);
  const lasting = lastingLock(`${name}/lasting`);
  for (let round = 1; round <= count; round++) {
    const own = random.fork(`round ${round}`);
    const { what, wrong, figures } = await play({
      name: `${name}-${round}`,
      lasting,
      random: own,
      ...next(round, own.fork('trouble')),
    });
    console.info(what, JSON.stringify(figures));
    expect(wrong.slice(0, 10), what).toEqual([]);
  }
  expect(lasting.resource.accepted.length).toBeGreaterThan(count);
}

const timeoutMs = (count: number): number => 60_000 + count * 60_000;

describe(`shared state and locks under random faults, seed ${seed}`, () => {
  it(
    `${replicated} rounds on two replicas and Redis that writes before it answers: linearizable, and tokens in order`,
    async () => {
      const rig = await FaultRig.start({ random: seeded(seed).fork('rig'), agents: 0 });
      try {
        await playAll('redis', replicated, (_, random) => ({
          addresses: rig.replicas.map(({ fromAgents }) => fromAgents.address),
          trouble: async () => {
            const plan = planRound(random, { replicas: rig.replicas.length });
            await rig.play(plan);
            return { what: plan.map(describeFault).join('; ') };
          },
        }));
      } finally {
        await rig.stop();
      }
    },
    timeoutMs(replicated),
  );

  it(
    `${embedded} rounds on the embedded store, killed or paused: linearizable, and tokens in order`,
    async () => {
      const service = await ServiceProcess.start({ env: fastTimes });
      try {
        await playAll('lmdb', embedded, (_, random) => ({
          addresses: [service.grpc],
          trouble: async () => {
            const kills = random.between(1, 2);
            for (let kill = 0; kill < kills; kill++) {
              await pause(random.between(200, 900));
              await service.restart();
            }
            const pausedMs = random.between(100, 1500);
            await pause(random.between(0, 500));
            service.signal('SIGSTOP');
            await pause(pausedMs);
            service.signal('SIGCONT');
            return { what: `killed ${kills} times, then paused for ${pausedMs} ms` };
          },
        }));
      } finally {
        await service.stop();
      }
    },
    timeoutMs(embedded),
  );

  it(
    `${lossy} rounds in which Redis falls back to a copy that lacks the last writes: tokens in order all the same`,
    async () => {
      const rig = await FaultRig.start({ random: seeded(seed).fork('lossy rig'), agents: 0, paired: true });
      try {
        await playAll('lossy', lossy, (_, random) => ({
          addresses: rig.replicas.map(({ fromAgents }) => fromAgents.address),
          forgetful: true,
          trouble: async () => {
            await pause(random.between(300, 800));
            rig.redis.cutReplica(random.pick(['refuse', 'blackhole'] as const));
            const aloneMs = random.between(300, 1500);
            await pause(aloneMs);
            const fromMs = performance.now();
            const promoted = await rig.redis.failOver();
            const toMs = performance.now();
            rig.leadTo(promoted.port);
            await rig.redis.join();
            return { what: `the copy lacks the last ${aloneMs} ms`, fellBack: { fromMs, toMs } };
          },
        }));
      } finally {
        await rig.stop();
      }
    },
    timeoutMs(lossy),
  );
});
