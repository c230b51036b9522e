import { setTimeout as sleep } from 'node:timers/promises';
import { startRedis } from '../test/support/redis-server.ts';
import { median, printComparison, printFigure, quantile, say } from './figures.ts';
import { cpuUs } from './process-stats.ts';
import { onLmdb, onRedis, onRedisEverySecond, type Running } from './subjects.ts';
import { BenchChild } from './tasks/child.ts';
import type { Carrier, Moments } from './tasks/protocol.ts';

export interface TasksOptions {
  workers: number;
  slots: number;
  rate: number;
  window: number;
  rounds: number;
  warmup: number;
  seconds: number;
  only: readonly string[];
}

interface TaskSubject {
  name: string;
  carrier: Carrier;
  start(): Promise<Running>;
  /** On the same Redis with the same append-only setting, or the nearest to it. */
  against?: string;
}

const bench = 'tasks';
const MOST_P50_MS = 3;
const LEAST_OF_BULLMQ = 0.25;
/** How long the last tasks may take to be over. */
const PATIENCE_MS = 15_000;

const bullmqOn = (appendfsync: 'always' | 'everysec'): TaskSubject => ({
  name: `bullmq/redis ${appendfsync}`,
  carrier: 'bullmq',
  start: async () => {
    const redis = await startRedis({ appendfsync });
    const address = `127.0.0.1:${redis.port}`;
    return { address, pid: redis.pid, helpers: [], stop: () => redis.stop() };
  },
});

const durableBullmq = bullmqOn('always');
const fastBullmq = bullmqOn('everysec');
const SUBJECTS: readonly TaskSubject[] = [
  { ...onLmdb, carrier: 'orchestrator', against: durableBullmq.name },
  { ...onRedis, carrier: 'orchestrator', against: durableBullmq.name },
  durableBullmq,
  { ...onRedisEverySecond, carrier: 'orchestrator', against: fastBullmq.name },
  fastBullmq,
];

interface Setting {
  server: Running;
  workers: BenchChild;
  submitter: BenchChild;
}

async function withSetting<T>(
  { carrier, start }: TaskSubject,
  options: TasksOptions,
  accepts: boolean,
  run: (setting: Setting) => Promise<T>,
): Promise<T> {
  const server = await start();
  const workers = new BenchChild('./workers.js');
  const submitter = new BenchChild('./submitter.js');
  try {
    const place = { carrier, address: server.address };
    const { workers: count, slots } = options;
    await workers.ask({ kind: 'open-workers', ...place, workers: count, slots, accepts });
    await submitter.ask({ kind: 'open-submitter', ...place });
    return await run({ server, workers, submitter });
  } finally {
    await submitter.close();
    await workers.close();
    await server.stop();
  }
}

interface Paced {
  storedMs: number[];
  beganMs: number[];
  runningMs: number[];
}

/** Latencies at the rate: from submission to acknowledgement, to the handler's beginning, and to RUNNING being stored. */
async function pace({ workers, submitter }: Setting, options: TasksOptions): Promise<Paced> {
  let over = 0;
  workers.onOver((count) => {
    over = count;
  });
  const durationMs = (options.warmup + options.seconds) * 1000;
  const sent = await submitter.ask({ kind: 'submit', ratePerSecond: options.rate, window: 0, durationMs });
  if (sent.kind !== 'submitted') throw new Error(`unexpected answer ${sent.kind}`);
  const patienceMs = performance.now() + PATIENCE_MS;
  while (over < sent.sent.length && performance.now() < patienceMs) await sleep(20);
  if (over < sent.sent.length) throw new Error(`${sent.sent.length - over} tasks were not over`);
  const times = await workers.ask({ kind: 'times' });
  if (times.kind !== 'times') throw new Error(`unexpected answer ${times.kind}`);
  const fromMs = (sent.sent[0] ?? 0) + options.warmup * 1000;
  const measured = sent.sent.map((ms, number) => ({ ms, number })).filter(({ ms }) => ms >= fromMs);
  const since = (moments: Moments) => measured.map(({ ms, number }) => (moments[number] ?? Number.NaN) - ms);
  return { storedMs: since(sent.stored), beganMs: since(times.began), runningMs: since(times.running) };
}

interface Saturated {
  perSecond: number;
  serverUs: number;
  helpersUs: number;
  workersUs: number;
}

