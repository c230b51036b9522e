import type { Config } from './config/config.ts';
import { Leases } from './domain/agent/care/leases.ts';
import { EventWriter } from './domain/monitoring/events.ts';
import { ServiceView } from './domain/monitoring/services/service-view.ts';
import { type ServiceFigures, Services } from './domain/monitoring/services/services.ts';
import type { Fleet } from './fleet.ts';
import { createProbes } from './integrations/probes/probes.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';

export interface SystemServicesOptions {
  config: Config;
  store: Store;
  fleet: Fleet;
  figures: ServiceFigures;
  clock: Clock;
  ids: Ids;
  log: Logger;
  background: Background;
  replicaAlive(replicaId: string): boolean;
}

/** The services that are no agents, and the replica that asks them, wired together. Before the views start. */
export function createSystemServices(options: SystemServicesOptions): Services {
  const { config, store, fleet, figures, clock, ids, log, background } = options;
  const { self } = fleet.context;
  const view = new ServiceView();
  fleet.views.add(view);
  return new Services({
    ...{ view, store, figures, clock, log, background, self, views: fleet.views },
    services: config.capabilities.includes('monitoring') ? config.services : [],
    probes: createProbes(),
    storeTime: fleet.storeTime,
    leases: new Leases({
      ...{ store, clock, self, records: fleet.records, replicaId: config.id, startMs: clock.wallMs() },
      replicaAlive: options.replicaAlive,
    }),
    events: new EventWriter({ replicaId: config.id, wallMs: () => clock.wallMs() }),
    replicaId: config.id,
    random: () => ids.random(),
  });
}
