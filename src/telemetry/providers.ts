import { hostname } from 'node:os';
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus';
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import {
  BatchLogRecordProcessor,
  ConsoleLogRecordExporter,
  LoggerProvider,
  SimpleLogRecordProcessor,
} from '@opentelemetry/sdk-logs';
import {
  ConsoleMetricExporter,
  type IMetricReader,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  ConsoleSpanExporter,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';
import { ExportWatch } from './export-health.ts';
import { otlpLogExporter, otlpMetricExporter, otlpSpanExporter } from './exporters.ts';
import { ATTR } from './names.ts';
import type { OtelChoice } from './otel-env.ts';

export interface ProviderOptions {
  env: NodeJS.ProcessEnv;
  choice: OtelChoice;
  /** What identifies this replica among others. */
  instanceId: string;
  version: string;
}

export interface Providers {
  /** Absent where nothing is exported. */
  tracers: BasicTracerProvider | undefined;
  loggers: LoggerProvider | undefined;
  meters: MeterProvider;
  /** Collects for /metrics; starts no server. */
  scrape: PrometheusExporter;
  /** How exports to collectors go. */
  exports: ExportWatch;
}

/** Builds what `choice` asks for. Call it within `withOtelVariables`. */
export function createProviders(options: ProviderOptions): Providers {
  const resource = describeSelf(options);
  const scrape = new PrometheusExporter({ preventServerStart: true });
  const exports = new ExportWatch(options.env);
  return {
    tracers: tracerProvider(options, resource, exports),
    loggers: loggerProvider(options, resource, exports),
    meters: new MeterProvider({ resource, readers: [scrape, ...metricReaders(options, exports)] }),
    scrape,
    exports,
  };
}

/** OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win. Not the SDK's process detector: it publishes the command line. */
function describeSelf({ instanceId, version }: ProviderOptions): Resource {
  const own = resourceFromAttributes({
    [ATTR.serviceName]: 'orchestrator',
    [ATTR.serviceVersion]: version,
    [ATTR.serviceInstance]: instanceId,
    [ATTR.hostName]: hostname(),
    [ATTR.processPid]: process.pid,
    [ATTR.runtimeName]: 'nodejs',
    [ATTR.runtimeVersion]: process.versions.node,
  });
  return defaultResource()
    .merge(own)
    .merge(detectResources({ detectors: [envDetector] }));
}

function tracerProvider(
  { choice }: ProviderOptions,
  resource: Resource,
  exports: ExportWatch,
): BasicTracerProvider | undefined {
  const { traces } = choice;
  if (traces.kind === 'none') return undefined;
  const processor =
    traces.kind === 'console'
      ? new SimpleSpanProcessor(new ConsoleSpanExporter())
      : new BatchSpanProcessor(exports.watch('traces', otlpSpanExporter(traces.protocol)));
  return new BasicTracerProvider({ resource, spanProcessors: [processor] });
}

function loggerProvider(
  { choice, env }: ProviderOptions,
  resource: Resource,
  exports: ExportWatch,
): LoggerProvider | undefined {
  const { logs } = choice;
  if (logs.kind === 'none') return undefined;
  const processor =
    logs.kind === 'console'
      ? new SimpleLogRecordProcessor(new ConsoleLogRecordExporter())
      : new BatchLogRecordProcessor(exports.watch('logs', otlpLogExporter(logs.protocol)), {
          scheduledDelayMillis: positive(env, 'OTEL_BLRP_SCHEDULE_DELAY', 1_000),
          exportTimeoutMillis: positive(env, 'OTEL_BLRP_EXPORT_TIMEOUT', 30_000),
          maxQueueSize: positive(env, 'OTEL_BLRP_MAX_QUEUE_SIZE', 2_048),
          maxExportBatchSize: positive(env, 'OTEL_BLRP_MAX_EXPORT_BATCH_SIZE', 512),
        });
  return new LoggerProvider({ resource, processors: [processor] });
}

function metricReaders({ choice, env }: ProviderOptions, exports: ExportWatch): IMetricReader[] {
  const { metrics } = choice;
  if (metrics.kind === 'none') return [];
  const exportIntervalMillis = positive(env, 'OTEL_METRIC_EXPORT_INTERVAL', 60_000);
  const timeout = positive(env, 'OTEL_METRIC_EXPORT_TIMEOUT', 30_000);
  return [
    new PeriodicExportingMetricReader({
      exporter:
        metrics.kind === 'console'
          ? new ConsoleMetricExporter()
          : exports.watch('metrics', otlpMetricExporter(metrics.protocol)),
      exportIntervalMillis,
      // The reader refuses a time-out that is longer than the interval.
      exportTimeoutMillis: Math.min(timeout, exportIntervalMillis),
    }),
  ];
}

/** A whole number of milliseconds or items from a variable; what makes no sense counts as not set, as the SDK does. */
function positive(env: NodeJS.ProcessEnv, name: string, otherwise: number): number {
  const value = Number(env[name]);
  return Number.isInteger(value) && value > 0 ? value : otherwise;
}
