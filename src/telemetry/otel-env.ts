/** What the standard OTEL_* variables ask for. Only the choice of exporters is decided here; the SDK reads the rest. */
export interface OtelChoice {
  traces: ExporterChoice;
  metrics: ExporterChoice;
  logs: ExporterChoice;
  /** Complaints for the log. */
  warnings: string[];
}

export type OtlpProtocol = 'grpc' | 'http/protobuf' | 'http/json';
export type ExporterChoice =
  | { kind: 'none' }
  | { kind: 'console' }
  | { kind: 'otlp'; protocol: OtlpProtocol };

type Signal = 'TRACES' | 'METRICS' | 'LOGS';

/**
 * OTLP is on for a signal if OTEL_<SIGNAL>_EXPORTER says so, or if it says nothing and an endpoint is set. (The
 * specification would export to localhost unasked; a service that nobody configured should not.)
 */
export function chooseExporters(env: NodeJS.ProcessEnv): OtelChoice {
  const warnings: string[] = [];
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === 'true') {
    const none: ExporterChoice = { kind: 'none' };
    return { traces: none, metrics: none, logs: none, warnings };
  }
  const choose = (signal: Signal) => chooseExporter(env, signal, warnings);
  return { traces: choose('TRACES'), metrics: choose('METRICS'), logs: choose('LOGS'), warnings };
}

function chooseExporter(env: NodeJS.ProcessEnv, signal: Signal, warnings: string[]): ExporterChoice {
  const variable = `OTEL_${signal}_EXPORTER`;
  const wanted = list(env[variable]);
  // Prometheus is always served at /metrics.
  const others = signal === 'METRICS' ? wanted.filter((name) => name !== 'prometheus') : wanted;
  for (const name of others) {
    if (!['otlp', 'console', 'none'].includes(name)) {
      warnings.push(`${variable}: "${name.slice(0, 40)}" is not supported (otlp, console, none)`);
    }
  }
  if (others.includes('none')) return { kind: 'none' };
  if (others.includes('otlp')) return { kind: 'otlp', protocol: protocol(env, signal, warnings) };
  if (others.includes('console')) return { kind: 'console' };
  if (wanted.length > 0) return { kind: 'none' };
  const endpoint = env.OTEL_EXPORTER_OTLP_ENDPOINT || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
  return endpoint ? { kind: 'otlp', protocol: protocol(env, signal, warnings) } : { kind: 'none' };
}

function protocol(env: NodeJS.ProcessEnv, signal: Signal, warnings: string[]): OtlpProtocol {
  const variable = `OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`;
  const value = (env[variable] || env.OTEL_EXPORTER_OTLP_PROTOCOL || 'http/protobuf').trim();
  if (value === 'grpc' || value === 'http/protobuf' || value === 'http/json') return value;
  warnings.push(`OTLP protocol "${value.slice(0, 40)}" is not supported; http/protobuf is used`);
  return 'http/protobuf';
}

function list(value: string | undefined): string[] {
  return (value ?? '')
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

/**
 * Runs `build` with the OTEL_* variables of `env`: the SDK's constructors read process.env and nothing else. In a
 * running service `env` is process.env and nothing happens; several services in one process (tests) stay apart.
 */
export function withOtelVariables<T>(env: NodeJS.ProcessEnv, build: () => T): T {
  if (env === process.env) return build();
  const saved = Object.entries(process.env).filter(([name]) => name.startsWith('OTEL_'));
  const clear = () => {
    for (const name of Object.keys(process.env)) if (name.startsWith('OTEL_')) delete process.env[name];
  };
  clear();
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('OTEL_') && value !== undefined) process.env[name] = value;
  }
  try {
    return build();
  } finally {
    clear();
    for (const [name, value] of saved) process.env[name] = value;
  }
}
