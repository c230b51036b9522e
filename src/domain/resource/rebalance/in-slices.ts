import type { Clock } from '../../../lib/clock.ts';

/** How long one slice may take: pings wait no longer. */
const SLICE_MS = 8;

/** Runs work that goes step by step, and lets others have their turn of the event loop in between. */
export async function inSlices<T>(steps: Generator<void, T>, clock: Clock): Promise<T> {
  let startMs = clock.monoMs();
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (clock.monoMs() - startMs < SLICE_MS) continue;
    await new Promise((resolve) => setImmediate(resolve));
    startMs = clock.monoMs();
  }
}
