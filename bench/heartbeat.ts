import { median, printComparison, printFigure, say } from './figures.ts';
import { LoadGenerator } from './load/generator.ts';
import { cpuUs, openFileLimit, rssBytes } from './process-stats.ts';
import { bare, etcd, findEtcd, onLmdb, onRedis, type Subject } from './subjects.ts';

export interface HeartbeatOptions {
  agents: number;
  /** Measurements of each subject, interleaved; the medians count. */
  rounds: number;
  settleMs: number;
  windowMs: number;
  /** Only subjects whose name contains one of these; empty: all. */
  only: readonly string[];
  /** Skips the layouts (many agents on a connection, 1,000 against 10,000). */
  mainOnly: boolean;
}

export interface Layout {
  name: string;
  connections: number;
  agentsPerConnection: number;
}

export interface Sample {
  cpuUsPerHeartbeat: number;
  rssBytesPerAgent: number;
  heartbeatsPerSecond: number;
  generatorUsPerHeartbeat: number;
  helperUsPerHeartbeat: Record<string, number>;
}

const bench = 'heartbeat';
const cpuOverBare = 1.3;
const cpuOverEtcd = 0.7;
const rssLimitKb = 60;
const flatWithin = 1.2;
/** Below this share of the asked rate, a machine too busy makes figures that say nothing. */
const leastRate = 0.9;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** What a subject takes for each heartbeat of a fleet, in one window. */
export async function measure(
  subject: Subject,
  layout: Layout,
  options: Pick<HeartbeatOptions, 'settleMs' | 'windowMs'>,
): Promise<Sample> {
  const server = await subject.start();
  const generator = new LoadGenerator();
  const agents = layout.connections * layout.agentsPerConnection;
  try {
    await pause(1000);
    const idle = rssBytes(server.pid);
    await generator.openSessions({ ...subject, ...layout, address: server.address });
    await pause(options.settleMs);
    const watched = [{ name: 'server', pid: server.pid }, ...server.helpers];
    const before = watched.map(({ pid }) => cpuUs(pid));
    const countBefore = await generator.count();
    const startMs = performance.now();
    await pause(options.windowMs);
    const countAfter = await generator.count();
    const after = watched.map(({ pid }) => cpuUs(pid));
    const seconds = (performance.now() - startMs) / 1000;
    const heartbeats = countAfter.roundTrips - countBefore.roundTrips;
    if (countAfter.broken > 0) throw new Error(`${subject.name}: ${countAfter.broken} sessions broke`);
    const perHeartbeat = watched.map((_, i) => ((after[i] ?? 0) - (before[i] ?? 0)) / heartbeats);
    return {
      cpuUsPerHeartbeat: perHeartbeat[0] ?? Number.NaN,
      rssBytesPerAgent: (rssBytes(server.pid) - idle) / agents,
      heartbeatsPerSecond: heartbeats / seconds,
      generatorUsPerHeartbeat: (countAfter.cpuUs - countBefore.cpuUs) / heartbeats,
      helperUsPerHeartbeat: Object.fromEntries(
        server.helpers.map(({ name }, i) => [name, perHeartbeat[i + 1] ?? Number.NaN]),
      ),
    };
  } finally {
    await generator.close();
    await server.stop();
  }
}

interface Summary {
  subject: string;
  cpuUs: number;
  rssKb: number;
}

function summarize(name: string, agents: number, samples: readonly Sample[]): Summary {
  const of = (pick: (sample: Sample) => number) => median(samples.map(pick));
  const figure = (metric: string, value: number, unit: string) =>
    printFigure({ bench, metric, subject: name, value, unit });
  const cpu = of((sample) => sample.cpuUsPerHeartbeat);
  const rss = of((sample) => sample.rssBytesPerAgent) / 1024;
  const rate = of((sample) => sample.heartbeatsPerSecond);
  figure('cpu_per_heartbeat', cpu, 'us');
  figure('rss_per_agent', rss, 'KB');
  figure('rate', rate, 'heartbeats/s');
  figure(
    'generator_cpu_per_heartbeat',
    of((sample) => sample.generatorUsPerHeartbeat),
    'us',
  );
  for (const helper of Object.keys(samples[0]?.helperUsPerHeartbeat ?? {})) {
    figure(
      `${helper}_cpu_per_heartbeat`,
      of((sample) => sample.helperUsPerHeartbeat[helper] ?? 0),
      'us',
    );
  }
  if (rate < leastRate * agents)
    say(`  ${name}: only ${rate.toFixed(0)} of ${agents} a second: machine too busy?`);
  return { subject: name, cpuUs: cpu, rssKb: rss };
}

