import { setTimeout as delay } from 'node:timers/promises';
import type { Scope } from './check.ts';

const LOOK_MS = 50;

/**
 * Looks again for a while at what may be on its way: a commit that views have not heard of yet, a lease that changes hands.
 * @returns what is still there at the end; only what `keyOf` names the same in every look counts
 */
export async function settled<T>(
  look: () => Promise<T[]> | T[],
  keyOf: (found: T) => string,
  { signal, settleMs }: Pick<Scope, 'signal' | 'settleMs'>,
): Promise<T[]> {
  const untilMs = performance.now() + settleMs;
  let found = await look();
  while (found.length > 0 && performance.now() < untilMs && !signal.aborted) {
    await delay(LOOK_MS, undefined, { signal }).catch(() => {});
    const before = new Set(found.map(keyOf));
    found = (await look()).filter((each) => before.has(keyOf(each)));
  }
  return found;
}
