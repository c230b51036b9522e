import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Aggregation, MetricScope } from '../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { QueryMetricsRequestSchema } from '../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { Session } from '../src/domain/agent/session.ts';
import type { OwnAgent } from '../src/domain/monitoring/figures/own-agents.ts';
import { createHistory } from '../src/domain/monitoring/history/create-history.ts';
import { silentLogger } from '../src/lib/logger.ts';
import { durationFromMs, timestampFromMs } from '../src/lib/proto-time.ts';
import { openLmdbStore } from '../src/state/lmdb/lmdb-store.ts';
import type { Store } from '../src/state/store.ts';
import { seededIds } from '../test/support/fake-clock.ts';
import { printComparison, printFigure, quantile, say } from './figures.ts';

export interface HistoryOptions {
  agents: number;
  hours: number;
  /** Of each agent, a minute. */
  trips: number;
  /** Of each kind. */
  queries: number;
}

const bench = 'history';
const P95_LIMIT_MS = 50;
const ERROR_LIMIT = 0.02;
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const ZONES = ['eu-1', 'eu-2', 'us-1', 'us-2'];
/** Agents of which every round trip is kept, to compare. */
const WATCHED = 20;

const { FLEET, ZONE, AGENT } = MetricScope;
const { AVG, MIN, MAX, P50, P95, P99 } = Aggregation;

/** A day of a fleet on a clock that only the bench moves. */
function simulate(options: HistoryOptions, store: Store) {
  const now = { ms: Date.UTC(2026, 0, 15) };
  const { random } = seededIds(11);
  const agents = Array.from({ length: options.agents }, (_, index): OwnAgent => {
    const session = { namespace: 'default', agentId: `agent-${index}`, ended: false } as Session;
    const share = { health: 1, load: 0.5, weight: 1, trips: undefined, median: undefined, used: undefined };
    return { session, share, standing: undefined, zone: '', report: undefined };
  });
  const figures = new Map<string, number>();
  const history = createHistory({
    ...{ store, log: silentLogger, replicaId: 'bench' },
    // Time of the process: slices give way by it.
    clock: { wallMs: () => now.ms, monoMs: () => performance.now() + (now.ms - Date.UTC(2026, 0, 15)) },
    config: {
      ...{ sampleIntervalMs: 10_000, rawMs: 6 * HOUR, minutesMs: 14 * 24 * HOUR },
      ...{ hoursMs: 400 * 24 * HOUR, agentsMs: 7 * 24 * HOUR },
    },
    figures: {
      namespaces: () => ['default', '_system'],
      *each(_namespace, metric, scope) {
        const ids = scope === FLEET ? [''] : scope === ZONE ? ZONES : [];
        for (const id of ids) {
          const value = (figures.get(`${metric}${id}`) ?? 0.5) + (random() - 0.5) / 50;
          figures.set(`${metric}${id}`, value);
          yield { metric, scope, id, resource: '', value: Math.abs(value), ageMs: 0, samples: 1 };
        }
      },
      *ownSystem() {},
    },
    agents: () => agents,
    resourcesOf: () => [],
    directory: { all: () => [][Symbol.iterator]() as never },
    leases: {
      held: () => ({}) as never,
      acquire: async () => undefined,
      leave: async () => {},
    },
    storeMs: () => now.ms,
  });
  /** Milliseconds each: agents differ, and each has a tail. */
  const trip = (index: number): number => (0.5 + (index % 97) / 40) * (1 - random()) ** -0.4;
  return { now, agents, history, trip, random };
}

async function record(options: HistoryOptions, fleet: ReturnType<typeof simulate>) {
  const exact = Array.from({ length: WATCHED }, (): number[] => []);
  const { now, agents, history, trip, random } = fleet;
  const perStep = options.trips / 6;
  for (let minute = 0; minute < options.hours * 60; minute += 1) {
    for (let step = 0; step < 6; step += 1) {
      now.ms += 10_000;
      for (const [index, agent] of agents.entries()) {
        for (let each = 0; each < perStep; each += 1) {
          const rttMs = trip(index);
          exact[index]?.push(rttMs);
          history.heard(agent.session, rttMs);
        }
        if (random() < 0.3) agent.share.load = random();
      }
      await history.tick();
      await history.store();
      await history.chores();
    }
    if (minute % 240 === 239) say(`  ${(minute + 1) / 60} of ${options.hours} h`);
  }
  await history.leave();
  return exact;
}

