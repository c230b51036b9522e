export interface PacingOptions {
  /** The shortest interval between pings of one agent. */
  pingIntervalMs: number;
  /** Ceiling of pings a second for this replica. */
  maxPingsPerSecond: number;
  /** The shortest silence that makes LOST. */
  leaseMs: number;
}

/** A lease covers at least this many intervals, so that one lost answer never makes a loss. */
const INTERVALS_PER_LEASE = 3;

/** How often this replica pings each of `sessions` agents, and what lease follows; both grow with the fleet. */
export function pacingFor(sessions: number, options: PacingOptions): { intervalMs: number; leaseMs: number } {
  const intervalMs = Math.max(options.pingIntervalMs, (sessions / options.maxPingsPerSecond) * 1000);
  return { intervalMs, leaseMs: Math.max(options.leaseMs, INTERVALS_PER_LEASE * intervalMs) };
}