/** The most that goes through, with so many tasks under way that no slot is ever empty for want of one. */
async function saturate({ server, workers, submitter }: Setting, options: TasksOptions): Promise<Saturated> {
  let over = 0;
  workers.onOver((count) => {
    over = count;
    submitter.tell({ kind: 'over', count });
  });
  const watched = [server.pid, workers.pid, ...server.helpers.map(({ pid }) => pid)];
  const durationMs = (options.warmup + options.seconds) * 1000;
  const { window } = options;
  const submitted = submitter.ask({ kind: 'submit', ratePerSecond: 0, window, durationMs });
  const sample = () => ({ over, atMs: performance.now(), cpu: watched.map(cpuUs) });
  const measured = (async () => {
    await sleep(options.warmup * 1000);
    const before = sample();
    await sleep(options.seconds * 1000 - 100);
    return { before, after: sample() };
  })();
  const [{ before, after }] = await Promise.all([measured, submitted]);
  const tasks = after.over - before.over;
  const used = after.cpu.map((us, index) => (us - (before.cpu[index] ?? us)) / tasks);
  const [serverUs = Number.NaN, workersUs = Number.NaN, ...helpers] = used;
  return {
    perSecond: tasks / ((after.atMs - before.atMs) / 1000),
    serverUs,
    workersUs,
    helpersUs: helpers.reduce((sum, us) => sum + us, 0),
  };
}

interface Summary {
  p50Ms: number;
  perSecond: number;
}

interface Rounds {
  paced: Paced[];
  atOnce: Saturated[];
  accepting: Saturated[];
}

function summarize({ name, carrier }: TaskSubject, { paced, atOnce, accepting }: Rounds): Summary {
  const figure = (metric: string, unit: string, values: readonly number[]): number => {
    const value = median(values);
    printFigure({ bench, metric, subject: name, value, unit });
    return value;
  };
  const times = (metric: string, of: (each: Paced) => number[]): number => {
    figure(
      `${metric}_p99`,
      'ms',
      paced.map((each) => quantile(of(each), 0.99)),
    );
    return figure(
      `${metric}_p50`,
      'ms',
      paced.map((each) => quantile(of(each), 0.5)),
    );
  };
  times('stored', ({ storedMs }) => storedMs);
  const p50Ms = times('began', ({ beganMs }) => beganMs);
  times('running', ({ runningMs }) => runningMs);
  const most = (metric: string, all: readonly Saturated[]): number => {
    figure(
      `${metric}_server_cpu`,
      'us',
      all.map(({ serverUs }) => serverUs),
    );
    figure(
      `${metric}_helpers_cpu`,
      'us',
      all.map(({ helpersUs }) => helpersUs),
    );
    figure(
      `${metric}_workers_cpu`,
      'us',
      all.map(({ workersUs }) => workersUs),
    );
    return figure(
      metric,
      '1/s',
      all.map(({ perSecond }) => perSecond),
    );
  };
  const perSecond = most('saturated', atOnce);
  if (carrier === 'orchestrator') most('saturated_accepting', accepting);
  return { p50Ms, perSecond };
}

/** Returns whether every target was reached. */
export async function tasks(options: TasksOptions): Promise<boolean> {
  const { workers, slots, rate, window, rounds } = options;
  say(
    `tasks: ${workers} agents with ${slots} slots, at ${rate}/s and with ${window} under way, ${rounds} rounds`,
  );
  const subjects = SUBJECTS.filter(
    ({ name }) => options.only.length === 0 || options.only.some((part) => name.includes(part)),
  );
  const results = new Map<string, Rounds>();
  for (let round = 1; round <= rounds; round += 1) {
    for (const subject of subjects) {
      const of = results.get(subject.name) ?? { paced: [], atOnce: [], accepting: [] };
      results.set(subject.name, of);
      const slow = await withSetting(subject, options, true, (setting) => pace(setting, options));
      of.paced.push(slow);
      const fast = await withSetting(subject, options, false, (setting) => saturate(setting, options));
      of.atOnce.push(fast);
      if (subject.carrier === 'orchestrator') {
        of.accepting.push(await withSetting(subject, options, true, (setting) => saturate(setting, options)));
      }
      say(
        `  round ${round}/${rounds} ${subject.name}: began after ${quantile(slow.beganMs, 0.5).toFixed(2)} ms, ` +
          `${fast.perSecond.toFixed(0)}/s, ${fast.serverUs.toFixed(0)} us`,
      );
    }
  }
  const summaries = new Map(
    [...results].map(([name, of]) => {
      const subject = subjects.find((each) => each.name === name);
      if (subject === undefined) throw new Error(`no subject ${name}`);
      return [name, summarize(subject, of)] as const;
    }),
  );
  const met = subjects.flatMap(({ name: subject, against }) => {
    if (against === undefined) return [];
    const [own, other] = [summaries.get(subject), summaries.get(against)];
    if (own === undefined || other === undefined) return [false];
    return [isQuick(subject, own), isMuch(subject, against, own.perSecond / other.perSecond)];
  });
  return met.length > 0 && met.every(Boolean);
}

function isQuick(subject: string, { p50Ms: value }: Summary): boolean {
  const met = value <= MOST_P50_MS;
  const against = `${MOST_P50_MS} ms`;
  printComparison({ bench, metric: 'began_p50', subject, against, value, limit: MOST_P50_MS, met });
  return met;
}

function isMuch(subject: string, against: string, value: number): boolean {
  const met = value >= LEAST_OF_BULLMQ;
  printComparison({ bench, metric: 'saturated', subject, against, value, limit: LEAST_OF_BULLMQ, met });
  return met;
}
