import type { Clock } from '../../lib/clock.ts';

interface Sample {
  /** The server's clock, read at some moment before `atMs`. */
  serverMs: number;
  /** Own monotonic clock when the answer was here. */
  atMs: number;
  /** How long the question took: the sample is late by at most that. */
  roundTripMs: number;
}

const KEEP = 8;
/** How far the clocks of two servers may differ without a word: more than a failover takes to be noticed in. */
const STEP_MS = 2_000;
/** The same for those of Redis and of this machine. */
const SKEW_MS = 60_000;

/**
 * The clock of Redis without a round trip for each look: from the quickest of the last heartbeats. It is behind the
 * true one by at most that round trip, never ahead, and not behind any commit that this replica made.
 */
export class StoreClock {
  readonly #clock: Clock;
  #samples: Sample[] = [];
  #latestMs = 0;

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  /**
   * Another server: what is known of the old one's clock says nothing about this one's. Should it be behind, time stands
   * still until it has caught up: leases and commits were measured by the later one.
   */
  reset(): void {
    this.nowMs();
    this.#samples = [];
  }

  sample(serverMs: number, askedMs: number): void {
    const atMs = this.#clock.monoMs();
    this.#samples.push({ serverMs, atMs, roundTripMs: atMs - askedMs });
    if (this.#samples.length > KEEP) this.#samples.shift();
  }

  /** The store's clock was at least at `timeMs`. */
  atLeast(timeMs: number): void {
    this.#latestMs = Math.max(this.#latestMs, timeMs);
  }

  nowMs(): number | undefined {
    let best: Sample | undefined;
    for (const sample of this.#samples) {
      if (best === undefined || sample.roundTripMs <= best.roundTripMs) best = sample;
    }
    if (best === undefined) return undefined;
    const now = Math.floor(best.serverMs + this.#clock.monoMs() - best.atMs);
    this.#latestMs = Math.max(this.#latestMs, now);
    return this.#latestMs;
  }
}

/** What is to be told of the clock of a server that was not used before: epochs, expiries and deadlines go by it. */
export function clockDifference(clocks: {
  timeMs: number;
  /** What the clock of the server before would say. */
  expectedMs: number | undefined;
  wallMs: number;
}): { step_ms: number; skew_ms: number } | undefined {
  const { timeMs, expectedMs = timeMs, wallMs } = clocks;
  const [step, skew] = [Math.round(timeMs - expectedMs), Math.round(timeMs - wallMs)];
  return Math.abs(step) > STEP_MS || Math.abs(skew) > SKEW_MS ? { step_ms: step, skew_ms: skew } : undefined;
}
