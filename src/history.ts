import type { Config } from './config/config.ts';
import { Leases } from './domain/agent/care/leases.ts';
import type { createFigures } from './domain/monitoring/figures/create-figures.ts';
import { createHistory } from './domain/monitoring/history/create-history.ts';
import type { Replicas } from './domain/monitoring/replicas.ts';
import type { Fleet } from './fleet.ts';
import type { Clock } from './lib/clock.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';
import type { Stores } from './stores.ts';

export interface ReplicaHistoryOptions {
  config: Config;
  stores: Stores;
  /** That of the agents, traced. */
  store: Store;
  fleet: Fleet;
  replicas: Pick<Replicas, 'isAlive'>;
  clock: Clock;
  log: Logger;
  figures: ReturnType<typeof createFigures>;
}

/** The history of what this replica measures, in the monitoring database; who keeps that of a fleet stands with the agents. */
export function createReplicaHistory(options: ReplicaHistoryOptions) {
  const { config, stores, store, fleet, replicas, clock, log, figures } = options;
  const leases = new Leases({
    ...{ store, clock, records: fleet.records, self: fleet.context.self },
    replicaId: config.id,
    startMs: clock.wallMs(),
    replicaAlive: (id) => replicas.isAlive(id),
  });
  return createHistory({
    ...{ config: config.history, clock, log, leases, store: stores.monitoring, replicaId: config.id },
    figures: figures.figures,
    agents: () => figures.own.all(),
    resourcesOf: (agent) => figures.agents.resourcesOf(agent),
    directory: fleet.directory,
    storeMs: () => fleet.storeTime.ms(),
  });
}