/** Returns whether every target was reached. */
export async function history(options: HistoryOptions): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-history-'));
  const clock = { wallMs: () => Date.now(), monoMs: () => performance.now() };
  const store = await openLmdbStore({ directory, database: 'monitoring', clock, log: silentLogger });
  try {
    say(`history: ${options.agents} agents, ${options.hours} h, ${options.trips} round trips a minute each`);
    const fleet = simulate(options, store);
    const startMs = fleet.now.ms;
    const before = process.cpuUsage();
    const exact = await record(options, fleet);
    const { user, system } = process.cpuUsage(before);
    const trips = options.agents * options.hours * 60 * options.trips;
    const figure = (metric: string, value: number, unit: string) =>
      printFigure({ bench, metric, subject: `${options.agents} agents`, value, unit });
    figure('cpu_per_round_trip', (user + system) / trips, 'us');
    const perDay = await storedBytes(store, (24 / options.hours) * (1 / options.agents));
    figure('bytes_per_agent_and_day', perDay, 'bytes');
    const file = statSync(join(directory, 'monitoring', 'data.mdb')).size;
    figure('file_per_agent_and_day', (file * (24 / options.hours)) / options.agents, 'bytes');
    const answered = await ask(options, fleet, startMs);
    const error = await errors(fleet, startMs, exact);
    const off = { bench, subject: 'percentiles', against: 'the exact ones' };
    printComparison({
      ...{ ...off, metric: 'relative_error', value: error, limit: ERROR_LIMIT, met: error <= ERROR_LIMIT },
    });
    return answered && error <= ERROR_LIMIT;
  } finally {
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

async function storedBytes(store: Store, factor: number): Promise<number> {
  const prefix = '~h/m/a/';
  let bytes = 0;
  let after: string | undefined;
  for (;;) {
    const page = await store.scan('default', {
      prefix,
      limit: 1000,
      ...(after === undefined ? {} : { after }),
    });
    for (const { key, value } of page.entries) bytes += key.length + value.length;
    after = page.entries.at(-1)?.key;
    if (!page.more) return bytes * factor;
  }
}

async function ask(
  options: HistoryOptions,
  fleet: ReturnType<typeof simulate>,
  startMs: number,
): Promise<boolean> {
  const { history, now, agents, random } = fleet;
  const range = { startTime: timestampFromMs(startMs), endTime: timestampFromMs(now.ms) };
  const someIds = (count: number) =>
    Array.from({ length: count }, () => `agent-${Math.floor(random() * agents.length)}`);
  const all = [AVG, MIN, MAX, P50, P95, P99];
  const kinds: Record<string, () => MessageInitShape<typeof QueryMetricsRequestSchema>> = {
    'fleet, a day': () => ({ metric: 'system_load', scope: FLEET, ...range, aggregations: all }),
    'zones, a day': () => ({ metric: 'agent_health', scope: ZONE, ...range, aggregations: all }),
    'an agent, a day': () => ({
      ...{ metric: 'communication_latency', scope: AGENT, ids: someIds(1), ...range, aggregations: all },
    }),
    'an agent, a day by minutes': () => ({
      ...{ metric: 'communication_latency', scope: AGENT, ids: someIds(1), ...range, aggregations: all },
      step: durationFromMs(MINUTE),
    }),
    '20 agents as one, a day': () => ({
      ...{ metric: 'communication_latency', scope: AGENT, ids: someIds(20), ...range },
      ...{ aggregations: [P50, P95], merge: true },
    }),
  };
  let met = true;
  for (const [name, request] of Object.entries(kinds)) {
    const times: number[] = [];
    for (let each = 0; each < options.queries; each += 1) {
      const fromMs = performance.now();
      const response = await history.query.run(create(QueryMetricsRequestSchema, request()));
      times.push(performance.now() - fromMs);
      if (response.series.length === 0) throw new Error(`${name}: nothing was answered`);
    }
    const p95 = quantile(times, 0.95);
    printFigure({ bench, metric: 'query_p50', subject: name, value: quantile(times, 0.5), unit: 'ms' });
    const isMet = p95 <= P95_LIMIT_MS;
    met &&= isMet;
    printComparison({
      ...{ bench, metric: 'query_p95', subject: name, against: `${P95_LIMIT_MS} ms` },
      ...{ value: p95, limit: P95_LIMIT_MS, met: isMet },
    });
  }
  return met;
}

/** The largest relative error of percentiles of whole days. */
async function errors(
  { history, now }: ReturnType<typeof simulate>,
  startMs: number,
  exact: readonly (readonly number[])[],
): Promise<number> {
  let worst = 0;
  for (const [index, trips] of exact.entries()) {
    const request = create(QueryMetricsRequestSchema, {
      ...{ metric: 'communication_latency', scope: AGENT, ids: [`agent-${index}`], merge: true },
      ...{ startTime: timestampFromMs(startMs), endTime: timestampFromMs(now.ms + 1) },
      ...{ step: durationFromMs(7 * 24 * HOUR), aggregations: [P50, P95, P99] },
    });
    const { series } = await history.query.run(request);
    const points = series[0]?.points ?? [];
    if (points.length !== 1) continue;
    for (const [at, q] of [0.5, 0.95, 0.99].entries()) {
      const is = points[0]?.values[at] ?? 0;
      worst = Math.max(worst, Math.abs(is / quantile(trips, q) - 1));
    }
  }
  return worst;
}
