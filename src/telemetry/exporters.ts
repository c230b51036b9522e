import { createRequire } from 'node:module';
import type { LogRecordExporter } from '@opentelemetry/sdk-logs';
import type { PushMetricExporter } from '@opentelemetry/sdk-metrics';
import type { SpanExporter } from '@opentelemetry/sdk-trace-base';
import type { OtlpProtocol } from './otel-env.ts';

// Loaded only when asked for: together they take longer to load than all of the rest of telemetry.
const load = createRequire(import.meta.url);

export function otlpSpanExporter(protocol: OtlpProtocol): SpanExporter {
  switch (protocol) {
    case 'grpc': {
      const { OTLPTraceExporter } = load(
        '@opentelemetry/exporter-trace-otlp-grpc',
      ) as typeof import('@opentelemetry/exporter-trace-otlp-grpc');
      return new OTLPTraceExporter();
    }
    case 'http/json': {
      const { OTLPTraceExporter } = load(
        '@opentelemetry/exporter-trace-otlp-http',
      ) as typeof import('@opentelemetry/exporter-trace-otlp-http');
      return new OTLPTraceExporter();
    }
    case 'http/protobuf': {
      const { OTLPTraceExporter } = load(
        '@opentelemetry/exporter-trace-otlp-proto',
      ) as typeof import('@opentelemetry/exporter-trace-otlp-proto');
      return new OTLPTraceExporter();
    }
  }
}

export function otlpMetricExporter(protocol: OtlpProtocol): PushMetricExporter {
  switch (protocol) {
    case 'grpc': {
      const { OTLPMetricExporter } = load(
        '@opentelemetry/exporter-metrics-otlp-grpc',
      ) as typeof import('@opentelemetry/exporter-metrics-otlp-grpc');
      return new OTLPMetricExporter();
    }
    case 'http/json': {
      const { OTLPMetricExporter } = load(
        '@opentelemetry/exporter-metrics-otlp-http',
      ) as typeof import('@opentelemetry/exporter-metrics-otlp-http');
      return new OTLPMetricExporter();
    }
    case 'http/protobuf': {
      const { OTLPMetricExporter } = load(
        '@opentelemetry/exporter-metrics-otlp-proto',
      ) as typeof import('@opentelemetry/exporter-metrics-otlp-proto');
      return new OTLPMetricExporter();
    }
  }
}

export function otlpLogExporter(protocol: OtlpProtocol): LogRecordExporter {
  switch (protocol) {
    case 'grpc': {
      const { OTLPLogExporter } = load(
        '@opentelemetry/exporter-logs-otlp-grpc',
      ) as typeof import('@opentelemetry/exporter-logs-otlp-grpc');
      return new OTLPLogExporter();
    }
    case 'http/json': {
      const { OTLPLogExporter } = load(
        '@opentelemetry/exporter-logs-otlp-http',
      ) as typeof import('@opentelemetry/exporter-logs-otlp-http');
      return new OTLPLogExporter();
    }
    case 'http/protobuf': {
      const { OTLPLogExporter } = load(
        '@opentelemetry/exporter-logs-otlp-proto',
      ) as typeof import('@opentelemetry/exporter-logs-otlp-proto');
      return new OTLPLogExporter();
    }
  }
}
