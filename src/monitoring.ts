import type { Config } from './config/config.ts';
import { createDiagnosis } from './diagnosis.ts';
import type { EventLog } from './domain/monitoring/event-log.ts';
import { createFigures, FIGURES_TICK_MS } from './domain/monitoring/figures/create-figures.ts';
import type { Replicas } from './domain/monitoring/replicas.ts';
import { SERVICES_TICK_MS } from './domain/monitoring/services/services.ts';
import type { Fleet } from './fleet.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { CloseStack } from './lib/close-stack.ts';
import type { EventLoopMonitor } from './lib/event-loop.ts';
import { every } from './lib/every.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';
import { type Stores, unlessStoreAway } from './stores.ts';
import { createSystemServices } from './system-services.ts';

export interface MonitoringOptions {
  config: Config;
  stores: Stores;
  /** That of the agents, traced. */
  store: Store;
  fleet: Fleet;
  replicas: Replicas;
  events: EventLog;
  clock: Clock;
  ids: Ids;
  log: Logger;
  background: Background;
  loop: EventLoopMonitor;
  version: string;
}

/** Figures, history, alerts, sinks, services, diagnosis and reports, wired together. */
export type Monitoring = ReturnType<typeof createMonitoring>;

/** Has to be made before the views start: figures count what the store has from its first snapshot on. */
export function createMonitoring(options: MonitoringOptions) {
  const { config, fleet, replicas, clock, log, background } = options;
  const figures = createFigures({
    ...{ store: options.store, clock, log, replicaId: config.id, replicas },
    ...{ context: fleet.context, sessions: fleet.sessions, directory: fleet.directory },
    ...{ observations: fleet.observations, verdicts: fleet.verdicts, mailboxes: fleet.mailboxes },
    tasks: fleet.tasks.view,
    pool: (namespace) => fleet.tasks.scheduling.ledger(namespace).pool,
    waiting: (namespace) => fleet.tasks.scheduling.scheduler(namespace).waiting.all(),
    storeMs: () => fleet.storeTime.ms(),
  });
  fleet.views.add(figures.view);
  fleet.context.measuring = {
    heard: (session, _rttMs, nowMs) => figures.measuring.heard(session, nowMs),
    ended: (session) => figures.measuring.ended(session),
  };
  const services = createSystemServices({
    ...{ config, store: options.store, fleet, figures, clock, ids: options.ids, log, background },
    replicaAlive: (id) => replicas.isAlive(id),
  });
  const diagnosis = createDiagnosis({
    config,
    stores: options.stores,
    fleet,
    replicas,
    clock,
    log,
    sight: {},
  });
  return {
    diagnosis,
    figures,
    services,
    /** Begins what is done again and again; what is pushed to `closing` ends it. */
    start: (closing: CloseStack): void => {
      const repeat = (name: string, intervalMs: number, work: () => Promise<void>): void =>
        closing.push(name, every(background, name, intervalMs, unlessStoreAway(work)));
      repeat('tell figures', FIGURES_TICK_MS, async () => figures.tick());
      repeat('publish figures', FIGURES_TICK_MS, () => figures.publish());
      background.run(
        'read services',
        unlessStoreAway(() => services.load()),
      );
      repeat('ask services', SERVICES_TICK_MS, async () => services.tick());
    },
    /** Before the sessions are sent away. */
    leave: async (): Promise<void> => {
      await services.leave();
      await figures.leave();
    },
  };
}
