import type { SinkConfig } from '../../../config/monitoring-config.ts';

/** Where alerts go if no sinks are configured. */
const LOG: SinkConfig = {
  name: 'log',
  kind: 'log',
  timeoutMs: 5000,
  retryMinMs: 1000,
  retryMaxMs: 60_000,
  alerts: true,
  minSeverity: 'info',
  events: [],
  namespaces: [],
};

/** The sinks in force: those that are configured, else the log. */
export const sinksInForce = (configured: readonly SinkConfig[]): readonly SinkConfig[] =>
  configured.length === 0 ? [LOG] : configured;
