import { DiagLogLevel, diag } from '@opentelemetry/api';
import type { Logger } from '../lib/logger.ts';
import type { ExportHealth } from './export-health.ts';
import { createInstruments, type Instruments } from './instruments.ts';
import { createLogger, type LoggerOptions } from './log.ts';
import { bridgeLogs, NOT_EXPORTED } from './log-bridge.ts';
import { SCOPE } from './names.ts';
import { chooseExporters, withOtelVariables } from './otel-env.ts';
import { measureProcess } from './process-metrics.ts';
import { prometheusText } from './prometheus.ts';
import { createProviders, type Providers } from './providers.ts';
import { scrub } from './scrub.ts';
import { createTracing, noTracing, type Tracing } from './tracing.ts';

/** What telemetry needs of the configuration. */
export interface TelemetryConfig {
  /** Names this replica. */
  id: string;
  log: { level: string; format: LoggerOptions['format'] };
}

export interface TelemetryOptions {
  config: TelemetryConfig;
  version: string;
  /** The OTEL_* variables. */
  env: NodeJS.ProcessEnv;
  /** Used instead of a logger of its own; its lines are not exported. */
  log?: Logger;
  /** Where the own logger writes; default: the standard output. */
  destination?: LoggerOptions['destination'];
}

export interface Telemetry {
  instruments: Instruments;
  tracer: Tracing;
  log: Logger;
  /** Everything for Prometheus, in its text format 0.0.4. */
  renderMetrics(): Promise<string>;
  /** How exports to collectors go; empty: nothing is exported. */
  exporters(): ExportHealth[];
  /** Exports what is left, for at most three seconds. Never throws. */
  shutdown(): Promise<void>;
}

/** How long the end of the process waits for a collector that does not answer, milliseconds. */
const SHUTDOWN_MS = 3_000;

export function startTelemetry(options: TelemetryOptions): Telemetry {
  const { config, version, env } = options;
  const choice = chooseExporters(env);
  const providers = withOtelVariables(env, () =>
    createProviders({ env, choice, instanceId: config.id, version }),
  );
  const { tracers, loggers, meters, scrape } = providers;
  const tracer = tracers === undefined ? noTracing : createTracing(tracers.getTracer(SCOPE, version));
  const log = options.log ?? ownLogger(options, providers, tracer, version);
  for (const warning of choice.warnings) log.warn({ [NOT_EXPORTED]: true }, warning);
  const exports = [choice.traces, choice.metrics, choice.logs].some(({ kind }) => kind === 'otlp');
  if (exports) reportExportFailures(log, env);

  const meter = meters.getMeter(SCOPE, version);
  measureProcess(meter, version);
  return {
    instruments: createInstruments(meter),
    tracer,
    log,
    renderMetrics: async () => {
      const { resourceMetrics, errors } = await scrape.collect();
      for (const error of errors)
        log.warn({ [NOT_EXPORTED]: true, err: error }, 'a metric could not be read');
      return prometheusText(resourceMetrics);
    },
    exporters: () => providers.exports.all(),
    shutdown: async () => {
      await bounded([tracers?.shutdown(), loggers?.shutdown(), meters.shutdown()], log);
      if (exports) diag.disable();
    },
  };
}

function ownLogger(
  { config, destination }: TelemetryOptions,
  { loggers }: Providers,
  tracer: Tracing,
  version: string,
): Logger {
  return createLogger({
    level: config.log.level,
    format: config.log.format,
    mixin: tracer.activeIds,
    ...(destination === undefined ? {} : { destination }),
    ...(loggers === undefined ? {} : { tee: bridgeLogs(loggers.getLogger(SCOPE, version), tracer) }),
  });
}

/** The SDK tells of failed exports only through its global diagnostics; with several services the first one hears. */
function reportExportFailures(log: Logger, env: NodeJS.ProcessEnv): void {
  const fields = { [NOT_EXPORTED]: true };
  const words = (message: string) => `OpenTelemetry: ${scrub(message.slice(0, 500))}`;
  const level = (env.OTEL_LOG_LEVEL ?? '').trim().toUpperCase();
  diag.setLogger(
    {
      error: (message) => log.warn(fields, words(message)),
      warn: (message) => log.warn(fields, words(message)),
      info: (message) => log.info(fields, words(message)),
      debug: (message) => log.debug(fields, words(message)),
      verbose: (message) => log.trace(fields, words(message)),
    },
    {
      logLevel: level in DiagLogLevel ? DiagLogLevel[level as keyof typeof DiagLogLevel] : DiagLogLevel.WARN,
      suppressOverrideMessage: true,
    },
  );
}

async function bounded(shutdowns: (Promise<void> | undefined)[], log: Logger): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((resolve) => {
    timer = setTimeout(() => resolve('late'), SHUTDOWN_MS);
  });
  const outcome = await Promise.race([Promise.allSettled(shutdowns), late]);
  clearTimeout(timer);
  if (outcome === 'late') {
    log.warn({ [NOT_EXPORTED]: true }, 'telemetry was not exported to its end');
    return;
  }
  for (const result of outcome) {
    if (result.status === 'rejected') {
      log.warn({ [NOT_EXPORTED]: true, err: result.reason }, 'telemetry was not exported to its end');
    }
  }
}
