import type { Waiting } from './waiting.ts';

/** Reasons that are remembered with their beginning. */
const MAX_SINCE = 10_000;

/** Since when things wait for what they wait for, as far as is known here. */
export class Since {
  readonly #waiting: Waiting;
  readonly #since = new Map<string, { reason: number; sinceMs: number }>();

  constructor(options: { waiting: Waiting }) {
    this.#waiting = options.waiting;
  }

  /** By the store's clock. */
  of(key: string, reason: number, nowMs: number): number {
    const known = this.#since.get(key);
    if (known?.reason === reason) return known.sinceMs;
    const group = this.#waiting.laneOf(key)?.group;
    const itemMs = this.#waiting.get(key)?.sinceMs ?? nowMs;
    const isBlocked = group?.roomBlocked === true;
    // It was another reason when it was asked for before: then it has become this one since.
    const otherMs = known === undefined ? itemMs : nowMs;
    const sinceMs = Math.min(nowMs, isBlocked ? Math.max(itemMs, group.roomBlockedMs) : otherMs);
    if (this.#since.size >= MAX_SINCE) this.#since.clear();
    this.#since.set(key, { reason, sinceMs });
    return sinceMs;
  }
}
