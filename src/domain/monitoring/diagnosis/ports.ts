/** A way out for telemetry: "traces", "metrics", "logs". */
export interface ExporterHealth {
  signal: string;
  /** Without secrets. */
  target: string;
  /** Of the last export; undefined: none was made yet. */
  healthy: boolean | undefined;
  /** Wall clock. */
  lastMs: number | undefined;
  /** Failed ones in a row. */
  failures: number;
  error: string;
}

/** How the history of measurements gets on. */
export interface HistoryHealth {
  available: boolean;
  /** What is wrong; empty: nothing. */
  detail: string;
  /** Chunks that wait to be stored. */
  chunks: number;
  bytes: number;
  /** Chunks that were dropped because the database was away for too long. */
  dropped: number;
}
