import type { SinkConfig } from '../config/monitoring-config.ts';
import { FEED_CONCURRENCY } from '../domain/monitoring/sinks/gate.ts';
import type { SinkAdapter } from '../domain/monitoring/sinks/ports.ts';
import type { Logger } from '../lib/logger.ts';
import { createAlertmanager } from './alertmanager.ts';
import { createCommand } from './command.ts';
import { HttpClient } from './http-client.ts';
import { createLogSink } from './log.ts';
import { createWebhook, WEBHOOK_CONCURRENCY } from './webhook.ts';

export interface AdapterOptions {
  /** `alerts.resend`, milliseconds. */
  resendMs: number;
  wallMs: () => number;
  log: Logger;
  env: NodeJS.ProcessEnv;
}

/** What sends to a sink, by its kind. Opens nothing before the first send. */
export function createAdapter(config: SinkConfig, options: AdapterOptions): SinkAdapter {
  const { resendMs, wallMs, log, env } = options;
  switch (config.kind) {
    case 'webhook': {
      const http = new HttpClient({ maxSockets: WEBHOOK_CONCURRENCY + FEED_CONCURRENCY });
      return createWebhook({ config, http, wallMs });
    }
    case 'alertmanager':
      return createAlertmanager({ config, http: new HttpClient({ maxSockets: 2 }), wallMs, resendMs });
    case 'command':
      return createCommand({ config, log, env });
    case 'log':
      return createLogSink({ log });
  }
}
