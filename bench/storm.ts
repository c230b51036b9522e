import { loadavg } from 'node:os';
import { Agent_Liveness } from '../gen/mycosoft/orchestrator/agent/v1/agent_pb.ts';
import { type Clients, connectClients } from '../test/support/clients.ts';
import { startRedis } from '../test/support/redis-server.ts';
import { ServiceProcess } from '../test/support/service.ts';
import { VerdictCount } from './detect/fleet.ts';
import { median, printComparison, printFigure, say } from './figures.ts';
import { FleetWatch } from './fleet-watch.ts';
import { LoadGenerator } from './load/generator.ts';
import { cpuUs, openFileLimit, peakRssBytes, rssBytes } from './process-stats.ts';

export interface StormOptions {
  agents: number;
  rounds: number;
  stores: readonly string[];
}

const bench = 'storm';
const healthyLimitMs = 10_000;
const giveUpMs = 60_000;
const settleMs = 12_000;
const lookEveryMs = 100;
/** How long is looked for losses after all are healthy. */
const aftermathMs = 10_000;

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

interface Storm {
  readyMs: number;
  attachedMs: number;
  healthyMs: number;
  retries: number;
  rssBeforeBytes: number;
  peakBytes: number;
  cpuMs: number;
  suspect: number;
  lost: number;
}

/** Whether every agent is CONNECTED and in full health, by a reading of the service that runs now. */
async function allHealthy(clients: Clients, agents: number): Promise<boolean> {
  const { status } = await clients.monitoring.getSystemStatus({});
  const connected = status?.fleet?.byLiveness.find(({ liveness }) => liveness === Agent_Liveness.CONNECTED);
  return connected?.count === agents && (status?.fleet?.health ?? 0) > 0.999;
}

async function storm(service: ServiceProcess, generator: LoadGenerator, agents: number): Promise<Storm> {
  const before = await generator.count();
  const rssBeforeBytes = rssBytes(service.pid);
  const killedMs = performance.now();
  const since = () => performance.now() - killedMs;
  await service.restart();
  const readyMs = since();
  const clients = connectClients(service.grpc);
  const watch = await FleetWatch.open(clients);
  const verdicts = new VerdictCount(watch);
  try {
    let attachedMs = 0;
    while (attachedMs === 0 || !(await allHealthy(clients, agents))) {
      if (since() > giveUpMs) throw new Error(`not all agents were healthy after ${giveUpMs / 1000} s`);
      await pause(lookEveryMs);
      if (attachedMs === 0 && (await generator.count()).attached === agents) attachedMs = since();
    }
    const healthyMs = since();
    const cpuMs = cpuUs(service.pid) / 1000;
    await pause(aftermathMs);
    const after = await generator.count();
    if (after.attached !== agents) throw new Error(`${agents - after.attached} sessions broke again`);
    return {
      readyMs,
      attachedMs,
      healthyMs,
      retries: after.retries - before.retries,
      rssBeforeBytes,
      peakBytes: peakRssBytes(service.pid),
      cpuMs,
      suspect: verdicts.of(Agent_Liveness.SUSPECT),
      lost: verdicts.of(Agent_Liveness.LOST),
    };
  } finally {
    verdicts.stop();
    await watch.close();
    clients.close();
  }
}

function report(store: string, rounds: readonly Storm[]): boolean {
  const figure = (metric: string, pick: (round: Storm) => number, unit: string) =>
    printFigure({ bench, metric, subject: store, value: median(rounds.map(pick)), unit });
  const compare = (metric: string, pick: (round: Storm) => number, limit: number, against: string) => {
    const value = Math.max(...rounds.map(pick));
    const met = value <= limit;
    printComparison({ bench, metric, subject: store, against, value, limit, met });
    return met;
  };
  const afterKill = 'ms after the kill';
  figure('ready', (round) => round.readyMs, afterKill);
  figure('all_attached', (round) => round.attachedMs, afterKill);
  figure('all_healthy', (round) => round.healthyMs, afterKill);
  figure('connections_tried', (round) => round.retries, '');
  figure('rss_before', (round) => round.rssBeforeBytes / (1 << 20), 'MB');
  figure('rss_peak', (round) => round.peakBytes / (1 << 20), 'MB');
  figure('cpu_until_healthy', (round) => round.cpuMs, 'ms');
  figure('suspect', (round) => round.suspect, 'verdicts');
  const none = compare('lost', (round) => round.lost, 0, 'none in any round');
  const soon = compare('all_healthy', (round) => round.healthyMs, healthyLimitMs, '10 s, the slowest round');
  return none && soon;
}

async function onStore(store: string, options: StormOptions): Promise<boolean> {
  const redis = store === 'redis' ? await startRedis({ appendfsync: 'always' }) : undefined;
  const generator = new LoadGenerator();
  let service: ServiceProcess | undefined;
  try {
    service = await ServiceProcess.start(redis === undefined ? {} : { store: redis.url });
    await generator.openSessions({
      protocol: 'session',
      address: service.grpc,
      connections: options.agents,
      agentsPerConnection: 1,
      register: true,
      reconnect: true,
    });
    const rounds: Storm[] = [];
    for (let round = 0; round < options.rounds; round++) {
      await pause(settleMs);
      const result = await storm(service, generator, options.agents);
      rounds.push(result);
      say(
        `  round ${round + 1}/${options.rounds} ${store}: ready ${result.readyMs.toFixed(0)} ms, attached ` +
          `${result.attachedMs.toFixed(0)} ms, healthy ${result.healthyMs.toFixed(0)} ms (load ${loadavg()[0]?.toFixed(2)})`,
      );
    }
    return report(store, rounds);
  } finally {
    await generator.close();
    await service?.stop();
    await redis?.stop();
  }
}

/** Returns whether every target was reached. */
export async function runStorm(options: StormOptions): Promise<boolean> {
  if (openFileLimit() < options.agents + 200) {
    say(`not run: ${options.agents} connections need more open files than ${openFileLimit()} (ulimit -n)`);
    return false;
  }
  say(
    `storm: the service killed (SIGKILL) and started again with ${options.agents} agents, which come back with the backoff of the SDK`,
  );
  let met = true;
  for (const store of options.stores) met = (await onStore(store, options)) && met;
  return met;
}
