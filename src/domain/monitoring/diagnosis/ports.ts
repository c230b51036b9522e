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
  /** When measurements were last stored, wall clock; undefined: not since this replica started. */
  writtenMs: number | undefined;
  /** How often they are, at the latest. */
  intervalMs: number;
  /** Measurements (cells) that wait to be stored. */
  waiting: number;
  /** Measurements that were dropped because the database was away for too long. */
  dropped: number;
}
