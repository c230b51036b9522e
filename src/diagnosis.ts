import { join } from 'node:path';
import type { Config } from './config/config.ts';
import { storeKind } from './config/store-url.ts';
import { type CheckOptions, createChecks } from './domain/monitoring/diagnosis/create-checks.ts';
import { Diagnosis } from './domain/monitoring/diagnosis/diagnosis.ts';
import type { Replicas } from './domain/monitoring/replicas.ts';
import { SYSTEM_NAMESPACE } from './domain/namespaces.ts';
import type { Fleet } from './fleet.ts';
import type { Clock } from './lib/clock.ts';
import { readDisks, readHost } from './lib/host.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';

/** What other parts of monitoring know. */
export type Sight = Pick<
  CheckOptions,
  'metrics' | 'alerts' | 'dashboards' | 'history' | 'sinks' | 'services' | 'exporters'
>;

export interface CreateDiagnosisOptions {
  config: Config;
  stores: { agents: Store; system: Store; monitoring?: Store };
  fleet: Fleet;
  replicas: Replicas;
  clock: Clock;
  log: Logger;
  sight: Sight;
}

/** The checks of the diagnosis, wired to what they look at. */
export function createDiagnosis(options: CreateDiagnosisOptions): Diagnosis {
  const { config, stores, fleet, replicas, clock, log, sight } = options;
  const { directory, mailboxes, views, reader } = fleet;
  const storeMs = (): number => fleet.storeTime.ms();
  const isKnown = (namespace: string): boolean =>
    directory.count(namespace) > 0 ||
    fleet.tasks.view.count(namespace) > 0 ||
    fleet.tasks.allocations.count(namespace) > 0 ||
    fleet.tasks.quotas.count(namespace) > 0;
  const ledger = (namespace: string) =>
    isKnown(namespace) ? fleet.tasks.scheduling.ledger(namespace) : undefined;
  const directories = storeDirectories(config);
  const checks = createChecks({
    ...sight,
    interactions: { directory, links: fleet.coordination.traffic.counts },
    state: {
      stores,
      views,
      replicaId: config.id,
      disks: () => readDisks(directories),
      monoMs: () => clock.monoMs(),
    },
    stability: {
      records: fleet.records,
      outlook: fleet.outlook,
      replicas,
      store: stores.agents,
      clock,
      host: readHost,
    },
    operations: { operations: fleet.coordination.operationView, storeMs },
    registration: { directory, storeMs, limits: config.limits },
    health: { directory, reader, threshold: config.alertThresholds.agentHealth },
    failures: { directory, storeMs },
    communications: {
      ...{ store: stores.agents, directory, mailboxes, storeMs },
      maxMailbox: config.limits.maxMailbox,
      acceptWithinMs: config.deliveries.acceptWithinMs,
    },
    allocation: {
      ...{ directory, mailboxes, ledger, storeMs },
      tasks: fleet.tasks.view,
      allocations: fleet.tasks.allocations,
    },
    usage: { ledger, threshold: config.alertThresholds.resourceUsage },
    constraints: { tasks: fleet.tasks.view, ledger, storeMs },
    optimization: {
      plan: (namespace) => (isKnown(namespace) ? fleet.resources.rebalancing.dry(namespace) : undefined),
      tasks: fleet.tasks.view,
    },
    versions: { replicas: () => replicas.all(), host: readHost },
    configuration: config,
  });
  return new Diagnosis({
    ...{ checks, clock, log, replicaId: config.id },
    namespaces: () => directory.namespaces().filter((namespace) => namespace !== SYSTEM_NAMESPACE),
  });
}

/** Where embedded stores keep their files. */
function storeDirectories({ store, databases }: Pick<Config, 'store' | 'databases'>): string[] {
  const directories = Object.entries(databases).flatMap(([role, value]) => {
    const isUrl = storeKind(value) !== undefined;
    const url = isUrl ? value : store;
    if (storeKind(url) !== 'lmdb') return [];
    return [join(url.slice('lmdb:'.length), isUrl ? role : value)];
  });
  return [...new Set(directories)];
}
