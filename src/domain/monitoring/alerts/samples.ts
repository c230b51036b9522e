import type { Moment } from './metric-rules.ts';
import { MAX_SAMPLES } from './transitions.ts';

interface Sample {
  ms: number;
  value: number;
}

/** Samples are so far apart, so that sixteen of them tell of some seconds. */
const SPACING_MS = 500;

/** The last figures that were judged, by what they are about. */
export class Samples {
  readonly #rings = new Map<string, Sample[]>();

  add(key: string, value: number, { storeMs }: Moment): void {
    const ring = this.#rings.get(key) ?? [];
    const last = ring.at(-1);
    // A clock that was set back begins anew.
    if (last !== undefined && storeMs < last.ms) ring.length = 0;
    if (last !== undefined && storeMs - last.ms < SPACING_MS && ring.length > 1) {
      const before = ring.at(-2);
      if (before !== undefined && last.ms - before.ms < SPACING_MS) ring.pop();
    }
    ring.push({ ms: storeMs, value });
    if (ring.length > MAX_SAMPLES) ring.shift();
    this.#rings.set(key, ring);
    if (this.#rings.size > MAX_KEYS) this.#rings.delete(this.#rings.keys().next().value ?? key);
  }

  of(key: string): readonly Sample[] {
    return this.#rings.get(key) ?? [];
  }

  clear(): void {
    this.#rings.clear();
  }
}

const MAX_KEYS = 20_000;