/** Measures each pair `rounds` times, in turns, so that a machine whose speed drifts treats all alike. */
async function interleave(
  runs: readonly { subject: Subject; layout: Layout }[],
  options: HeartbeatOptions,
): Promise<Summary[]> {
  const samples: Sample[][] = runs.map(() => []);
  for (let round = 0; round < options.rounds; round++) {
    for (const [index, { subject, layout }] of runs.entries()) {
      const sample = await measure(subject, layout, options);
      samples[index]?.push(sample);
      const { cpuUsPerHeartbeat: cpu, rssBytesPerAgent: rss, heartbeatsPerSecond: rate } = sample;
      say(
        `  round ${round + 1}/${options.rounds} ${subject.name} (${layout.name}): ${cpu.toFixed(1)} us, ` +
          `${(rss / 1024).toFixed(1)} KB, ${rate.toFixed(0)}/s`,
      );
    }
  }
  return runs.map(({ subject, layout }, index) => {
    const agents = layout.connections * layout.agentsPerConnection;
    return summarize(`${subject.name} ${layout.name}`, agents, samples[index] ?? []);
  });
}

function compare(metric: string, subject: Summary, against: string, value: number, limit: number): boolean {
  const met = value <= limit;
  printComparison({ bench, metric, subject: subject.subject, against, value, limit, met });
  return met;
}

function each(agents: number): Layout {
  return { name: `${agents}x1`, connections: agents, agentsPerConnection: 1 };
}

async function mainComparison(subjects: readonly Subject[], options: HeartbeatOptions): Promise<boolean> {
  const layout = each(options.agents);
  say(
    `heartbeat: ${options.agents} agents, a connection each, one round trip a second, ${options.rounds} rounds`,
  );
  const summaries = await interleave(
    subjects.map((subject) => ({ subject, layout })),
    options,
  );
  const find = (subject: Subject) => summaries.find(({ subject: name }) => name.startsWith(subject.name));
  const base = find(bare);
  const reference = summaries.find(({ subject }) => subject.startsWith('etcd'));
  // A narrowed run compares less than it should, which counts as not run.
  let met = options.only.length === 0;
  for (const ours of [find(onLmdb), find(onRedis)]) {
    if (ours === undefined) continue;
    if (base !== undefined) {
      met = compare('cpu_ratio', ours, base.subject, ours.cpuUs / base.cpuUs, cpuOverBare) && met;
    }
    if (reference !== undefined) {
      met = compare('cpu_ratio', ours, reference.subject, ours.cpuUs / reference.cpuUs, cpuOverEtcd) && met;
    }
    met = compare('rss_per_agent', ours, `${rssLimitKb} KB`, ours.rssKb, rssLimitKb) && met;
  }
  return met;
}

async function layouts(subjects: readonly Subject[], options: HeartbeatOptions): Promise<boolean> {
  const ours = subjects.filter((subject) => subject === onLmdb || subject === onRedis);
  const shared = { name: '100x100', connections: 100, agentsPerConnection: 100 };
  say('heartbeat: 1,000 against 10,000 agents, and 100 agents on each of 100 connections');
  const fitting = [each(1000), each(10_000), shared].filter(({ name, connections }) => {
    const fits = connections + 200 < openFileLimit();
    if (!fits)
      say(
        `  not run: ${name} needs ${connections + 200} open files, the limit is ${openFileLimit()} (ulimit -n)`,
      );
    return fits;
  });
  const runs = ours.flatMap((subject) => fitting.map((layout) => ({ subject, layout })));
  const summaries = await interleave(runs, options);
  let met = fitting.length === 3;
  for (const { name } of ours) {
    const small = summaries.find(({ subject }) => subject === `${name} 1000x1`);
    if (small === undefined) continue;
    for (const large of summaries.filter(
      ({ subject }) => subject === `${name} 10000x1` || subject === `${name} 100x100`,
    )) {
      met = compare('cpu_growth', large, small.subject, large.cpuUs / small.cpuUs, flatWithin) && met;
    }
  }
  return met;
}

/** Returns whether every target was reached and nothing was left out. */
export async function heartbeat(options: HeartbeatOptions): Promise<boolean> {
  if (openFileLimit() < options.agents + 200) {
    say(
      `not run: ${options.agents} connections need a higher limit of open files than ${openFileLimit()} (ulimit -n)`,
    );
    return false;
  }
  const etcdBinary = findEtcd();
  const reference = etcdBinary === undefined ? [] : [etcd(etcdBinary)];
  const wanted = ({ name }: Subject) =>
    options.only.length === 0 || options.only.some((part) => name.includes(part));
  const subjects = [bare, onLmdb, onRedis, ...reference].filter(wanted);
  if (etcdBinary === undefined)
    say('not run: 1 subject (etcd is not installed: apt-get install etcd-server)');
  let met = (await mainComparison(subjects, options)) && etcdBinary !== undefined;
  if (!options.mainOnly) met = (await layouts(subjects, options)) && met;
  return met;
}
