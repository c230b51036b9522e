import type { Clock } from '../../lib/clock.ts';

/** The sessions of the replicas that share a fleet. */
export interface Shares {
  /** What each would hold if all held as many. */
  share: number;
  /** What the one that holds the fewest holds. */
  least: number;
}

export interface RebalancingOptions {
  clock: Clock;
  /** Sessions that this replica holds. */
  held(): number;
  /** Over this replica and the others that are there to stay; undefined: it is alone. */
  shares(): Shares | undefined;
}

const LOOK_MS = 1000;
/** So much above the share is left alone: moving costs each agent a moment without a session. */
const TOLERANCE = 0.1;
/** The part of the excess that is sent on in a second: the others are heard of a second late, and must keep up. */
const PART = 1 / 20;
/** After so many moves the replica that holds the fewest must hold more than before. */
const TRIAL = 20;
/** Time for those who were moved to be counted where they went. */
const TRIAL_MS = 10_000;
/** If it does not: connections do not go where the room is, and sending agents round in circles helps nobody. */
const PAUSE_MS = 600_000;

/** How many sessions to send on in a second. Pure. */
export function sendOn(held: number, share: number): number {
  const excess = held - share;
  // One less must not make this replica one of those that hold too few.
  if (excess < 1 || excess <= share * TOLERANCE) return 0;
  return Math.ceil(excess * PART);
}

/**
 * Fills a new replica: as long as this one holds more than its share, a few of its older sessions a second are asked to
 * attach anew, and the balancer before the replicas sends them where fewer are. Where all hold as many nobody is moved.
 */
export class Rebalancing {
  readonly #options: RebalancingOptions;
  #lookedMs = -Infinity;
  #allowed = 0;
  #pausedUntilMs = -Infinity;
  /** Moves whose effect is being waited for. */
  #trial: { startMs: number; least: number; moves: number } | undefined;

  constructor(options: RebalancingOptions) {
    this.#options = options;
  }

  /** Whether one more session may be sent on now; it is counted if so. */
  take(): boolean {
    const nowMs = this.#options.clock.monoMs();
    if (nowMs - this.#lookedMs >= LOOK_MS) {
      this.#lookedMs = nowMs;
      this.#allowed = this.#look(nowMs);
    }
    if (this.#allowed <= 0) return false;
    this.#allowed -= 1;
    if (this.#trial !== undefined) this.#trial.moves += 1;
    return true;
  }

  #look(nowMs: number): number {
    const shares = this.#options.shares();
    const wanted = shares === undefined ? 0 : sendOn(this.#options.held(), shares.share);
    if (shares === undefined || wanted === 0 || nowMs < this.#pausedUntilMs) {
      this.#trial = undefined;
      return 0;
    }
    const trial = this.#trial;
    const over = trial !== undefined && trial.moves >= TRIAL && nowMs - trial.startMs >= TRIAL_MS;
    if (over && shares.least <= trial.least) {
      this.#pausedUntilMs = nowMs + PAUSE_MS;
      this.#trial = undefined;
      return 0;
    }
    if (trial === undefined || over) this.#trial = { startMs: nowMs, least: shares.least, moves: 0 };
    return wanted;
  }
}
