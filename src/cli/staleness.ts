import type { Context } from './context.ts';
import { staleAfterMs } from './output/freshness.ts';

/** How long to wait for the ping interval, which only decides when a reading counts as stale. */
const patienceMs = 2_000;

/** The age from which readings are stale. Asks the service for its ping interval; does without if it does not say. */
export async function staleness(context: Context): Promise<number> {
  if (context.format === 'json') return staleAfterMs(undefined);
  const { connection, namespace, signal, timeoutMs } = context;
  try {
    const call = { signal, timeoutMs: Math.min(timeoutMs, patienceMs) };
    return staleAfterMs((await connection.monitoring.getSystemStatus({ namespace }, call)).status);
  } catch {
    return staleAfterMs(undefined);
  }
}
