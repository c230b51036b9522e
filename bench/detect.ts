import { loadavg } from 'node:os';
import { pathToFileURL } from 'node:url';
import { Agent_Liveness } from '../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type Clients, connectClients } from '../test/support/clients.ts';
import { startRedis } from '../test/support/redis-server.ts';
import { ServiceProcess } from '../test/support/service.ts';
import { type AgentProcess, registerProcesses, startAll, VerdictCount } from './detect/fleet.ts';
import { printComparison, printFigure, quantile, say } from './figures.ts';
import { FleetWatch } from './fleet-watch.ts';
import { LoadGenerator } from './load/generator.ts';
import { openFileLimit } from './process-stats.ts';

export interface DetectOptions {
  agents: number;
  /** How many of them are processes of their own. */
  processes: number;
  /** Kills, and pauses, of each process. */
  rounds: number;
  /** How long the fleet answers with delays, milliseconds. */
  liveMs: number;
  /** Which parts to run: kill, pause, live, stall; empty: all. */
  only: readonly string[];
  stores: readonly string[];
}

const bench = 'detect';
const intervalMs = 1_000;
const leaseMs = 10_000;
const killLimitMs = 100;
const suspectLimitMs = intervalMs + 1_500;
const lostLimitMs = leaseMs + 1_000;
const pauseServiceMs = 20_000;
const blockLoopMs = 5_000;
/** Between two of them, so that each is seen alone. */
const killGapMs = 40;
/** Round trips enough that the agents' delays are known. */
const settleMs = 10_000;
const delays = { medianMs: 30, sigma: 0.5, spikeShare: 0.01, spikeMs: 2_000 };

const { SUSPECT, LOST, DISCONNECTED } = Agent_Liveness;
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Stage {
  store: string;
  service: ServiceProcess;
  clients: Clients;
  watch: FleetWatch;
  generators: LoadGenerator[];
  processes: AgentProcess[];
  options: DetectOptions;
}

function compare(stage: Stage, metric: string, value: number, limit: number, against: string): boolean {
  const met = value <= limit;
  printComparison({ bench, metric, subject: stage.store, against, value, limit, met });
  return met;
}

function distribution(stage: Stage, metric: string, values: readonly number[]): number {
  const figure = (name: string, value: number, unit: string) =>
    printFigure({ bench, metric: `${metric}_${name}`, subject: stage.store, value, unit });
  figure('count', values.length, '');
  figure('p50', quantile(values, 0.5), 'ms');
  figure('p99', quantile(values, 0.99), 'ms');
  figure('max', quantile(values, 1), 'ms');
  return quantile(values, 0.99);
}

const simulated = (service: ServiceProcess, agents: number, prefix: string) => ({
  protocol: 'session' as const,
  address: service.grpc,
  connections: agents,
  agentsPerConnection: 1,
  register: true,
  prefix,
});

function announce(words: string): void {
  say(`detect: ${words} (load ${loadavg()[0]?.toFixed(2)})`);
}

async function kills(stage: Stage): Promise<boolean> {
  const { processes, watch, options } = stage;
  announce(
    `SIGKILL of ${processes.length} agent processes one after the other, ${options.rounds} rounds: from kill() to DISCONNECTED in the hands of a WatchAgents client`,
  );
  const took: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    const heard = [];
    for (const agent of processes) {
      const news = watch.next(agent.id, ({ liveness }) => liveness === DISCONNECTED, leaseMs);
      const killedMs = agent.signal('SIGKILL');
      heard.push(news.then(({ atMs }) => atMs - killedMs));
      await pause(killGapMs);
    }
    took.push(...(await Promise.all(heard)));
    await startAll(processes);
    await pause(2 * intervalMs);
  }
  const p99 = distribution(stage, 'kill_to_watcher', took);
  return compare(stage, 'kill_to_watcher_p99', p99, killLimitMs, '100 ms');
}

async function pauses(stage: Stage): Promise<boolean> {
  const { processes, watch, options } = stage;
  announce(
    `SIGSTOP of ${processes.length} agent processes within a second, ${options.rounds} rounds: from the stop to SUSPECT, and from the last answer to LOST, in the hands of the watcher`,
  );
  const suspect: number[] = [];
  const lost: number[] = [];
  for (let round = 0; round < options.rounds; round++) {
    await pause(settleMs);
    const heard = [];
    for (const agent of processes) {
      const suspected = watch.next(agent.id, ({ liveness }) => liveness === SUSPECT, 2 * leaseMs);
      const gone = watch.next(agent.id, ({ liveness }) => liveness === LOST, 3 * leaseMs);
      const stoppedMs = agent.signal('SIGSTOP');
      heard.push(
        suspected.then(({ atMs }) => suspect.push(atMs - stoppedMs)),
        gone.then(({ atMs }) => lost.push(atMs - agent.lastAnswerMs)),
      );
      await pause(intervalMs / processes.length);
    }
    await Promise.all(heard);
    await Promise.all(processes.map((agent) => agent.end()));
    await startAll(processes);
  }
  const suspectP99 = distribution(stage, 'stop_to_suspect', suspect);
  const lostP99 = distribution(stage, 'last_answer_to_lost', lost);
  const soon = compare(stage, 'stop_to_suspect_p99', suspectP99, suspectLimitMs, 'interval + 1.5 s');
  return compare(stage, 'last_answer_to_lost_p99', lostP99, lostLimitMs, 'lease + 1 s') && soon;
}

