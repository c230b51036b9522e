import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { MetricScope } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/metrics_pb.ts';
import { QueryMetricsRequestSchema } from '../../../../gen/mycosoft/orchestrator/monitoring/v1/monitoring_service_pb.ts';
import type { HistoryConfig } from '../../../../src/config/monitoring-config.ts';
import type { HeldLease } from '../../../../src/domain/agent/care/leases.ts';
import type { KnownAgent } from '../../../../src/domain/agent/directory.ts';
import type { Session } from '../../../../src/domain/agent/session.ts';
import type { OwnAgent } from '../../../../src/domain/monitoring/figures/own-agents.ts';
import { createHistory } from '../../../../src/domain/monitoring/history/create-history.ts';
import type { Reading } from '../../../../src/domain/monitoring/ports.ts';
import { type Logger, silentLogger } from '../../../../src/lib/logger.ts';
import { msFromTimestamp } from '../../../../src/lib/proto-time.ts';
import type { Store } from '../../../../src/state/store.ts';
import { FakeClock } from '../../../support/fake-clock.ts';
import { MemoryStore } from '../../../support/memory-store.ts';

export const { FLEET, ZONE, AGENT, REPLICA, SERVICE } = MetricScope;
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const HISTORY: HistoryConfig = {
  sampleIntervalMs: 10_000,
  rawMs: 6 * HOUR,
  minutesMs: 14 * DAY,
  hoursMs: 400 * DAY,
  agentsMs: 7 * DAY,
};

/** A figure that the rig measures, by metric. */
export interface Measured {
  scope: MetricScope;
  id?: string;
  resource?: string;
  value: number | undefined;
}

export interface RigOptions {
  store?: Store;
  clock?: FakeClock;
  replicaId?: string;
  config?: Partial<HistoryConfig>;
  /** Namespaces of which this replica keeps the history. */
  keeps?: (namespace: string) => boolean;
  /** Takes a lease. */
  acquire?: (namespace: string) => HeldLease | undefined;
  namespaces?: () => string[];
  agents?: () => Iterable<OwnAgent>;
  directory?: () => Iterable<KnownAgent>;
}

/** What an agent that is attached adds, for the sampler. */
export function ownAgent(agentId: string, namespace = 'default'): OwnAgent {
  const session = { namespace, agentId, ended: false } as Session;
  const share = { health: 1, load: 0.5, weight: 1, trips: undefined, median: undefined, used: undefined };
  return { session, share, standing: undefined, zone: '', report: undefined };
}

/** History on a fake clock: what is measured is set, and the store is one in memory. */
export function historyRig(options: RigOptions = {}) {
  const clock = options.clock ?? new FakeClock();
  const store = options.store ?? new MemoryStore({ wallMs: () => clock.wallMs() });
  const replicaId = options.replicaId ?? 'replica-1';
  const warnings: string[] = [];
  const log: Logger = { ...silentLogger, warn: (_, message) => warnings.push(message) };
  /** By metric. */
  const measured = new Map<string, Measured[]>();
  const readings = function* (metric: string, scope: MetricScope): Iterable<Reading> {
    for (const { scope: of, id = '', resource = '', value } of measured.get(metric) ?? []) {
      if (of === scope) yield { metric, scope, id, resource, value, ageMs: 0, samples: 1 };
    }
  };
  /** What the store's clock is ahead of ours. */
  const shift = { ms: 0 };
  const keeps = options.keeps ?? (() => true);
  const history = createHistory({
    ...{ store, clock, log, replicaId },
    config: { ...HISTORY, ...options.config },
    figures: {
      namespaces: options.namespaces ?? (() => ['default', '_system']),
      each: (_namespace, metric, scope) => readings(metric, scope),
      ownSystem: (metric, scope) => readings(metric, scope),
    },
    agents: options.agents ?? (() => []),
    resourcesOf: () => [],
    directory: { all: () => [...(options.directory?.() ?? [])].values() },
    leases: {
      held: (namespace) => (keeps(namespace) ? ({} as HeldLease) : undefined),
      acquire: async (namespace) => options.acquire?.(namespace),
      leave: async () => {},
    },
    storeMs: () => clock.wallMs() + shift.ms,
  });
  const query = async (request: MessageInitShape<typeof QueryMetricsRequestSchema>) => {
    const response = await history.query.run(create(QueryMetricsRequestSchema, request));
    return {
      response,
      /** Of the first series: [time in ms, values…, count]. */
      points: (response.series[0]?.points ?? []).map(({ time, values, count }) => ({
        ms: time === undefined ? Number.NaN : msFromTimestamp(time),
        values,
        count: Number(count),
      })),
    };
  };
  return {
    clock,
    store,
    history,
    warnings,
    shift,
    query,
    storeMs: () => clock.wallMs() + shift.ms,
    set: (metric: string, ...given: Measured[]) => void measured.set(metric, given),
    /** Lets time pass as the service lives it: a tick each step. */
    pass: async (ms: number, each?: (nowMs: number) => void, stepMs = 10_000): Promise<void> => {
      for (let left = ms; left > 0; left -= stepMs) {
        clock.advance(Math.min(stepMs, left));
        each?.(clock.wallMs() + shift.ms);
        await history.tick();
        await history.store().catch(() => {});
        await history.chores().catch(() => {});
      }
    },
  };
}
