import type { Config } from './config/config.ts';
import type { Leases } from './domain/agent/care/leases.ts';
import type { AlertView } from './domain/monitoring/alerts/alert-view.ts';
import { ALERTS } from './domain/monitoring/alerts/evaluator.ts';
import { EventWriter } from './domain/monitoring/events.ts';
import { sinksInForce } from './domain/monitoring/sinks/default-sink.ts';
import { type SinkMetrics, Sinks } from './domain/monitoring/sinks/sinks.ts';
import { createAdapter } from './integrations/create-adapter.ts';
import type { Background } from './lib/background.ts';
import type { Clock } from './lib/clock.ts';
import type { Ids } from './lib/ids.ts';
import type { Logger } from './lib/logger.ts';
import type { Store } from './state/store.ts';
import type { StoreTime } from './state/store-time.ts';
import type { Views } from './state/views.ts';
import { unlessStoreAway } from './stores.ts';

export interface CreateSinksOptions {
  config: Pick<Config, 'id' | 'alerts' | 'events'>;
  /** That of the agents. */
  store: Store;
  storeTime: Pick<StoreTime, 'ms'>;
  views: Pick<Views, 'position'>;
  /** Of the alerts; its holder sends. */
  leases: Leases;
  alerts: AlertView;
  clock: Clock;
  ids: Ids;
  log: Logger;
  background: Background;
  metrics: SinkMetrics;
  env: NodeJS.ProcessEnv;
  replicaAlive(replicaId: string): boolean;
}

/** What tells sinks, with its adapters. A view of the agents' store, after that of the alerts. */
export function createSinks(options: CreateSinksOptions): Sinks {
  const { config, store, storeTime, views, leases, clock, ids, log, env } = options;
  const { resendMs } = config.alerts;
  const wallMs = (): number => clock.wallMs();
  return new Sinks({
    ...{ store, clock, log, background: options.background, metrics: options.metrics, resendMs },
    sinks: sinksInForce(config.alerts.sinks),
    retentionMs: config.events.retentionMs,
    adapterFor: (sink) => createAdapter(sink, { resendMs, wallMs, log, env }),
    records: options.alerts,
    lease: {
      held: (namespace) => {
        const held = leases.held(namespace, ALERTS);
        // What the holder before stored is to be seen first, or a sink hears of old states after newer ones.
        const seen = held !== undefined && views.position(namespace).revision >= held.fence.revision;
        return seen ? held : undefined;
      },
      lost: (namespace) => leases.refused(namespace, ALERTS),
      acquire: async (namespace) => {
        await unlessStoreAway(async () => void (await leases.acquire(namespace, ALERTS)))();
      },
    },
    storeMs: () => storeTime.ms(),
    events: new EventWriter({ replicaId: config.id, wallMs }),
    random: () => ids.random(),
    replicaId: config.id,
    replicaAlive: options.replicaAlive,
  });
}
