import { scrub } from './scrub.ts';

/** How the exports of one signal go. */
export interface ExportHealth {
  /** "traces", "metrics" or "logs". */
  signal: string;
  /** Without secrets. */
  target: string;
  /** Of the last export; undefined: none has ended yet. */
  healthy: boolean | undefined;
  /** When that was, wall clock. */
  lastMs: number | undefined;
  /** Failed ones in a row. */
  failures: number;
  error: string;
}

interface ExportResult {
  /** 0: it arrived. */
  code: number;
  error?: Error | undefined;
}

interface Exporter<Items> {
  export(items: Items, done: (result: ExportResult) => void): void;
}

const MAX_ERROR = 200;

/** Listens to what becomes of exports: the SDK tells of failures only in its diagnostics, and of nothing else. */
export class ExportWatch {
  readonly #signals = new Map<string, ExportHealth>();
  readonly #env: NodeJS.ProcessEnv;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  all(): ExportHealth[] {
    return [...this.#signals.values()];
  }

  /** The exporter itself; what it exports is noted from now on. */
  watch<Items, E extends Exporter<Items>>(signal: string, exporter: E & Exporter<Items>): E {
    const health: ExportHealth = {
      ...{ signal, target: this.#target(signal), healthy: undefined, lastMs: undefined },
      ...{ failures: 0, error: '' },
    };
    this.#signals.set(signal, health);
    const send = exporter.export.bind(exporter);
    exporter.export = (items, done) =>
      send(items, (result) => {
        health.lastMs = Date.now();
        health.healthy = result.code === 0;
        health.failures = health.healthy ? 0 : health.failures + 1;
        health.error = health.healthy ? '' : scrub(`${result.error?.message ?? ''}`.slice(0, MAX_ERROR));
        done(result);
      });
    return exporter;
  }

  /** As the specification of OTLP exporters finds it. */
  #target(signal: string): string {
    const own = this.#env[`OTEL_EXPORTER_OTLP_${signal.toUpperCase()}_ENDPOINT`];
    return scrub(own || this.#env.OTEL_EXPORTER_OTLP_ENDPOINT || 'localhost');
  }
}
