import type { Clock } from '../../src/lib/clock.ts';
import type { Ids } from '../../src/lib/ids.ts';
import type { TimingWheel } from '../../src/lib/timing-wheel.ts';

/** Time that moves only when a test says so. */
export class FakeClock implements Clock {
  #monoMs: number;
  #wallMs: number;

  constructor(options: { monoMs?: number; wallMs?: number } = {}) {
    this.#monoMs = options.monoMs ?? 5_000;
    this.#wallMs = options.wallMs ?? Date.UTC(2026, 0, 15, 12);
  }

  wallMs(): number {
    return this.#wallMs;
  }

  monoMs(): number {
    return this.#monoMs;
  }

  advance(ms: number): void {
    this.#monoMs += ms;
    this.#wallMs += ms;
  }

  /** The wall clock alone, as when somebody sets it. */
  setWall(wallMs: number): void {
    this.#wallMs = wallMs;
  }
}

/** Lets `ms` pass in steps of one tick, with a look at the wheel after each, as its timer would. */
export function pass(
  clock: FakeClock,
  wheel: TimingWheel,
  ms: number,
  options: { stepMs?: number; each?: () => void } = {},
): void {
  const stepMs = options.stepMs ?? 20;
  for (let left = ms; left > 0; left -= stepMs) {
    clock.advance(Math.min(stepMs, left));
    options.each?.();
    wheel.advance();
  }
}

/** Uniform numbers in [0, 1) from a seed: mulberry32 (Tommy Ettinger, public domain). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Ids that are the same in every run of a test. */
export function seededIds(seed = 1): Ids {
  const random = seededRandom(seed);
  const bytes = (size: number): Uint8Array =>
    Uint8Array.from({ length: size }, () => Math.floor(random() * 256));
  return {
    uuid: () => {
      const hex = Buffer.from(bytes(16)).toString('hex');
      return [
        hex.slice(0, 8),
        hex.slice(8, 12),
        `4${hex.slice(13, 16)}`,
        `8${hex.slice(17, 20)}`,
        hex.slice(20),
      ].join('-');
    },
    secret: bytes,
    random,
  };
}