function falseVerdicts(stage: Stage, metric: string, count: VerdictCount, suspectLimit: number): boolean {
  count.stop();
  for (const detail of count.details.slice(0, 10)) say(`    ${detail}`);
  const none = compare(stage, `${metric}_false_lost`, count.of(LOST), 0, 'none');
  return compare(stage, `${metric}_false_suspect`, count.of(SUSPECT), suspectLimit, 'at most') && none;
}

async function live(stage: Stage): Promise<boolean> {
  const { service, generators, watch, options, processes } = stage;
  announce(
    `${options.agents} simulated agents answer for ${options.liveMs / 1000} s with delays: log-normal around ${delays.medianMs} ms, 1 % of ${delays.spikeMs} ms`,
  );
  const total = async () => {
    const counts = await Promise.all(generators.map((each) => each.count()));
    return counts.reduce((sum, { roundTrips }) => sum + roundTrips, 0);
  };
  // In the place of the processes; they stay, for their end would be a loss.
  const more = new LoadGenerator();
  generators.push(more);
  await more.openSessions(simulated(service, processes.length, 'more'));
  await Promise.all(generators.map((each) => each.delayAnswers(delays)));
  const count = new VerdictCount(watch);
  const before = await total();
  await pause(options.liveMs);
  const roundTrips = (await total()) - before;
  await Promise.all(generators.map((each) => each.delayAnswers(undefined)));
  const figure = { bench, metric: 'live_round_trips', subject: stage.store, unit: 'round trips' };
  printFigure({ ...figure, value: roundTrips });
  return falseVerdicts(stage, 'live', count, Math.ceil(roundTrips / 100_000));
}

async function stall(stage: Stage, metric: string, cause: () => Promise<void>): Promise<boolean> {
  await pause(settleMs);
  const count = new VerdictCount(stage.watch);
  await cause();
  await pause(leaseMs + 5_000);
  return falseVerdicts(stage, metric, count, 0);
}

async function ownStalls(stage: Stage): Promise<boolean> {
  const { service } = stage;
  announce(`the service paused for ${pauseServiceMs / 1000} s (SIGSTOP, SIGCONT)`);
  const paused = await stall(stage, 'service_paused', async () => {
    service.signal('SIGSTOP');
    await pause(pauseServiceMs);
    service.signal('SIGCONT');
  });
  announce(`the event loop of the service blocked for ${blockLoopMs / 1000} s`);
  const blocked = await stall(stage, 'loop_blocked', async () => {
    service.signal('SIGUSR2');
    await pause(blockLoopMs);
  });
  return paused && blocked;
}

const parts: Record<string, (stage: Stage) => Promise<boolean>> = {
  kill: kills,
  pause: pauses,
  live,
  stall: ownStalls,
};

async function startService(store: string): Promise<{ service: ServiceProcess; stop(): Promise<void> }> {
  const redis = store === 'redis' ? await startRedis({ appendfsync: 'always' }) : undefined;
  const preload = pathToFileURL(new URL('./detect/block-loop.js', import.meta.url).pathname).href;
  try {
    const service = await ServiceProcess.start({
      ...(redis === undefined ? {} : { store: redis.url }),
      env: {
        ORCHESTRATOR_SESSION_PING_INTERVAL: `${intervalMs}ms`,
        ORCHESTRATOR_SESSION_LEASE: `${leaseMs}ms`,
        ORCHESTRATOR_SESSION_RECONNECT_GRACE: `${leaseMs}ms`,
        NODE_OPTIONS: `--import=${preload}`,
      },
    });
    const stop = async () => {
      await service.stop();
      await redis?.stop();
    };
    return { service, stop };
  } catch (error) {
    await redis?.stop();
    throw error;
  }
}

async function onStore(store: string, options: DetectOptions): Promise<boolean> {
  const { service, stop } = await startService(store);
  const clients = connectClients(service.grpc);
  const generator = new LoadGenerator();
  const generators = [generator];
  let watch: FleetWatch | undefined;
  let processes: AgentProcess[] = [];
  try {
    say(`detect: ${options.agents} agents, ${options.processes} of them processes of their own, on ${store}`);
    await generator.openSessions(simulated(service, options.agents - options.processes, 'simulated'));
    processes = await registerProcesses(clients, service.grpc, options.processes);
    await startAll(processes);
    watch = await FleetWatch.open(clients);
    await pause(settleMs);
    const stage: Stage = { store, service, clients, watch, generators, processes, options };
    let met = true;
    for (const [name, run] of Object.entries(parts)) {
      if (options.only.length === 0 || options.only.includes(name)) met = (await run(stage)) && met;
    }
    const counts = await Promise.all(generators.map((each) => each.count()));
    const broken = counts.reduce((sum, count) => sum + count.broken, 0);
    return compare(stage, 'simulated_sessions_broken', broken, 0, 'none') && met;
  } finally {
    await watch?.close();
    clients.close();
    await Promise.all(processes.map((agent) => agent.end()));
    await Promise.all(generators.map((each) => each.close()));
    await stop();
  }
}

/** Returns whether every target was reached and nothing was left out. */
export async function detect(options: DetectOptions): Promise<boolean> {
  if (openFileLimit() < options.agents + 200) {
    say(`not run: ${options.agents} connections need more open files than ${openFileLimit()} (ulimit -n)`);
    return false;
  }
  let met = options.only.length === 0;
  for (const store of options.stores) met = (await onStore(store, options)) && met;
  return met;
}
