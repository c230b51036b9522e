import { type AnyValueMap, type Logger as OtelLogger, SeverityNumber } from '@opentelemetry/api-logs';
import type { Tracing } from './tracing.ts';

const SEVERITY: Readonly<Record<string, SeverityNumber>> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
  fatal: SeverityNumber.FATAL,
};

/** Marks lines about exporting itself: exporting those would never end. */
export const NOT_EXPORTED = 'otel';

/** Turns a finished log line (secrets are out by then) into an OpenTelemetry log record. */
export function bridgeLogs(logger: OtelLogger, tracer: Tracing): (line: string) => void {
  return (line) => {
    const { level, time, msg, trace_id, span_id, ...attributes } = JSON.parse(line) as AnyValueMap;
    if (attributes[NOT_EXPORTED] !== undefined) return;
    const context = tracer.activeContext();
    logger.emit({
      timestamp: new Date(String(time)),
      severityText: String(level).toUpperCase(),
      severityNumber: SEVERITY[String(level)] ?? SeverityNumber.UNSPECIFIED,
      body: typeof msg === 'string' ? msg : '',
      attributes,
      ...(context === undefined ? {} : { context }),
    });
  };
}
