import type { Config } from './config/config.ts';
import type { EventLog } from './domain/monitoring/event-log.ts';
import type { Replicas } from './domain/monitoring/replicas.ts';
import type { Fleet } from './fleet.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { EventLoopMonitor } from './lib/event-loop.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import type { Stores } from './stores.ts';

export interface MonitoringOptions {
  config: Config;
  stores: Stores;
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

export function createMonitoring(_options: MonitoringOptions) {
  return {};
}
